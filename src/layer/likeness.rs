//! Whether what lies at one place is what an entry of an archive says.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::difference::{Deviation, Kind};
use super::{Archive, Entry, EntryKind, LayerError, Timestamp, content, metadata, place};

/// The length of values that are read without asking the heap: that of a capability, thrice over.
const SHORT_ATTRIBUTE_BYTES: usize = 64;

/// The largest value of an extended attribute (xattr(7)).
const ATTRIBUTE_BYTES_MAX: usize = 64 * 1024;

/// Compares one place with an entry; only the archive's own errors end the comparison.
pub(super) fn one(
    (directory, name): (BorrowedFd<'_>, &OsStr),
    entry: &Entry,
    data: &mut Archive<impl Read>,
) -> Result<Result<(), Deviation>, LayerError> {
    let status = match place::status(directory, name) {
        Ok(Some(status)) => status,
        Ok(None) => return Ok(Err(Deviation::Missing)),
        Err(error) => return Ok(Err(Deviation::Unreadable(error))),
    };
    let expected = kind_in(&entry.kind);
    let found = kind_of(&status);
    if found != expected {
        return Ok(Err(Deviation::Kind { expected, found }));
    }
    match &entry.kind {
        EntryKind::File(stretches) => {
            let size = u64::try_from(status.st_size).unwrap_or_default();
            if size != entry.size {
                let expected = entry.size;
                return Ok(Err(Deviation::Size {
                    expected,
                    found: size,
                }));
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
                Ok(file) => file.into(),
                Err(errno) => return Ok(Err(Deviation::Unreadable(errno.into()))),
            };
            let compared = content::compare(file, entry.size, stretches, data);
            let compared = compared.map_err(|error| {
                data.take_failure().unwrap_or(LayerError::Read {
                    entries: data.entries(),
                    source: error,
                })
            })?;
            if let Err(deviation) = compared {
                return Ok(Err(deviation));
            }
        }
        EntryKind::SymbolicLink => {
            let found = match rustix::fs::readlinkat(directory, name, Vec::new()) {
                Ok(found) => found.into_bytes(),
                Err(errno) => return Ok(Err(Deviation::Unreadable(errno.into()))),
            };
            if found != entry.link {
                return Ok(Err(Deviation::Target {
                    expected: OsString::from_vec(entry.link.clone()).into(),
                    found: OsString::from_vec(found).into(),
                }));
            }
        }
        EntryKind::CharacterDevice | EntryKind::BlockDevice => {
            if status.st_rdev != rustix::fs::makedev(entry.device.0, entry.device.1) {
                return Ok(Err(Deviation::Device));
            }
        }
        EntryKind::Directory | EntryKind::Fifo | EntryKind::HardLink => {}
    }
    Ok(described((directory, name), entry, &status))
}

/// Owner, mode, attributes and time.
pub(super) fn described(
    place: (BorrowedFd<'_>, &OsStr),
    entry: &Entry,
    status: &Stat,
) -> Result<(), Deviation> {
    same_owner(status, (entry.uid, entry.gid))?;
    if entry.kind != EntryKind::SymbolicLink {
        same_mode(status, entry.mode)?;
    }
    same_attributes(place, entry)?;
    same_time(status, entry.modified)
}

pub(super) fn same_owner(status: &Stat, expected: (u32, u32)) -> Result<(), Deviation> {
    let found = (status.st_uid, status.st_gid);
    match found == expected {
        true => Ok(()),
        false => Err(Deviation::Owner { expected, found }),
    }
}

pub(super) fn same_mode(status: &Stat, expected: u32) -> Result<(), Deviation> {
    let found = status.st_mode & 0o7777;
    match found == expected {
        true => Ok(()),
        false => Err(Deviation::Mode { expected, found }),
    }
}

/// A file system may keep whole seconds only, and has a first and a last moment (ext4 with small inodes: 1901 to 2038).
fn same_time(status: &Stat, expected: Timestamp) -> Result<(), Deviation> {
    let nanoseconds = u32::try_from(status.st_mtime_nsec).unwrap_or_default();
    let is_representable = i32::try_from(expected.seconds).is_ok();
    let is_same = status.st_mtime == expected.seconds
        && (nanoseconds == expected.nanoseconds || nanoseconds == 0);
    match is_same || !is_representable {
        true => Ok(()),
        false => Err(Deviation::Modified),
    }
}

fn same_attributes(place: (BorrowedFd<'_>, &OsStr), entry: &Entry) -> Result<(), Deviation> {
    let differs = |name: &[u8]| Deviation::Attribute(OsString::from_vec(name.to_owned()));
    for (name, value) in metadata::wanted_attributes(entry) {
        match attribute(place, name) {
            Ok(Some(found)) if found == value => {}
            // What could not be set when the layer was unpacked is not missing now.
            Err(Errno::NOTSUP) => {}
            Ok(None) if name.starts_with(b"user.") && !can_have_user_attributes(entry) => {}
            Ok(_) => return Err(differs(name)),
            Err(errno) => return Err(Deviation::Unreadable(errno.into())),
        }
    }
    // Powers that nobody gave it.
    let capability = b"security.capability".as_slice();
    let is_expected = metadata::wanted_attributes(entry).any(|(name, _)| name == capability);
    match attribute(place, capability) {
        Ok(Some(_)) if !is_expected => Err(differs(capability)),
        _ => Ok(()),
    }
}

fn can_have_user_attributes(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::File(_) | EntryKind::Directory)
}

/// The value of an extended attribute of something that need not be openable; links are not followed.
fn attribute(
    (directory, name): (BorrowedFd<'_>, &OsStr),
    attribute: &[u8],
) -> Result<Option<Vec<u8>>, Errno> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    // Most have none or a short one.
    let mut short = [0; SHORT_ATTRIBUTE_BYTES];
    match rustix::fs::lgetxattr(path.as_slice(), attribute, &mut short) {
        Ok(length) => Ok(Some(short[..length].to_vec())),
        Err(Errno::NODATA) => Ok(None),
        Err(Errno::RANGE) => {
            let mut value = Vec::with_capacity(ATTRIBUTE_BYTES_MAX);
            rustix::fs::lgetxattr(path.as_slice(), attribute, spare_capacity(&mut value))?;
            Ok(Some(value))
        }
        Err(errno) => Err(errno),
    }
}

pub(super) fn is_whiteout(status: &Stat) -> bool {
    kind_of(status) == Kind::CharacterDevice && status.st_rdev == 0
}

pub(super) fn identity(status: &Stat) -> (u64, u64) {
    (status.st_dev, status.st_ino)
}

fn kind_in(kind: &EntryKind) -> Kind {
    match kind {
        EntryKind::File(_) | EntryKind::HardLink => Kind::File,
        EntryKind::Directory => Kind::Directory,
        EntryKind::SymbolicLink => Kind::SymbolicLink,
        EntryKind::CharacterDevice => Kind::CharacterDevice,
        EntryKind::BlockDevice => Kind::BlockDevice,
        EntryKind::Fifo => Kind::Fifo,
    }
}

pub(super) fn kind_of(status: &Stat) -> Kind {
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::SymbolicLink,
        FileType::CharacterDevice => Kind::CharacterDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Fifo => Kind::Fifo,
        _ => Kind::Other,
    }
}
