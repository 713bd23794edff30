//! The container's file systems, assembled below its root by the child: in its own mount namespace, with the host's
//! privileges and the host's paths still in sight, before the root changes.

use crate::container::overlay::OverlayOptions;
use crate::container::plan::Bind;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::invalid;
use crate::failure::system;
use carpel_linux::mount;
use carpel_linux::mount::Attributes;
use carpel_linux::mount::Depth;
use carpel_linux::path;
use carpel_linux::path::Links;
use carpel_shim_protocol::message::Device;
use carpel_shim_protocol::message::Root;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// MS_RDONLY
const READ_ONLY: u32 = 1;
const READ_ONLY_ATTRIBUTE: Attributes = Attributes {
    set: 1,
    clear: 0,
    propagation: None,
};

/// Mounts the overlay at `place`, a directory of the host, and returns the root of that mount.
pub(crate) fn mount_overlay(
    root: &Root,
    options: Option<&OverlayOptions>,
    place: &str,
) -> Outcome<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || rustix::fs::open(place, flags, Mode::empty()).step(|| format!("open {place:?}"));
    let target = open()?;
    match options {
        Some(options) => {
            rustix::process::chdir(options.directory.as_str())
                .step(|| format!("enter {:?}", options.directory))?;
            mount::mount("overlay", target.as_fd(), "overlay", 0, &options.options)
        }
        None => mount::overlay(&root.lower, &root.upper, &root.work, &root.mount_label)
            .and_then(|tree| mount::place(tree.as_fd(), target.as_fd())),
    }
    .step(|| match root.upper.as_str() {
        "" => format!("mount an image of {} layers", root.lower.len()),
        upper => format!("mount the root of {} layers on {upper:?}", root.lower.len()),
    })?;
    // Once more: the first descriptor is of the directory below the mount.
    open()
}

/// Mounts a virtual file system. The target of proc and sysfs must not be reached by links, or an image could have the
/// masks put elsewhere.
pub(crate) fn mount_file_system(
    root: BorrowedFd<'_>,
    (kind, source): (&str, &str),
    destination: &str,
    (flags, data): (u32, &str),
) -> Outcome<()> {
    let step = || format!("mount {kind} at {destination:?}");
    let mut target = path::make_directories(root, destination, 0o755).step(step)?;
    if matches!(kind, "proc" | "sysfs") {
        target = path::open_in_root(
            root,
            destination,
            OFlags::PATH | OFlags::DIRECTORY,
            Links::Refuse,
        )
        .step(step)?;
    }
    mount::mount(source, target.as_fd(), kind, flags, data).step(step)
}

/// A path of the host, or a tree that was taken before, as it will be mounted.
pub(crate) fn bound_tree(
    bind: &Bind,
    kept: Option<OwnedFd>,
    user_namespace: Option<BorrowedFd<'_>>,
) -> Outcome<OwnedFd> {
    let destination = &bind.destination;
    let source = bind.source.as_deref().unwrap_or("a shared mount");
    let step = || format!("bind {source:?} at {destination:?}");
    let tree = match (kept, &bind.source) {
        (Some(tree), None) => tree,
        (_, Some(source)) => mount::copy_tree(source, bind.depth).step(step)?,
        (None, None) => return Err(invalid(step(), "no source")),
    };
    check_identity(tree.as_fd(), bind.identity, step)?;
    if bind.idmapped {
        let step = || format!("show the owners of {source:?} through the user namespace");
        match user_namespace {
            Some(namespace) => mount::set_owner_mapping(tree.as_fd(), namespace).step(step)?,
            None => return Err(invalid(step(), "the pod has none")),
        }
    }
    let (propagation, depth) = match bind.propagation {
        Some((propagation, depth)) => (Some(propagation), depth),
        None => (None, Depth::Single),
    };
    let spread = Attributes {
        propagation,
        ..Attributes::default()
    };
    for (attributes, depth) in [
        (bind.attributes, Depth::Single),
        (bind.recursive, Depth::Recursive),
        (spread, depth),
    ] {
        if attributes != Attributes::default() {
            mount::set_attributes(tree.as_fd(), attributes, depth).step(step)?;
        }
    }
    Ok(tree)
}

/// Refuses a tree of another file than the one that was checked: somebody has put it there meanwhile. It is compared when
/// it cannot change any more.
fn check_identity(
    tree: BorrowedFd<'_>,
    wanted: Option<(u64, u64)>,
    step: impl Fn() -> String,
) -> Outcome<()> {
    let Some(wanted) = wanted else {
        return Ok(());
    };
    let found = rustix::fs::fstat(tree).step(&step)?;
    if (found.st_dev, found.st_ino) == wanted {
        return Ok(());
    }
    Err(invalid(
        step(),
        "the source was replaced while the container was made",
    ))
}

/// Places a tree below the root; what is missing of the way is made.
pub(crate) fn place(root: BorrowedFd<'_>, destination: &str, tree: BorrowedFd<'_>) -> Outcome<()> {
    let step = || format!("place a mount at {destination:?}");
    let target = mount_point(root, destination, tree).step(step)?;
    mount::place(tree, target.as_fd()).step(step)
}

