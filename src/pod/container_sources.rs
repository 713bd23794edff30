//! What a container's request names of the host, looked up before anything is made: sources of mounts, device nodes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxSeccomp;

use super::error::{PodError, PodErrorKind, Subject};
use super::parts::{DeviceOwner, DeviceSettings};
use crate::cdi::{self, CdiDeviceNode, CdiError, Edits};
use crate::oci::{
    ContainerConfig, Device, DeviceNode, DeviceType, MountPropagation, RequestedDevice, RunAsUser,
    SecurityProfile,
};
use crate::seccomp::{self, SeccompError};

/// A file that is longer is cut, and so no profile: real ones have some 20 KiB.
const PROFILE_BYTES_MAX: u64 = 4 << 20;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Host paths of the request's mounts by index, symbolic links resolved.
    pub mounts: BTreeMap<usize, String>,
    /// The devices of the request; a directory stands for each node in it.
    pub devices: Vec<RequestedDevice>,
    /// All device nodes of the host, for a privileged container.
    pub host_devices: Vec<DeviceNode>,
    /// What the CDI devices of the request want done; their nodes are in `devices`.
    pub edits: Edits,
    /// The seccomp profile that the request names by its path.
    pub seccomp: Option<LinuxSeccomp>,
}

/// A source that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// The source of a mount is not there and cannot be made.
    #[error("mounts[{index}].host_path {path:?}")]
    Mount {
        /// Which mount.
        index: usize,
        /// Its host path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The mount's propagation needs a shared (or slave) mount of the host.
    #[error(
        "mounts[{index}]: propagation {propagation:?} needs a {needed} mount, and {mount_point} is not"
    )]
    Propagation {
        /// Which mount.
        index: usize,
        /// What is asked for.
        propagation: MountPropagation,
        /// What it needs.
        needed: &'static str,
        /// The mount of the host that holds the source.
        mount_point: String,
    },
    /// A device cannot be looked at.
    #[error("device {path:?}")]
    Device {
        /// Its host path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A device is none.
    #[error("device {path:?} is neither a character nor a block device, nor a directory of them")]
    NotADevice {
        /// Its host path.
        path: String,
    },
    /// A CDI device cannot be given.
    #[error("CDI_devices")]
    Cdi(#[from] CdiError),
    /// A seccomp profile is not to be found.
    #[error("seccomp profile {path:?}: not an absolute path")]
    ProfilePath {
        /// As the request names it.
        path: String,
    },
    /// A seccomp profile cannot be read.
    #[error("read seccomp profile {path:?}")]
    ReadProfile {
        /// As the request names it.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A seccomp profile is none.
    #[error("seccomp profile {path:?}")]
    Profile {
        /// As the request names it.
        path: String,
        /// What is wrong with it.
        #[source]
        source: SeccompError,
    },
    /// The mounts of the host cannot be read.
    #[error("read /proc/self/mountinfo")]
    MountInfo(#[source] io::Error),
}

impl SourceError {
    /// As the domain tells it: the request is wrong.
    pub(super) fn told(self, subject: Subject) -> PodError {
        PodError::new(
            PodErrorKind::InvalidArgument,
            subject,
            "look up what the request names of the host",
        )
        .caused_by(self)
    }
}

/// Looks everything up. A missing source of a mount is made as a directory, as both peers do: hostPath volumes of the
/// empty type rely on it.
///
/// # Errors
/// The first source that cannot be used.
pub(super) fn look_up(
    config: &ContainerConfig,
    settings: &DeviceSettings,
) -> Result<Sources, SourceError> {
    let mut sources = Sources {
        edits: cdi::resolve(&settings.cdi_directories, &cdi_devices(config))?,
        ..Sources::default()
    };
    for (index, mount) in config.mounts.iter().enumerate() {
        if mount.image.is_some() || !mount.host_path.starts_with('/') {
            continue;
        }
        let real = real_source(index, &mount.host_path)?;
        check_propagation(index, mount.propagation, &real)?;
        sources
            .mounts
            .insert(index, real.to_string_lossy().into_owned());
    }
    for device in &config.devices {
        add_device(&mut sources.devices, device)?;
    }
    for node in &sources.edits.device_nodes {
        sources.devices.push(cdi_device(node, config)?);
    }
    if settings.owner == DeviceOwner::RunAs {
        give_devices(&mut sources.devices, config);
    }
    if config.security.privileged {
        host_devices(Path::new("/dev"), &mut sources.host_devices);
    } else if let Some(SecurityProfile::Localhost(path)) = &config.security.seccomp {
        sources.seccomp = Some(seccomp_profile(path)?);
    }
    Ok(sources)
}

/// The names of the field, and those of annotations, each once.
fn cdi_devices(config: &ContainerConfig) -> Vec<String> {
    let mut names = config.cdi_devices.clone();
    for name in cdi::annotated_devices(&config.annotations) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A node of a CDI device: what its specification does not say is as on the host. Its owner is the container's user then,
/// unless that is root (cdi SPEC.md, deviceNodes).
fn cdi_device(
    node: &CdiDeviceNode,
    config: &ContainerConfig,
) -> Result<RequestedDevice, SourceError> {
    let path = node.host_path.as_ref().unwrap_or(&node.path);
    let found = match fs::metadata(path) {
        Ok(metadata) => node_of(&metadata, node.path.clone()),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            let path = path.clone();
            return Err(SourceError::Device { path, source });
        }
    };
    let given = match (node.kind.as_deref(), node.major, node.minor) {
        (Some("b"), Some(major), Some(minor)) => Some((DeviceType::Block, major, minor)),
        (Some("c" | "u"), Some(major), Some(minor)) => Some((DeviceType::Character, major, minor)),
        _ => None,
    };
    let (user, group) = (run_as(config).0, run_as(config).1);
    let mut device = match (found, given) {
        (Some(found), None) => found,
        (found, Some((device_type, major, minor))) => DeviceNode {
            path: node.path.clone(),
            device_type,
            major,
            minor,
            mode: found.map_or(0o660, |found| found.mode),
            uid: 0,
            gid: 0,
        },
        (None, None) => {
            let path = path.clone();
            return Err(SourceError::NotADevice { path });
        }
    };
    device.mode = node.file_mode.unwrap_or(device.mode) & 0o7777;
    device.uid = node
        .uid
        .or(user.filter(|user| *user > 0))
        .unwrap_or(device.uid);
    device.gid = node
        .gid
        .or(group.filter(|group| *group > 0))
        .unwrap_or(device.gid);
    Ok(RequestedDevice {
        node: device,
        permissions: node.permissions.clone().unwrap_or_else(|| "rwm".to_owned()),
        host_path: path.clone(),
    })
}

/// The user and the group that the request names by number.
fn run_as(config: &ContainerConfig) -> (Option<u32>, Option<u32>) {
    let security = &config.security;
    let user = match security.run_as_user {
        RunAsUser::Uid(uid) => u32::try_from(uid).ok(),
        RunAsUser::Name(_) | RunAsUser::Image => None,
    };
    let group = security
        .run_as_group
        .and_then(|gid| u32::try_from(gid).ok());
    (user, group)
}

fn give_devices(devices: &mut [RequestedDevice], config: &ContainerConfig) {
    let (user, group) = run_as(config);
    for device in devices {
        device.node.uid = user.unwrap_or(device.node.uid);
        device.node.gid = group.unwrap_or(device.node.gid);
    }
}

/// The kubelet names it by its absolute path below its own folder of profiles.
fn seccomp_profile(path: &str) -> Result<LinuxSeccomp, SourceError> {
    if !path.starts_with('/') {
        let path = path.to_owned();
        return Err(SourceError::ProfilePath { path });
    }
    let mut text = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(PROFILE_BYTES_MAX).read_to_end(&mut text))
        .map_err(|source| SourceError::ReadProfile {
            path: path.to_owned(),
            source,
        })?;
    seccomp::parse(&text).map_err(|source| SourceError::Profile {
        path: path.to_owned(),
        source,
    })
}

fn real_source(index: usize, host_path: &str) -> Result<PathBuf, SourceError> {
    let failed = |source| SourceError::Mount {
        index,
        path: host_path.to_owned(),
        source,
    };
    match fs::canonicalize(host_path) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(host_path)
                .map_err(failed)?;
            fs::canonicalize(host_path).map_err(failed)
        }
        found => found.map_err(failed),
    }
}

