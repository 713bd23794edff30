//! What is mounted in a container, and in which order.

use std::path::PathBuf;

use oci_spec::runtime::Mount as SpecMount;

use super::container_config::{ImageSpec, Mount, MountPropagation};
use super::error::OciError;
use super::input::Input;
use super::paths;
use super::sandbox_config::{NamespaceMode, UserNamespaceOptions};
use super::user_namespace::{self, IDMAP};
use crate::cdi::CdiMount;

/// Mounts of a container.
#[derive(Debug)]
pub(super) struct Mounts {
    /// Outer ones before inner ones.
    pub(super) mounts: Vec<SpecMount>,
    /// `rshared`, `rslave`, or nothing: what the root must be, so that the request's propagation works.
    pub(super) root_propagation: Option<String>,
    /// Which directories the caller has to make.
    pub(super) image_volumes: Vec<ImageVolume>,
}

/// A volume of the image (`VOLUME` of a Dockerfile): a directory of the container's own outside its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageVolume {
    /// Path in the container.
    pub destination: String,
    /// Host directory that is mounted there. The caller makes it, with what the image has at `destination`: content,
    /// owner and mode.
    pub source: String,
}

/// The type of a mount whose source is the id of an image: Carpel's own, for its shim.
pub const IMAGE: &str = "image";

/// How the option of such a mount begins that says which part of the image is mounted.
pub const SUB_PATH: &str = "subpath=";

/// The group `tty` of nearly every image: `gid=5` below.
const TTY_GROUP: u32 = 5;

/// The mount options that CRI knows (KEP-5855).
const OPTIONS: [&str; 3] = ["noexec", "nodev", "nosuid"];

/// The standard mounts, the pod's files, the image's volumes and the request's mounts, sorted by depth.
pub(super) fn mounts(input: &Input<'_>) -> Result<Mounts, OciError> {
    let requested = requested(input)?;
    let taken = |destination: &str| {
        requested
            .iter()
            .any(|mount| mount.destination() == &PathBuf::from(destination))
    };
    let user = input.sandbox.security.namespaces.own_user();
    let mut mounts: Vec<SpecMount> = standard(input, user)
        .into_iter()
        // A /dev of the request's own comes with what is below it.
        .filter(|mount| !(taken("/dev") && mount.destination().starts_with("/dev")))
        .filter(|mount| {
            !requested
                .iter()
                .any(|own| own.destination() == mount.destination())
        })
        .collect();
    for (destination, source, readonly) in pod_files(input) {
        if !source.is_empty() && !taken(destination) {
            mounts.push(bind(destination, source, &["rprivate", access(readonly)]));
        }
    }
    let mut image_volumes = Vec::new();
    for (number, volume) in input.image.volumes.iter().enumerate() {
        let destination = paths::clean(volume);
        let known = image_volumes
            .iter()
            .any(|volume: &ImageVolume| volume.destination == destination);
        if destination == "/" || known || taken(&destination) {
            continue;
        }
        let source = format!("{}/{number}", input.volumes_directory);
        let mut options = vec!["rprivate", "rw"];
        options.extend(user.map(|_| IDMAP));
        mounts.push(bind(&destination, &source, &options));
        image_volumes.push(ImageVolume {
            destination,
            source,
        });
    }
    for mount in &input.edits.mounts {
        mounts.push(of_device(mount)?);
    }
    mounts.extend(requested);
    // Stable: what the request mounts twice at one place stays in its order.
    mounts.sort_by_key(|mount| paths::depth(&mount.destination().to_string_lossy()));
    Ok(Mounts {
        mounts,
        root_propagation: root_propagation(input),
        image_volumes,
    })
}

/// OCI config-linux.md, Default Filesystems.
fn standard(input: &Input<'_>, user: Option<&UserNamespaceOptions>) -> Vec<SpecMount> {
    let access = access(!input.container.security.privileged);
    let guarded = ["nosuid", "noexec", "nodev"];
    let mut terminals = vec![
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
    ];
    // A group that the user namespace does not have would be refused.
    if user.is_none_or(|user| user.gids.iter().all(|gids| gids.length > TTY_GROUP)) {
        terminals.push("gid=5");
    }
    vec![
        mount("/proc", "proc", "proc", &guarded),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount("/dev/pts", "devpts", "devpts", &terminals),
        mount("/dev/mqueue", "mqueue", "mqueue", &guarded),
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", access],
        ),
        mount(
            "/sys/fs/cgroup",
            "cgroup2",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", access],
        ),
    ]
}

/// Destination, source, and whether it is read-only.
fn pod_files<'a>(input: &Input<'a>) -> Vec<(&'static str, &'a str, bool)> {
    let readonly = input.container.security.readonly_rootfs;
    let files = input.files;
    let shm = match input.sandbox.security.namespaces.ipc {
        NamespaceMode::Node => "/dev/shm",
        _ => files.shm.as_str(),
    };
    let mut list = vec![
        ("/etc/hosts", files.hosts.as_str(), readonly),
        ("/etc/hostname", files.hostname.as_str(), readonly),
        ("/etc/resolv.conf", files.resolv_conf.as_str(), readonly),
    ];
    // A mount below a /dev that propagates to the host would appear there.
    let dev_propagates = input.container.mounts.iter().any(|mount| {
        paths::clean(&mount.container_path) == "/dev"
            && mount.propagation == MountPropagation::Bidirectional
    });
    if !dev_propagates {
        list.push(("/dev/shm", shm, false));
    }
    list
}