/// The place that `tree` is to be mounted at: a directory for a directory, else a file; made if it is missing.
pub(crate) fn mount_point(
    root: BorrowedFd<'_>,
    destination: &str,
    tree: BorrowedFd<'_>,
) -> carpel_linux::Result<OwnedFd> {
    let is_directory = path::is_directory(tree)
        .map_err(|errno| carpel_linux::Error::new(format!("fstat of {destination:?}"), errno))?;
    match is_directory {
        true => path::make_directories(root, destination, 0o755),
        false => path::make_file(root, destination, 0o644),
    }
}

/// Makes a device node; where mknod is not allowed, the host's node of that path is bound.
pub(crate) fn make_device(root: BorrowedFd<'_>, device: &Device) -> Outcome<()> {
    let path = device.path.as_str();
    let step = || format!("make device {path:?}");
    let kind = match device.r#type.as_str() {
        "c" | "u" => FileType::CharacterDevice,
        "b" => FileType::BlockDevice,
        "p" => FileType::Fifo,
        other => return Err(invalid(step(), format!("unknown type {other:?}"))),
    };
    let mode = Mode::from_raw_mode(match device.mode {
        0 => 0o666,
        mode => mode & 0o7777,
    });
    let (parent, name) = path::make_parent(root, path).step(step)?;
    let number = rustix::fs::makedev(device.major, device.minor);
    match rustix::fs::mknodat(&parent, name, kind, mode, number) {
        Ok(()) => {}
        Err(Errno::PERM) => {
            let place = path::make_file(root, path, 0o666).step(step)?;
            return mount::bind(host_path(device), place.as_fd()).step(step);
        }
        // The image's tmpfs is new, so a node that is there is one of this request: the later one holds.
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(&parent, name, rustix::fs::AtFlags::empty()).step(step)?;
            rustix::fs::mknodat(&parent, name, kind, mode, number).step(step)?;
        }
        Err(errno) => return Err(system(step(), errno)),
    }
    let owner = Some(rustix::fs::Uid::from_raw(device.uid));
    let group = Some(rustix::fs::Gid::from_raw(device.gid));
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(&parent, name, owner, group, flags).step(step)
}

/// Where the host has the node.
pub(crate) fn host_path(device: &Device) -> &str {
    match device.host_path.as_str() {
        "" => &device.path,
        path => path,
    }
}

/// The links that every /dev has (OCI runtime-spec, config-linux.md, "/dev symbolic links", and ptmx).
pub(crate) fn make_device_links(root: BorrowedFd<'_>) -> Outcome<()> {
    let mut links = vec![
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ];
    if rustix::fs::access("/proc/kcore", rustix::fs::Access::EXISTS).is_ok() {
        links.push(("core", "/proc/kcore"));
    }
    let dev = path::make_directories(root, "/dev", 0o755).step(|| "open /dev".into())?;
    for (name, target) in links {
        match rustix::fs::symlinkat(target, &dev, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(system(format!("link /dev/{name} to {target}"), errno)),
        }
    }
    Ok(())
}

/// Hides what is at `destination`: an empty read-only directory, or /dev/null. What is missing needs no mask.
pub(crate) fn mask(root: BorrowedFd<'_>, destination: &str) -> Outcome<()> {
    let step = || format!("mask {destination:?}");
    let Some(place) = open_existing(root, destination)? else {
        return Ok(());
    };
    if path::is_directory(place.as_fd()).step(step)? {
        mount::mount(
            "tmpfs",
            place.as_fd(),
            "tmpfs",
            READ_ONLY,
            "size=0k,nr_inodes=2",
        )
        .step(step)
    } else {
        // The host's, not the container's: the root has not changed yet.
        mount::bind("/dev/null", place.as_fd()).step(step)
    }
}

/// Makes what is at `destination` read-only, if it is there.
pub(crate) fn make_read_only(root: BorrowedFd<'_>, destination: &str) -> Outcome<()> {
    let step = || format!("make {destination:?} read-only");
    let Some(place) = open_existing(root, destination)? else {
        return Ok(());
    };
    let tree = mount::copy_tree_of(place.as_fd(), Depth::Recursive).step(step)?;
    mount::set_attributes(tree.as_fd(), READ_ONLY_ATTRIBUTE, Depth::Recursive).step(step)?;
    mount::place(tree.as_fd(), place.as_fd()).step(step)
}

/// Makes the root itself read-only; mounts in it stay as they are.
pub(crate) fn make_root_read_only(root: BorrowedFd<'_>) -> Outcome<()> {
    mount::set_attributes(root, READ_ONLY_ATTRIBUTE, Depth::Single)
        .step(|| "make the root read-only".into())
}

fn open_existing(root: BorrowedFd<'_>, destination: &str) -> Outcome<Option<OwnedFd>> {
    match path::open_in_root(root, destination, OFlags::PATH, Links::Follow) {
        Ok(place) => Ok(Some(place)),
        Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error).step(|| format!("open {destination:?} of the container")),
    }
}
