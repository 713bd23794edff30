//! Finding the place of an entry below the target, whatever its name says.
//!
//! Names are cleaned as if `/` were the target (`..` stops there), and their directories are opened by
//! `openat2(RESOLVE_IN_ROOT)`, so that links which the archive itself has made cannot lead out either (openat2(2)).
//! Where a link is on the way or something is missing, the name is walked part by part, each opened below the one
//! before it without following links.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timestamps};
use rustix::io::Errno;

use super::metadata;

/// As many links as the kernel follows in one name (path_resolution(7)).
const LINKS_MAX: u32 = 40;

/// The longest name (PATH_MAX, limits.h): also of what a name leads to by links, which could grow without end.
pub(super) const NAME_BYTES_MAX: usize = 4096;

/// How deep directories are nested at most. Real images stay below 100, and removing a tree takes a descriptor and a
/// piece of the stack for each level.
const DEPTH_MAX: usize = 1000;

/// What a directory that is remembered takes in memory beside its name.
const ENTRY_OVERHEAD_BYTES: u64 = 64;

/// openat2 gives EAGAIN when a rename elsewhere made it unsure: try again so often.
const ATTEMPTS: u32 = 128;

/// The directory that an archive is unpacked into.
#[derive(Debug)]
pub(super) struct Root {
    directory: OwnedFd,
    /// The directory of the last entry: most entries follow a neighbour.
    last: Option<Place>,
    /// Directories that no entry has described (yet).
    implied: BTreeSet<PathBuf>,
    /// Directories that were ever made without an entry, and the memory for their names.
    made: u64,
    names_bytes: u64,
}

/// A directory in which entries are made.
#[derive(Debug)]
struct Place {
    /// As the archive calls it.
    named: PathBuf,
    /// The same without links.
    path: PathBuf,
    directory: OwnedFd,
    /// Its times when it was entered: what is made in it changes them, and they are put back.
    times: Timestamps,
}

/// Whether links on the way are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// As if the target were `/`.
    Follow,
    /// They are an error, `ELOOP`.
    Refuse,
}

