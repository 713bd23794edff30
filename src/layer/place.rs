//! Finding the place of an entry below the target, whatever its name says.
//!
//! Names are cleaned as if `/` were the target (`..` stops there), and their directories are opened by
//! `openat2(RESOLVE_IN_ROOT)`, so that links which the archive itself has made cannot lead out either (openat2(2)).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// As many links as the kernel follows in one name (path_resolution(7)).
const LINKS_MAX: u32 = 40;

/// The directory that an archive is unpacked into.
#[derive(Debug)]
pub(super) struct Root {
    directory: OwnedFd,
    /// The directory of the last entry: most entries follow a neighbour.
    last: Option<(PathBuf, OwnedFd)>,
    /// Directories that no entry has described (yet).
    implied: BTreeSet<PathBuf>,
}

/// What is at a place already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occupant {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// A whiteout that this archive made.
    Whiteout,
    /// Anything else.
    Other,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            directory: rustix::fs::open(path, flags, Mode::empty())?,
            last: None,
            // Until an entry describes it.
            implied: BTreeSet::from([PathBuf::new()]),
        })
    }

    /// The target itself.
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The directories that were made because entries lie in them, and that no entry described.
    pub(super) fn into_implied(self) -> BTreeSet<PathBuf> {
        self.implied
    }

    /// An entry of its own describes this directory.
    pub(super) fn is_described(&mut self, path: &Path) {
        self.implied.remove(path);
    }

    /// The directory `path`, made with its parents where it is missing.
    pub(super) fn parent(&mut self, path: &Path) -> io::Result<&OwnedFd> {
        let is_last = self.last.as_ref().is_some_and(|(last, _)| last == path);
        if !is_last {
            let directory = self.open_or_make(path)?;
            self.last = Some((path.to_owned(), directory));
        }
        // It is the last one now, by the lines above.
        self.last
            .as_ref()
            .map_or(Err(io::ErrorKind::NotFound.into()), |(_, last)| Ok(last))
    }

    /// The directory `path` as it is, for the target of a hard link and for what is done at the end.
    pub(super) fn find(&self, path: &Path) -> io::Result<OwnedFd> {
        self.resolve(path, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(io::Error::from)
    }

    /// Opens `path` below the target.
    pub(super) fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        resolve(self.directory.as_fd(), path, flags)
    }

    /// Removes what is at a place; the directory of the last entry may have been below it.
    pub(super) fn clear(
        &mut self,
        path: &Path,
        name: &OsStr,
        occupant: Occupant,
    ) -> io::Result<()> {
        let parent = self.parent(path)?;
        match occupant {
            Occupant::Nothing => return Ok(()),
            Occupant::Directory => remove_tree(parent.as_fd(), name)?,
            Occupant::Whiteout | Occupant::Other => {
                rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
            }
        }
        self.last = None;
        if occupant == Occupant::Directory {
            let gone = path.join(name);
            self.implied.retain(|implied| !implied.starts_with(&gone));
        }
        Ok(())
    }

    fn open_or_make(&mut self, path: &Path) -> io::Result<OwnedFd> {
        match self.find(path) {
            Err(error) if is_missing(&error) => {
                self.make(path, LINKS_MAX)?;
                self.find(path)
            }
            found => found,
        }
    }

    /// Makes the directories of `path` that are missing.
    fn make(&mut self, path: &Path, links: u32) -> io::Result<()> {
        let mut made = PathBuf::new();
        for name in path {
            let above = self.find(&made)?;
            made.push(name);
            match self.find(&made) {
                Ok(_) => continue,
                Err(error) if !is_missing(&error) => return Err(error),
                Err(_) => {}
            }
            match occupant(above.as_fd(), name)? {
                Occupant::Nothing => rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755))?,
                // The directory below is hidden as a whole, and this one begins anew.
                Occupant::Whiteout => {
                    rustix::fs::unlinkat(&above, name, AtFlags::empty())?;
                    rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755))?;
                    super::metadata::make_opaque(self.find(&made)?.as_fd())?;
                }
                // A link that leads to nothing yet: what it leads to is made.
                Occupant::Other => {
                    let target = rustix::fs::readlinkat(&above, name, Vec::new())?;
                    let links = links.checked_sub(1).ok_or(Errno::LOOP)?;
                    let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                    let base = made.parent().unwrap_or(Path::new(""));
                    self.make(&clean(&base.join(target)), links)?;
                    continue;
                }
                Occupant::Directory => continue,
            }
            self.implied.insert(made.clone());
        }
        Ok(())
    }
}

/// A name as if `/` were the target: no empty, `.` or `..` parts.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in path.as_os_str().as_bytes().split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                cleaned.pop();
            }
            part => cleaned.push(OsStr::from_bytes(part)),
        }
    }
    cleaned
}

/// Opens `path` below `root`, following links as if `root` were `/`.
pub(super) fn resolve(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    rustix::fs::openat2(
        root,
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

/// What `name` in `parent` is; links are not followed.
pub(super) fn occupant(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<Occupant> {
    match status(parent, name)? {
        None => Ok(Occupant::Nothing),
        Some(status) => Ok(match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => Occupant::Directory,
            FileType::CharacterDevice if status.st_rdev == 0 => Occupant::Whiteout,
            _ => Occupant::Other,
        }),
    }
}

/// The status of `name` in `parent`, if it is there.
pub(super) fn status(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Removes a directory that this archive made. Nobody else writes below the target meanwhile, so the depth is
/// bounded by the length of a name, and the standard library's descriptor walk may be used.
fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let directory = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&parent));
    std::fs::remove_dir_all(Path::new(&directory).join(name))
}
