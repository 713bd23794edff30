//! The proc file system of a pid namespace that the mounting process is not in.
//!
//! proc shows the pid namespace of whoever opens its file system context, or since Linux 6.17 one that is named.

#![allow(unsafe_code, reason = "rustix has no ioctl of pidfds")]

use crate::Error;
use crate::Result;
use crate::error::last_errno;
use rustix::io::Errno;
use rustix::mount::FsMountFlags;
use rustix::mount::FsOpenFlags;
use rustix::mount::MountAttrFlags;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

/// `_IO(0xff, 5)`, linux/pidfd.h
const PIDFD_GET_PID_NAMESPACE: libc::c_ulong = 0xff05;

/// MS_* of mount(2) that are options of a mount, and what fsmount(2) calls them.
const ATTRIBUTES: [(u32, MountAttrFlags); 7] = [
    (1, MountAttrFlags::MOUNT_ATTR_RDONLY),
    (1 << 1, MountAttrFlags::MOUNT_ATTR_NOSUID),
    (1 << 2, MountAttrFlags::MOUNT_ATTR_NODEV),
    (1 << 3, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    (1 << 10, MountAttrFlags::MOUNT_ATTR_NOATIME),
    (1 << 11, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    (1 << 24, MountAttrFlags::MOUNT_ATTR_STRICTATIME),
];

/// MS_RELATIME, which is what a mount has without an option.
const RELATIVE: u32 = 1 << 21;

/// A context of a proc that is not made yet, of the caller's own pid namespace.
///
/// # Errors
///
/// `EPERM` without CAP_SYS_ADMIN over the own mount namespace.
pub fn open() -> Result<OwnedFd> {
    Error::of(
        rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC),
        || "fsopen(\"proc\")".into(),
    )
}

/// A context of a proc that is not made yet, of the pid namespace that the process behind a pidfd is in. None: the kernel
/// is older than 6.17.
///
/// # Errors
///
/// `ESRCH` when the process has been reaped, `EPERM` without CAP_SYS_ADMIN over its pid namespace.
pub fn open_for(process: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    let namespace = match namespace_of(process) {
        Ok(namespace) => namespace,
        // KERNEL(6.11): the ioctl, older than the option.
        Err(error) if matches!(error.errno(), Errno::NOTTY | Errno::INVAL) => return Ok(None),
        Err(error) => return Err(error),
    };
    let context = open()?;
    match rustix::mount::fsconfig_set_fd(&context, "pidns", &namespace) {
        Ok(()) => Ok(Some(context)),
        // KERNEL(6.17): proc has no such option before.
        Err(Errno::INVAL) => Ok(None),
        Err(errno) => Err(Error::new("fsconfig(\"pidns\")", errno)),
    }
}

fn namespace_of(process: BorrowedFd<'_>) -> Result<OwnedFd> {
    // SAFETY: the descriptor is borrowed and so open; this ioctl takes no argument and touches no memory of the caller.
    let result = unsafe { libc::ioctl(process.as_raw_fd(), PIDFD_GET_PID_NAMESPACE, 0) };
    if result < 0 {
        return Err(Error::new(
            "ioctl(pidfd, PIDFD_GET_PID_NAMESPACE)",
            last_errno(),
        ));
    }
    // SAFETY: the ioctl succeeded, and returns a new descriptor that nobody owns.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// Makes the proc of a context, as a tree to be placed by [`crate::mount::place`]. `flags` are MS_* numbers of mount(2),
/// `options` what proc itself takes, such as `hidepid=2`.
///
/// # Errors
///
/// `EINVAL` for a flag or an option that there is not, or a context of another file system.
pub fn make(context: &OwnedFd, flags: u32, options: &str) -> Result<OwnedFd> {
    let call = |what: &str| format!("{what} of proc ({flags:#x}, {options:?})");
    let known = ATTRIBUTES
        .iter()
        .fold(RELATIVE, |known, (flag, _)| known | flag);
    if flags & !known != 0 {
        return Err(Error::new(call("mount options"), Errno::INVAL));
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let set = match option.split_once('=') {
            Some((key, value)) => rustix::mount::fsconfig_set_string(context, key, value),
            None => rustix::mount::fsconfig_set_flag(context, option),
        };
        Error::of(set, || format!("fsconfig({option:?}) of proc"))?;
    }
    Error::of(rustix::mount::fsconfig_create(context), || {
        call("fsconfig(FSCONFIG_CMD_CREATE)")
    })?;
    let attributes = ATTRIBUTES
        .iter()
        .filter(|(flag, _)| flags & flag != 0)
        .fold(MountAttrFlags::empty(), |all, (_, attribute)| {
            all | *attribute
        });
    let tree = Error::of(
        rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes),
        || call("fsmount"),
    )?;
    let status = Error::of(rustix::fs::fstatfs(&tree), || call("fstatfs"))?;
    if status.f_type != rustix::fs::PROC_SUPER_MAGIC {
        return Err(Error::new(call("fstatfs"), Errno::INVAL));
    }
    Ok(tree)
}