/// What is at a place already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occupant {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
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
            made: 0,
            names_bytes: 0,
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

    /// How many directories were made that have no entry of their own.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// The memory that the names of such directories take.
    pub(super) fn names_bytes(&self) -> u64 {
        self.names_bytes
    }

    /// An entry of its own describes `name` in the directory that was entered last.
    pub(super) fn is_described(&mut self, name: &OsStr) {
        let path = self.last.as_ref().map(|last| last.path.join(name));
        if let Some(path) = path {
            self.implied.remove(&path);
        }
    }

    /// An entry describes the target.
    pub(super) fn target_is_described(&mut self) {
        self.implied.remove(Path::new(""));
    }

    /// Enters the directory `path`, made with its parents where it is missing.
    pub(super) fn parent(&mut self, path: &Path) -> io::Result<&OwnedFd> {
        let is_last = self.last.as_ref().is_some_and(|last| last.named == path);
        if !is_last {
            self.leave()?;
            let (real, directory) = self.open_or_make(path)?;
            self.last = Some(Place {
                times: metadata::times_of(directory.as_fd())?,
                named: path.to_owned(),
                path: real,
                directory,
            });
        }
        // It is the last one now, by the lines above.
        self.last
            .as_ref()
            .map_or(Err(io::ErrorKind::NotFound.into()), |last| {
                Ok(&last.directory)
            })
    }

    /// Leaves the directory that was entered last, and puts its times back.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        match self.last.take() {
            Some(last) => Ok(rustix::fs::futimens(&last.directory, &last.times)?),
            None => Ok(()),
        }
    }

    /// The directory `path` as it is, for the target of a hard link.
    pub(super) fn find(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        Ok(resolve(self.directory(), path, flags, Links::Follow)?)
    }

    /// Removes what is at a place.
    pub(super) fn clear(
        &mut self,
        path: &Path,
        name: &OsStr,
        occupant: Occupant,
    ) -> io::Result<()> {
        let parent = self.parent(path)?;
        match occupant {
            Occupant::Nothing => {}
            Occupant::Directory => {
                remove_tree(parent.as_fd(), name)?;
                self.forget(name);
            }
            Occupant::Link | Occupant::Whiteout | Occupant::Other => {
                rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
            }
        }
        Ok(())
    }

    /// Forgets the directory `name` of the one that was entered last, and what was below.
    fn forget(&mut self, name: &OsStr) {
        let Some(gone) = self.last.as_ref().map(|last| last.path.join(name)) else {
            return;
        };
        // Paths are ordered part by part, so those below follow at once.
        let forgotten: Vec<PathBuf> = self
            .implied
            .range(gone.clone()..)
            .take_while(|path| path.starts_with(&gone))
            .cloned()
            .collect();
        for path in forgotten {
            self.implied.remove(&path);
        }
    }

    /// The directory `path`, and its name without links.
    fn open_or_make(&mut self, path: &Path) -> io::Result<(PathBuf, OwnedFd)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match resolve(self.directory(), path, flags, Links::Refuse) {
            Ok(directory) => {
                check_depth(path)?;
                Ok((path.to_owned(), directory))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => self.walk(path),
            Err(error) => Err(error.into()),
        }
    }

    /// Goes `path` part by part, follows links as if the target were `/`, and makes what is missing.
    fn walk(&mut self, path: &Path) -> io::Result<(PathBuf, OwnedFd)> {
        let mut ahead = parts_backwards(path.as_os_str().as_bytes());
        let mut links = 0;
        let mut done = PathBuf::new();
        let mut here = self.reopen(&done)?;
        while let Some(name) = ahead.pop() {
            if name == ".." {
                done.pop();
                here = self.reopen(&done)?;
                continue;
            }
            match occupant(here.as_fd(), &name)? {
                Occupant::Directory => done.push(&name),
                Occupant::Link if links < LINKS_MAX => {
                    links += 1;
                    let target = rustix::fs::readlinkat(&here, &name, Vec::new())?;
                    if target.as_bytes().starts_with(b"/") {
                        done.clear();
                        here = self.reopen(&done)?;
                    }
                    ahead.extend(parts_backwards(target.as_bytes()));
                    continue;
                }
                Occupant::Link => return Err(Errno::LOOP.into()),
                Occupant::Other => return Err(Errno::NOTDIR.into()),
                before @ (Occupant::Nothing | Occupant::Whiteout) => {
                    done.push(&name);
                    check_depth(&done)?;
                    self.make(here.as_fd(), &done, before)?;
                }
            }
            here = open_directory(here.as_fd(), &name)?;
        }
        check_depth(&done)?;
        Ok((done, here))
    }

    fn reopen(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok(resolve(self.directory(), path, flags, Links::Refuse)?)
    }

    /// Makes the directory `path`, whose parent is `above`, without an entry.
    fn make(&mut self, above: BorrowedFd<'_>, path: &Path, before: Occupant) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default();
        let times = metadata::times_of(above)?;
        if before == Occupant::Whiteout {
            rustix::fs::unlinkat(above, name, AtFlags::empty())?;
        }
        rustix::fs::mkdirat(above, name, Mode::from_raw_mode(0o755))?;
        if before == Occupant::Whiteout {
            // The directory below is hidden as a whole, and this one begins anew.
            metadata::make_opaque(open_directory(above, name)?.as_fd())?;
        }
        rustix::fs::futimens(above, &times)?;
        self.made += 1;
        self.names_bytes += path.as_os_str().len() as u64 + ENTRY_OVERHEAD_BYTES;
        self.implied.insert(path.to_owned());
        Ok(())
    }
}

/// Opens the directory `name` in `parent`; a link is refused.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

fn check_depth(path: &Path) -> io::Result<()> {
    let is_fine =
        path.as_os_str().len() <= NAME_BYTES_MAX && path.components().count() <= DEPTH_MAX;
    match is_fine {
        true => Ok(()),
        false => Err(Errno::NAMETOOLONG.into()),
    }
}

/// The parts of a path, the last one first.
fn parts_backwards(path: &[u8]) -> Vec<OsString> {
    path.split(|byte| *byte == b'/')
        .rev()
        .filter(|part| !matches!(*part, b"" | b"."))
        .map(|part| OsString::from_vec(part.to_vec()))
        .collect()
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

/// Opens `path` below `root`, as if `root` were `/`.
pub(super) fn resolve(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    links: Links,
) -> Result<OwnedFd, Errno> {
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    let mut how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refuse {
        how |= ResolveFlags::NO_SYMLINKS;
    }
    let flags = flags | OFlags::CLOEXEC;
    let mut attempts = 0;
    loop {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) if attempts < ATTEMPTS => attempts += 1,
            outcome => return outcome,
        }
    }
}

/// What `name` in `parent` is; links are not followed.
pub(super) fn occupant(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<Occupant> {
    Ok(status(parent, name)?.map_or(Occupant::Nothing, |status| kind(&status)))
}

/// What has this status.
pub(super) fn kind(status: &Stat) -> Occupant {
    match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => Occupant::Directory,
        FileType::Symlink => Occupant::Link,
        FileType::CharacterDevice if status.st_rdev == 0 => Occupant::Whiteout,
        _ => Occupant::Other,
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

/// Removes a directory that this archive made. Nobody else writes below the target meanwhile, and the depth is
/// bounded, so the standard library's descriptor walk may be used.
fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let directory = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&parent));
    std::fs::remove_dir_all(Path::new(&directory).join(name))
}