fn requested(input: &Input<'_>) -> Result<Vec<SpecMount>, OciError> {
    input
        .container
        .mounts
        .iter()
        .enumerate()
        .map(|(index, mount)| one_requested(index, mount, input))
        .collect()
}

fn one_requested(index: usize, mount: &Mount, input: &Input<'_>) -> Result<SpecMount, OciError> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    let destination = paths::clean(&mount.container_path);
    if destination == "/" || mount.container_path.contains('\0') {
        return Err(OciError::value(
            field("container_path"),
            &mount.container_path,
            "not a path below the root",
        ));
    }
    if let Some(image) = &mount.image {
        return image_mount(index, (mount, image), input);
    }
    let source = input.sources.get(&index).unwrap_or(&mount.host_path);
    if !source.starts_with('/') || source.contains('\0') {
        return Err(OciError::value(
            field("host_path"),
            source,
            "not an absolute path",
        ));
    }
    let mut options = vec![match mount.propagation {
        MountPropagation::Private => "rprivate",
        MountPropagation::HostToContainer => "rslave",
        MountPropagation::Bidirectional => "rshared",
    }];
    options.push(match (mount.recursive_read_only, mount.readonly) {
        (false, readonly) => access(readonly),
        (true, true) if mount.propagation == MountPropagation::Private => "rro",
        (true, _) => {
            return Err(OciError::value(
                field("recursive_read_only"),
                true,
                "needs readonly and private propagation",
            ));
        }
    });
    options.extend(mount_options(index, mount)?);
    if user_namespace::is_mapped(index, mount, input)? {
        options.push(IDMAP);
    }
    Ok(bind(&destination, source, &options))
}

/// A mount of a CDI device, with the options of its specification.
fn of_device(mount: &CdiMount) -> Result<SpecMount, OciError> {
    let destination = paths::clean(&mount.container_path);
    let mut options: Vec<&str> = mount.options.iter().map(String::as_str).collect();
    let kind = mount.kind.as_deref().unwrap_or("bind");
    if kind == "bind" {
        if !mount.host_path.starts_with('/') {
            let reason = "the host path of its mount is not absolute";
            return Err(OciError::value("CDI_devices", &mount.host_path, reason));
        }
        if !options
            .iter()
            .any(|option| matches!(*option, "bind" | "rbind"))
        {
            options.insert(0, "rbind");
        }
    }
    if destination == "/" || mount.container_path.contains('\0') {
        let reason = "the container path of its mount is not below the root";
        return Err(OciError::value(
            "CDI_devices",
            &mount.container_path,
            reason,
        ));
    }
    Ok(self::mount(&destination, kind, &mount.host_path, &options))
}

fn mount_options(index: usize, mount: &Mount) -> Result<impl Iterator<Item = &str>, OciError> {
    let options = mount.mount_options.iter().map(String::as_str);
    match options.clone().find(|option| !OPTIONS.contains(option)) {
        None => Ok(options),
        Some(option) => Err(OciError::value(
            format!("mounts[{index}].mount_options"),
            option,
            "not one of noexec, nodev, nosuid",
        )),
    }
}

/// A volume made of an image, which the shim understands: the image's id and what is mounted of it. Nothing can be
/// mounted in an image, so there is nothing to propagate, and read-only is so all the way down.
fn image_mount(
    index: usize,
    (mount, image): (&Mount, &ImageSpec),
    input: &Input<'_>,
) -> Result<SpecMount, OciError> {
    let wrong = |name: &str, value: &str, reason| OciError::ImageVolume {
        field: format!("mounts[{index}].{name}"),
        value: value.to_owned(),
        reason,
    };
    if !mount.host_path.is_empty() {
        let reason = "must be empty with an image";
        return Err(wrong("host_path", &mount.host_path, reason));
    }
    if !mount.readonly {
        return Err(wrong("readonly", "false", "must be true with an image"));
    }
    let source = input
        .sources
        .get(&index)
        .ok_or_else(|| wrong("image", &image.image, "is not on this node: pull it first"))?;
    let sub_path = format!("{SUB_PATH}{}", mount.image_sub_path);
    let mut options = vec!["ro", "rprivate"];
    if !mount.image_sub_path.is_empty() {
        options.push(&sub_path);
    }
    options.extend(mount_options(index, mount)?);
    // All images of a pod with a user namespace are mapped; this only checks what is asked.
    user_namespace::is_mapped(index, mount, input)?;
    let destination = paths::clean(&mount.container_path);
    Ok(self::mount(&destination, IMAGE, source, &options))
}

/// As containerd: a shared mount needs a shared root, a receiving one a slave.
fn root_propagation(input: &Input<'_>) -> Option<String> {
    let asked = |propagation| {
        input
            .container
            .mounts
            .iter()
            .any(|mount| mount.propagation == propagation)
    };
    if asked(MountPropagation::Bidirectional) {
        Some("rshared".to_owned())
    } else if asked(MountPropagation::HostToContainer) {
        Some("rslave".to_owned())
    } else {
        None
    }
}

fn access(readonly: bool) -> &'static str {
    if readonly { "ro" } else { "rw" }
}

fn bind(destination: &str, source: &str, options: &[&str]) -> SpecMount {
    let options = [&["rbind"], options].concat();
    mount(destination, "bind", source, &options)
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> SpecMount {
    let mut mount = SpecMount::default();
    mount.set_destination(destination.into());
    mount.set_typ(Some(kind.to_owned()));
    mount.set_source(Some(source.into()));
    mount.set_options(Some(options.iter().map(|one| (*one).to_owned()).collect()));
    mount
}
