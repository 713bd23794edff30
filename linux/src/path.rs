//! Paths below a root directory, resolved by the kernel (openat2, RESOLVE_IN_ROOT): no symbolic link and no `..` leads
//! out of the root, whatever another process changes meanwhile.

use crate::Error;
use crate::Result;
use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// openat2 gives EAGAIN when a rename elsewhere made it unsure: try again so often.
const ATTEMPTS: u32 = 128;
/// Symbolic links followed while missing directories are made, as the kernel's own bound.
const LINKS: u32 = 40;

/// Whether symbolic links may be on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Followed, below the root.
    Follow,
    /// An error, `ELOOP`.
    Refuse,
}

/// Opens `path` below `root`. Magic links (/proc/self/fd/N) are refused.
///
/// # Errors
///
/// As openat2(2).
pub fn open_in_root(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    links: Links,
) -> Result<OwnedFd> {
    Error::of(
        open(root, path.as_bytes(), flags, links, Mode::empty()),
        || format!("openat2(root, {path:?}, {flags:?}, RESOLVE_IN_ROOT)"),
    )
}

fn open(
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    links: Links,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refuse {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    let mut attempts = 0;
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) if attempts < ATTEMPTS => attempts += 1,
            result => return result,
        }
    }
}

/// Opens the directory `path` below `root` as a place (`O_PATH`), making what is missing with `mode`; a dangling link's
/// target is made too.
///
/// # Errors
///
/// `ENOTDIR` when a file is in the way, `EROFS` and the like.
pub fn make_directories(root: BorrowedFd<'_>, path: &str, mode: u32) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let found = match open(root, path.as_bytes(), flags, Links::Follow, Mode::empty()) {
        Err(Errno::NOENT) => make_missing(root, path.as_bytes(), mode),
        result => result,
    };
    Error::of(found, || format!("making directory {path:?} in the root"))
}