/// CRI MountPropagation: BIDIRECTIONAL needs a shared source, HOST_TO_CONTAINER a shared one or a slave.
fn check_propagation(
    index: usize,
    propagation: MountPropagation,
    source: &Path,
) -> Result<(), SourceError> {
    if propagation == MountPropagation::Private {
        return Ok(());
    }
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(SourceError::MountInfo)?;
    let Some((mount_point, fields)) = mount_of(&table, source) else {
        return Ok(());
    };
    let shared = fields.iter().any(|field| field.starts_with("shared:"));
    let slave = fields.iter().any(|field| field.starts_with("master:"));
    let (fits, needed) = match propagation {
        MountPropagation::Private => (true, ""),
        MountPropagation::HostToContainer => (shared || slave, "shared or slave"),
        MountPropagation::Bidirectional => (shared, "shared"),
    };
    if fits {
        return Ok(());
    }
    Err(SourceError::Propagation {
        index,
        propagation,
        needed,
        mount_point: mount_point.to_owned(),
    })
}

/// The mount that holds a path, and its optional fields (proc_pid_mountinfo(5)); of several at one place the last is on top.
fn mount_of<'table>(table: &'table str, path: &Path) -> Option<(&'table str, Vec<&'table str>)> {
    let mut best: Option<(&str, Vec<&str>)> = None;
    for line in table.lines() {
        let mut fields = line.split(' ');
        let Some(mount_point) = fields.nth(4) else {
            continue;
        };
        let optional: Vec<&str> = fields.skip(1).take_while(|field| *field != "-").collect();
        let unescaped = unescape(mount_point);
        let longer = best
            .as_ref()
            .is_none_or(|(found, _)| mount_point.len() >= found.len());
        if path.starts_with(&unescaped) && longer {
            best = Some((mount_point, optional));
        }
    }
    best
}

