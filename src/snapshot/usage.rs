//! Measuring directories as `du` does.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::ops::AddAssign;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;

/// Paths that are longer are not used: what lies deeper is reached from a descriptor half-way. A container can nest
/// directories without end, and the kernel takes no path of more than 4095 bytes.
const PATH_BYTES_MAX: usize = 2048;

/// What a directory takes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Allocated bytes: blocks, not lengths.
    pub bytes: u64,
    /// Files, directories and other nodes; hard links count once.
    pub inodes: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.inodes += other.inodes;
    }
}

/// A directory to look into, by a path from a directory that is open.
struct Place {
    base: Arc<OwnedFd>,
    path: PathBuf,
}

/// Measures everything below `path` and itself, without crossing into other file systems. What vanishes meanwhile does
/// not count.
///
/// # Errors
/// If `path` or something below it cannot be read.
pub fn measure(path: &Path) -> io::Result<Usage> {
    let top = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    let mut usage = allocated(&top);
    if FileType::from_raw_mode(top.st_mode) != FileType::Directory {
        return Ok(usage);
    }
    let base = Arc::new(open(CWD, path)?);
    let mut linked = HashSet::new();
    let mut places = vec![Place {
        base,
        path: PathBuf::from("."),
    }];
    while let Some(place) = places.pop() {
        let directory = match open(&*place.base, &place.path) {
            Err(errno) if is_passing(errno) => continue,
            opened => Arc::new(opened?),
        };
        for entry in Dir::read_from(&*directory)? {
            let entry = match entry {
                Err(errno) if is_passing(errno) => break,
                entry => entry?,
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if matches!(name.as_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match statat(&*directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(errno) if is_passing(errno) => continue,
                stat => stat?,
            };
            if stat.st_dev != top.st_dev {
                continue;
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                places.push(place.inner(&directory, name));
            } else if stat.st_nlink > 1 && !linked.insert(stat.st_ino) {
                continue;
            }
            usage += allocated(&stat);
        }
    }
    Ok(usage)
}

impl Place {
    /// The directory of that name in this one, which is open.
    fn inner(&self, directory: &Arc<OwnedFd>, name: &OsStr) -> Self {
        match self.path.as_os_str().len() > PATH_BYTES_MAX {
            true => Self {
                base: Arc::clone(directory),
                path: PathBuf::from(name),
            },
            false => Self {
                base: Arc::clone(&self.base),
                path: self.path.join(name),
            },
        }
    }
}

/// Measures one file or directory, without what is in it.
pub(super) fn measure_one(path: &Path) -> io::Result<Usage> {
    Ok(allocated(&statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?))
}

fn open(base: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(base, path, flags, Mode::empty())
}

/// stat(2): `st_blocks` counts units of 512 bytes, whatever the file system's block size.
fn allocated(stat: &Stat) -> Usage {
    Usage {
        bytes: u64::try_from(stat.st_blocks).unwrap_or_default() * 512,
        inodes: 1,
    }
}

/// The entry was removed, or replaced by something else, since its directory was read.
fn is_passing(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}
