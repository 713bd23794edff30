//! Mounts: classic mount(2) for file systems, detached trees (open_tree, mount_setattr, move_mount) for binds.
//!
//! A bind by a detached tree gets its options before it can be seen, needs no second look-up of its target, and keeps
//! the flags that are locked. Targets are descriptors, so that no path is looked up twice.

#![allow(unsafe_code, reason = "rustix has no mount_setattr")]

use crate::Error;
use crate::Result;
use crate::error::last_errno;
use rustix::mount::FsMountFlags;
use rustix::mount::FsOpenFlags;
use rustix::mount::MountAttrFlags;
use rustix::mount::MountFlags;
use rustix::mount::MoveMountFlags;
use rustix::mount::OpenTreeFlags;
use rustix::mount::UnmountFlags;
use std::ffi::CString;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// How mounts and unmounts spread to other mount namespaces, by the MS_* number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// MS_PRIVATE
    Private,
    /// MS_SLAVE
    Slave,
    /// MS_SHARED
    Shared,
    /// MS_UNBINDABLE
    Unbindable,
}

impl Propagation {
    fn bits(self) -> u64 {
        match self {
            Self::Unbindable => 1 << 17,
            Self::Private => 1 << 18,
            Self::Slave => 1 << 19,
            Self::Shared => 1 << 20,
        }
    }
}

/// Of one mount, or of all below it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The one mount.
    Single,
    /// With all mounts below it.
    Recursive,
}

/// What mount_setattr(2) changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// MOUNT_ATTR_* to set.
    pub set: u64,
    /// MOUNT_ATTR_* to clear.
    pub clear: u64,
    /// The new propagation; none: as it is.
    pub propagation: Option<Propagation>,
}

/// A path of this process that names what `descriptor` refers to; needs /proc.
#[must_use]
pub fn path_of(descriptor: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// Mounts a file system of type `kind` over the directory or file behind `target`. `flags` are MS_* numbers.
///
/// # Errors
///
/// As mount(2).
pub fn mount(
    source: &str,
    target: BorrowedFd<'_>,
    kind: &str,
    flags: u32,
    data: &str,
) -> Result<()> {
    let call = || {
        format!(
            "mount({source:?}, {:?}, {kind:?}, {flags:#x}, {data:?})",
            path_of(target)
        )
    };
    let options = Error::of(
        CString::new(data).map_err(|_nul| rustix::io::Errno::INVAL),
        call,
    )?;
    let options = (!data.is_empty()).then_some(options.as_c_str());
    Error::of(
        rustix::mount::mount(
            source,
            path_of(target),
            kind,
            MountFlags::from_bits_retain(flags),
            options,
        ),
        call,
    )
}

/// Changes how mounts at `path` and below it spread.
///
/// # Errors
///
/// `EINVAL` if nothing is mounted there.
pub fn set_propagation(path: &str, propagation: Propagation, depth: Depth) -> Result<()> {
    use rustix::mount::MountPropagationFlags as Flags;
    let mut flags = match propagation {
        Propagation::Private => Flags::PRIVATE,
        Propagation::Slave => Flags::DOWNSTREAM,
        Propagation::Shared => Flags::SHARED,
        Propagation::Unbindable => Flags::UNBINDABLE,
    };
    if depth == Depth::Recursive {
        flags |= Flags::REC;
    }
    Error::of(rustix::mount::mount_change(path, flags), || {
        format!("mount(NULL, {path:?}, NULL, {propagation:?} {depth:?})")
    })
}

/// A detached copy of the mount at `path` (symbolic links are followed), to be placed by [`place`].
///
/// # Errors
///
/// `ENOENT` and the like for the path, `EINVAL` for an unbindable mount.
pub fn copy_tree(path: &str, depth: Depth) -> Result<OwnedFd> {
    Error::of(
        rustix::mount::open_tree(rustix::fs::CWD, path, copy_flags(depth)),
        || format!("open_tree(AT_FDCWD, {path:?}, OPEN_TREE_CLONE {depth:?})"),
    )
}

/// As [`copy_tree`], of what an open descriptor refers to.
///
/// # Errors
///
/// As [`copy_tree`].
pub fn copy_tree_of(descriptor: BorrowedFd<'_>, depth: Depth) -> Result<OwnedFd> {
    let flags = copy_flags(depth) | OpenTreeFlags::AT_EMPTY_PATH;
    Error::of(rustix::mount::open_tree(descriptor, "", flags), || {
        format!(
            "open_tree({}, \"\", OPEN_TREE_CLONE {depth:?})",
            descriptor.as_raw_fd()
        )
    })
}

fn copy_flags(depth: Depth) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    match depth {
        Depth::Single => flags,
        Depth::Recursive => flags | OpenTreeFlags::AT_RECURSIVE,
    }
}

/// Places a detached tree over the directory or file behind `target`.
///
/// # Errors
///
/// `ENOTDIR` when one is a directory and the other is not, else as move_mount(2).
pub fn place(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Error::of(
        rustix::mount::move_mount(tree, "", target, "", flags),
        || {
            format!(
                "move_mount({}, \"\", {}, \"\")",
                tree.as_raw_fd(),
                target.as_raw_fd()
            )
        },
    )
}

