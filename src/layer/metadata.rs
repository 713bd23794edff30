//! Owner, mode, extended attributes and times of what was unpacked.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::{Entry, Timestamp};

/// The attribute by which overlayfs hides what lower layers have in a directory.
const OPAQUE: &str = "trusted.overlay.opaque";

/// Sets everything but the times of an open file or directory. The order matters: chown(2) clears setuid bits and
/// capabilities.
pub(super) fn apply(target: BorrowedFd<'_>, entry: &Entry) -> io::Result<()> {
    rustix::fs::fchown(
        target,
        Some(Uid::from_raw(entry.uid)),
        Some(Gid::from_raw(entry.gid)),
    )?;
    rustix::fs::fchmod(target, Mode::from_raw_mode(entry.mode))?;
    for (name, value) in wanted_attributes(entry) {
        let outcome = rustix::fs::fsetxattr(target, name, value, XattrFlags::empty());
        tolerate(name, outcome)?;
    }
    Ok(())
}

/// The same for what cannot be opened: links, devices and pipes. `mode` is left alone for links, which have none.
pub(super) fn apply_at(parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> io::Result<()> {
    rustix::fs::chownat(
        parent,
        name,
        Some(Uid::from_raw(entry.uid)),
        Some(Gid::from_raw(entry.gid)),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    if entry.kind != super::EntryKind::SymbolicLink {
        // fchmodat(2) would follow a link, but this is none, and nobody else writes here.
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
    }
    let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    for (attribute, value) in wanted_attributes(entry) {
        let path = path.as_slice();
        let outcome = rustix::fs::lsetxattr(path, attribute, value, XattrFlags::empty());
        tolerate(attribute, outcome)?;
    }
    rustix::fs::utimensat(
        parent,
        name,
        &times(entry.modified),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    Ok(())
}

/// Hides what lower layers have in this directory.
pub(super) fn make_opaque(directory: BorrowedFd<'_>) -> io::Result<()> {
    // The descriptor may be O_PATH, which fsetxattr(2) refuses.
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    rustix::fs::setxattr(path, OPAQUE, b"y", XattrFlags::empty())?;
    Ok(())
}

/// Access and modification time, both as the archive says.
pub(super) fn times(modified: Timestamp) -> Timestamps {
    let time = Timespec {
        tv_sec: modified.seconds,
        tv_nsec: modified.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// The times of an open directory, to be put back after something was made in it.
pub(super) fn times_of(directory: BorrowedFd<'_>) -> io::Result<Timestamps> {
    let status = rustix::fs::fstat(directory)?;
    Ok(Timestamps {
        last_access: Timespec {
            tv_sec: status.st_atime,
            tv_nsec: status.st_atime_nsec.cast_signed(),
        },
        last_modification: Timespec {
            tv_sec: status.st_mtime,
            tv_nsec: status.st_mtime_nsec.cast_signed(),
        },
    })
}

/// Whether a directory hides what lower layers have in it.
pub(super) fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    let mut value = [0_u8; 2];
    let length = rustix::fs::fgetxattr(directory, OPAQUE, value.as_mut_slice());
    length == Ok(1) && value[0] == b'y'
}

/// Whether an image may set this attribute. Those of overlayfs would let a layer redirect names and hide files
/// behind our back; labels of SELinux and Smack belong to the host's policy.
pub(super) fn is_wanted(name: &[u8]) -> bool {
    !name.starts_with(b"trusted.overlay.")
        && !name.starts_with(b"user.overlay.")
        && name != b"security.selinux"
        && !name.starts_with(b"security.SMACK64")
}

pub(super) fn wanted_attributes(entry: &Entry) -> impl Iterator<Item = (&[u8], &[u8])> {
    entry
        .attributes
        .iter()
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
        .filter(|(name, _)| is_wanted(name))
}

/// A file system without this kind of attribute unpacks the rest, as the peers do; so does a link or device for
/// `user.` attributes, which only files and directories may have (xattr(7)).
pub(super) fn tolerate(name: &[u8], outcome: rustix::io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(Errno::NOTSUP) => {}
        Err(Errno::PERM) if name.starts_with(b"user.") => {}
        outcome => return Ok(outcome?),
    }
    tracing::debug!(name = %name.escape_ascii(), "an extended attribute of the archive cannot be set here");
    Ok(())
}