/// mountinfo writes space, tab, newline and backslash as octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

fn add_device(devices: &mut Vec<RequestedDevice>, device: &Device) -> Result<(), SourceError> {
    let failed = |source| SourceError::Device {
        path: device.host_path.clone(),
        source,
    };
    let metadata = fs::metadata(&device.host_path).map_err(failed)?;
    if let Some(node) = node_of(&metadata, device.container_path.clone()) {
        devices.push(RequestedDevice {
            node,
            permissions: device.permissions.clone(),
            host_path: device.host_path.clone(),
        });
        return Ok(());
    }
    if !metadata.is_dir() {
        return Err(SourceError::NotADevice {
            path: device.host_path.clone(),
        });
    }
    let mut nodes = Vec::new();
    host_devices(Path::new(&device.host_path), &mut nodes);
    for mut node in nodes {
        let host_path = node.path.clone();
        if let Some(below) = node
            .path
            .strip_prefix(device.host_path.trim_end_matches('/'))
        {
            node.path = format!("{}{below}", device.container_path.trim_end_matches('/'));
        }
        devices.push(RequestedDevice {
            node,
            permissions: device.permissions.clone(),
            host_path,
        });
    }
    Ok(())
}

fn node_of(metadata: &fs::Metadata, path: String) -> Option<DeviceNode> {
    let kind = metadata.file_type();
    let device_type = if kind.is_char_device() {
        DeviceType::Character
    } else if kind.is_block_device() {
        DeviceType::Block
    } else {
        return None;
    };
    let number = metadata.rdev();
    Some(DeviceNode {
        path,
        device_type,
        major: rustix::fs::major(number),
        minor: rustix::fs::minor(number),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

/// The nodes below a directory, without what every container has as its own. What vanishes meanwhile is left out.
fn host_devices(directory: &Path, nodes: &mut Vec<DeviceNode>) {
    const OWN: [&str; 5] = [
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/dev/fd",
        "/dev/console",
    ];
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if OWN.iter().any(|own| path == Path::new(own)) {
            continue;
        }
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            host_devices(&path, nodes);
        } else if let Some(node) = node_of(&metadata, path.to_string_lossy().into_owned()) {
            nodes.push(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Mount;

    fn with_mount(host_path: &str) -> ContainerConfig {
        ContainerConfig {
            mounts: vec![Mount {
                container_path: "/data".into(),
                host_path: host_path.into(),
                ..Mount::default()
            }],
            ..ContainerConfig::default()
        }
    }

    #[test]
    fn a_symbolic_link_is_followed_and_a_missing_directory_made() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap().join("real");
        fs::create_dir(&real).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let sources = look_up(
            &with_mount(link.to_str().unwrap()),
            &DeviceSettings::default(),
        )
        .unwrap();
        assert_eq!(sources.mounts[&0], real.to_str().unwrap());
        let missing = folder.path().join("a/b");
        look_up(
            &with_mount(missing.to_str().unwrap()),
            &DeviceSettings::default(),
        )
        .unwrap();
        assert!(missing.is_dir());
    }

    #[test]
    fn a_source_below_a_file_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = format!("{}/below", file.path().display());
        let error = look_up(&with_mount(&path), &DeviceSettings::default()).unwrap_err();
        assert!(error.to_string().contains(&path), "{error}");
    }

    #[test]
    fn the_innermost_mount_and_its_propagation_are_found() {
        let table = "1 0 8:1 / / rw shared:1 - ext4 /dev/vda rw\n\
                     2 1 0:2 / /mnt/a\\040b rw master:3 - tmpfs none rw\n";
        let (mount_point, fields) = mount_of(table, Path::new("/mnt/a b/c")).unwrap();
        assert_eq!((mount_point, fields), ("/mnt/a\\040b", vec!["master:3"]));
        assert_eq!(mount_of(table, Path::new("/etc")).unwrap().1, ["shared:1"]);
    }

    #[test]
    fn a_device_is_found_with_its_numbers() {
        let config = ContainerConfig {
            devices: vec![Device {
                container_path: "/dev/nothing".into(),
                host_path: "/dev/null".into(),
                permissions: "rw".into(),
            }],
            ..ContainerConfig::default()
        };
        let node = &look_up(&config, &DeviceSettings::default())
            .unwrap()
            .devices[0]
            .node;
        assert_eq!(
            (node.path.as_str(), node.major, node.minor),
            ("/dev/nothing", 1, 3)
        );
    }

    #[test]
    fn a_node_of_cdi_is_the_hosts_but_for_what_its_specification_says() {
        let mut config = ContainerConfig::default();
        let plain = CdiDeviceNode {
            path: "/dev/gpu".into(),
            host_path: Some("/dev/null".into()),
            ..CdiDeviceNode::default()
        };
        let device = cdi_device(&plain, &config).unwrap();
        assert_eq!(
            (
                device.node.path.as_str(),
                device.node.major,
                device.node.minor
            ),
            ("/dev/gpu", 1, 3)
        );
        assert_eq!(
            (device.permissions.as_str(), device.host_path.as_str()),
            ("rwm", "/dev/null")
        );
        config.security.run_as_user = RunAsUser::Uid(1000);
        config.security.run_as_group = Some(44);
        let device = cdi_device(&plain, &config).unwrap();
        assert_eq!((device.node.uid, device.node.gid), (1000, 44));
        let told = CdiDeviceNode {
            kind: Some("c".into()),
            major: Some(10),
            minor: Some(200),
            file_mode: Some(0o640),
            permissions: Some("r".into()),
            uid: Some(7),
            gid: Some(8),
            ..plain
        };
        let node = cdi_device(&told, &config).unwrap().node;
        assert_eq!(
            (node.major, node.minor, node.mode, node.uid, node.gid),
            (10, 200, 0o640, 7, 8)
        );
        let missing = CdiDeviceNode {
            path: "/dev/no-such-node".into(),
            ..CdiDeviceNode::default()
        };
        let error = cdi_device(&missing, &config).unwrap_err();
        assert!(error.to_string().contains("/dev/no-such-node"), "{error}");
    }

    #[test]
    fn devices_belong_to_the_containers_user_if_that_is_configured() {
        let mut config = ContainerConfig {
            devices: vec![Device {
                container_path: "/dev/nothing".into(),
                host_path: "/dev/null".into(),
                permissions: "rw".into(),
            }],
            ..ContainerConfig::default()
        };
        config.security.run_as_user = RunAsUser::Uid(1000);
        let owner = |owner| {
            let settings = DeviceSettings {
                owner,
                ..DeviceSettings::default()
            };
            let node = look_up(&config, &settings).unwrap().devices[0].node.clone();
            (node.uid, node.gid)
        };
        assert_eq!(
            (owner(DeviceOwner::AsOnTheHost), owner(DeviceOwner::RunAs)),
            ((0, 0), (1000, 0))
        );
    }
}