/// Changes the mount that `tree` (the root of a mount) refers to: mount_setattr(2), Linux 5.12.
///
/// # Errors
///
/// `EPERM` when a locked flag would be cleared, `EINVAL` for bits that exclude each other.
pub fn set_attributes(tree: BorrowedFd<'_>, attributes: Attributes, depth: Depth) -> Result<()> {
    let value = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation: attributes.propagation.map_or(0, Propagation::bits),
        userns_fd: 0,
    };
    let flags = match depth {
        Depth::Single => libc::AT_EMPTY_PATH,
        Depth::Recursive => libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
    };
    // SAFETY: mount_setattr(dirfd, path, flags, attr, size): the descriptor is borrowed and so open, the path is a
    // NUL-terminated empty string, and `value` is a struct mount_attr of the given size that lives during the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(&value),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Error::new(
        format!(
            "mount_setattr({}, \"\", {depth:?}, {attributes:x?})",
            tree.as_raw_fd()
        ),
        last_errno(),
    ))
}

/// Shows the owners of the mount that `tree` refers to, a detached one, through a user namespace: what is root's on disk
/// is then its root's. Linux 5.12, as far as the file system can; below overlayfs 5.19.
///
/// # Errors
///
/// `EINVAL` for a file system that cannot, `EPERM` for a namespace without mappings.
pub fn set_owner_mapping(tree: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> Result<()> {
    let value = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(user_namespace.as_raw_fd().cast_unsigned()),
    };
    // SAFETY: mount_setattr(dirfd, path, flags, attr, size): both descriptors are borrowed and so open, the path is a
    // NUL-terminated empty string, and `value` is a struct mount_attr of the given size that lives during the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            std::ptr::from_ref(&value),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Error::new(
        format!(
            "mount_setattr({}, \"\", MOUNT_ATTR_IDMAP, user namespace {})",
            tree.as_raw_fd(),
            user_namespace.as_raw_fd()
        ),
        last_errno(),
    ))
}

/// A detached overlay, for lower directories whose names do not fit in the page of mount(2): `lowerdir+`, Linux 6.8. An
/// empty `label` leaves the files those of SELinux that they have.
///
/// # Errors
///
/// `EINVAL` before Linux 6.8 and when overlayfs refuses the directories.
pub fn overlay(lower: &[String], upper: &str, work: &str, label: &str) -> Result<OwnedFd> {
    let call = |what: &str| {
        format!(
            "{what} of an overlay of {} lower directories on {upper:?}",
            lower.len()
        )
    };
    let context = Error::of(
        rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC),
        || call("fsopen"),
    )?;
    for directory in lower {
        Error::of(
            rustix::mount::fsconfig_set_string(&context, "lowerdir+", directory),
            || format!("fsconfig(\"lowerdir+\", {directory:?})"),
        )?;
    }
    for (key, value) in [("upperdir", upper), ("workdir", work), ("context", label)] {
        if !value.is_empty() {
            Error::of(
                rustix::mount::fsconfig_set_string(&context, key, value),
                || format!("fsconfig({key:?}, {value:?})"),
            )?;
        }
    }
    Error::of(rustix::mount::fsconfig_create(&context), || {
        call("fsconfig(FSCONFIG_CMD_CREATE)")
    })?;
    Error::of(
        rustix::mount::fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        ),
        || call("fsmount"),
    )
}

/// Makes `root`, a mount of this process's own mount namespace, its root directory. No path leads to the old root any more,
/// but it is there until it is detached.
///
/// # Errors
///
/// `EINVAL` when the old root or its parent mount is shared, or `root` is not a mount.
pub fn cover_root(root: BorrowedFd<'_>) -> Result<OldRoot> {
    Error::of(rustix::process::fchdir(root), || "fchdir(root)".into())?;
    // Both are ".": the old root is then mounted over the new one, and comes away by name (pivot_root(2), NOTES).
    Error::of(rustix::process::pivot_root(".", "."), || {
        "pivot_root(\".\", \".\")".into()
    })?;
    Error::of(rustix::process::chdir("/"), || "chdir(\"/\")".into())?;
    Ok(OldRoot(()))
}

/// A root that [`cover_root`] has replaced, mounted over the new one.
#[derive(Debug)]
pub struct OldRoot(());

impl OldRoot {
    /// Takes it away. This waits for an RCU grace period: a tenth of a millisecond, or several on a busy machine.
    ///
    /// # Errors
    ///
    /// `EPERM`.
    pub fn detach(self) -> Result<()> {
        // Unmounting looks below what is mounted last at a path, other calls do not: "/" is the old root here alone.
        Error::of(rustix::mount::unmount("/", UnmountFlags::DETACH), || {
            "umount2(\"/\", MNT_DETACH)".into()
        })
    }
}

/// Takes away what was mounted last at `path`; what still uses it keeps it.
///
/// # Errors
///
/// `EINVAL` if nothing is mounted there.
pub fn unmount(path: &str) -> Result<()> {
    Error::of(rustix::mount::unmount(path, UnmountFlags::DETACH), || {
        format!("umount2({path:?}, MNT_DETACH)")
    })
}

/// Binds the file or directory at `source` over what is behind `target`.
///
/// # Errors
///
/// As mount(2).
pub fn bind(source: &str, target: BorrowedFd<'_>) -> Result<()> {
    Error::of(rustix::mount::mount_bind(source, path_of(target)), || {
        format!("mount({source:?}, {:?}, NULL, MS_BIND)", path_of(target))
    })
}