fn make_missing(root: BorrowedFd<'_>, path: &[u8], mode: u32) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut links = 0;
    // Names still to go, the next one last.
    let mut names: Vec<Vec<u8>> = names_of(path);
    // What has been gone, as a path from the root.
    let mut done: Vec<u8> = Vec::new();
    let mut here = open(root, b"/", flags, Links::Follow, Mode::empty())?;
    while let Some(name) = names.pop() {
        let mut next = done.clone();
        next.push(b'/');
        next.extend_from_slice(&name);
        match open(root, &next, flags, Links::Follow, Mode::empty()) {
            Ok(found) => (here, done) = (found, next),
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&here, name.as_slice(), Mode::from_raw_mode(mode)) {
                    Ok(()) => {
                        here = open(root, &next, flags, Links::Follow, Mode::empty())?;
                        done = next;
                    }
                    // A link to what is missing: go there instead.
                    Err(Errno::EXIST) if links < LINKS => {
                        links += 1;
                        let target = rustix::fs::readlinkat(&here, name.as_slice(), Vec::new())?;
                        names.extend(names_of(target.as_bytes()));
                        if target.as_bytes().starts_with(b"/") {
                            done.clear();
                            here = open(root, b"/", flags, Links::Follow, Mode::empty())?;
                        }
                    }
                    Err(errno) => return Err(errno),
                }
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(here)
}

fn names_of(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').rev();
    names
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
        .collect()
}

/// Opens the file `path` below `root` as a place (`O_PATH`), making an empty one and its directories if it is missing.
/// What is there may be anything but a directory.
///
/// # Errors
///
/// `EISDIR` when a directory is there, `EROFS` and the like.
pub fn make_file(root: BorrowedFd<'_>, path: &str, mode: u32) -> Result<OwnedFd> {
    Error::of(make_file_raw(root, path, mode), || {
        format!("making file {path:?} in the root")
    })
}

fn make_file_raw(root: BorrowedFd<'_>, path: &str, mode: u32) -> rustix::io::Result<OwnedFd> {
    let bytes = path.as_bytes();
    let place = match open(root, bytes, OFlags::PATH, Links::Follow, Mode::empty()) {
        Err(Errno::NOENT) => {
            if let Some((parent, _name)) = path.trim_end_matches('/').rsplit_once('/') {
                make_missing(root, parent.as_bytes(), 0o755)?;
            }
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
            drop(open(
                root,
                bytes,
                flags,
                Links::Follow,
                Mode::from_raw_mode(mode),
            )?);
            open(root, bytes, OFlags::PATH, Links::Follow, Mode::empty())?
        }
        result => result?,
    };
    if is_directory(place.as_fd())? {
        return Err(Errno::ISDIR);
    }
    Ok(place)
}

/// The directory that holds the last name of `path`, and that name; missing directories are made.
///
/// # Errors
///
/// `EINVAL` for a path that ends in nothing, `.` or `..`; else as [`make_directories`].
pub fn make_parent<'a>(root: BorrowedFd<'_>, path: &'a str) -> Result<(OwnedFd, &'a str)> {
    let trimmed = path.trim_end_matches('/');
    let (parent, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
    if matches!(name, "" | "." | "..") {
        return Err(Error::new(
            format!("the last name of {path:?}"),
            Errno::INVAL,
        ));
    }
    let parent = if parent.is_empty() { "/" } else { parent };
    Ok((make_directories(root, parent, 0o755)?, name))
}

/// Whether an open descriptor refers to a directory.
///
/// # Errors
///
/// As fstat(2).
pub fn is_directory(descriptor: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let status = rustix::fs::statat(descriptor, "", AtFlags::EMPTY_PATH)?;
    Ok(FileType::from_raw_mode(status.st_mode) == FileType::Directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn root(directory: &TempDir) -> OwnedFd {
        let path = directory.path().join("root");
        fs::create_dir(&path).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        rustix::fs::open(&path, flags, Mode::empty()).unwrap()
    }

    #[test]
    fn links_out_of_the_root_stay_inside() {
        let directory = tempfile::tempdir().unwrap();
        let root = root(&directory);
        symlink("../../..", directory.path().join("root/up")).unwrap();
        symlink("/outside", directory.path().join("root/absolute")).unwrap();
        fs::create_dir(directory.path().join("outside")).unwrap();
        make_directories(root.as_fd(), "/up/made/below", 0o755).unwrap();
        assert!(directory.path().join("root/made/below").is_dir());
        make_directories(root.as_fd(), "/absolute/x", 0o755).unwrap();
        assert!(directory.path().join("root/outside/x").is_dir());
        assert_eq!(
            fs::read_dir(directory.path().join("outside"))
                .unwrap()
                .count(),
            0
        );
    }

    #[test]
    fn files_are_made_through_dangling_links() {
        let directory = tempfile::tempdir().unwrap();
        let root = root(&directory);
        symlink("/run", directory.path().join("root/var_run")).unwrap();
        make_file(root.as_fd(), "/var_run/x/file", 0o644).unwrap();
        assert!(directory.path().join("root/run/x/file").is_file());
        let error = make_file(root.as_fd(), "/run/x", 0o644).unwrap_err();
        assert_eq!(error.errno(), Errno::ISDIR);
        let error = make_directories(root.as_fd(), "/run/x/file/below", 0o755).unwrap_err();
        assert_eq!(error.errno(), Errno::NOTDIR);
    }

    #[test]
    fn links_may_be_refused() {
        let directory = tempfile::tempdir().unwrap();
        let root = root(&directory);
        symlink("/", directory.path().join("root/proc")).unwrap();
        let error = open_in_root(root.as_fd(), "/proc", OFlags::PATH, Links::Refuse).unwrap_err();
        assert_eq!(error.errno(), Errno::LOOP);
    }

    #[test]
    fn a_loop_of_links_ends() {
        let directory = tempfile::tempdir().unwrap();
        let root = root(&directory);
        symlink("b", directory.path().join("root/a")).unwrap();
        symlink("a", directory.path().join("root/b")).unwrap();
        let error = make_directories(root.as_fd(), "/a/x", 0o755).unwrap_err();
        assert_eq!(error.errno(), Errno::LOOP);
    }
}
