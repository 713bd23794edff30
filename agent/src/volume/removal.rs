//! Removal of a pod's folder. Everything in it was unmounted before; should something be mounted all the same, it may be a folder
//! of the host, so nothing of it is removed: the kernel refuses to enter it (openat2(2), `RESOLVE_NO_XDEV`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, unlinkat,
};
use rustix::io::Errno;

/// How deep folders may be nested: each takes a descriptor while it is emptied. What is deeper is moved up first.
const DEPTH_MAX: usize = 256;

/// Removes a folder and everything below it, and follows nothing out of it. One that is not there is fine.
///
/// # Errors
/// What the kernel refuses; `CrossesDevices` at something that is still mounted.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let opened = match openat(CWD, folder, flags(), Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let mut removal = Removal {
        root: opened.as_fd(),
        moved: 0,
    };
    removal.empty(opened.as_fd(), 0)?;
    Ok(unlinkat(CWD, folder, AtFlags::REMOVEDIR)?)
}

struct Removal<'a> {
    root: BorrowedFd<'a>,
    /// How many folders were moved up.
    moved: u64,
}

impl Removal<'_> {
    fn empty(&mut self, folder: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
        loop {
            let mut is_empty = true;
            for entry in Dir::read_from(folder)? {
                let entry = entry?;
                let name = entry.file_name();
                if name.to_bytes() == b"." || name.to_bytes() == b".." {
                    continue;
                }
                is_empty = false;
                match unlinkat(folder, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => continue,
                    Err(Errno::ISDIR) => {}
                    // Some file systems say this of folders.
                    Err(Errno::PERM) if entry.file_type() == FileType::Directory => {}
                    Err(errno) => return Err(errno.into()),
                }
                if depth >= DEPTH_MAX {
                    self.move_up(folder, name)?;
                    continue;
                }
                let resolve = ResolveFlags::NO_XDEV | ResolveFlags::BENEATH;
                let inner = openat2(folder, name, flags(), Mode::empty(), resolve)?;
                self.empty(inner.as_fd(), depth + 1)?;
                unlinkat(folder, name, AtFlags::REMOVEDIR)?;
            }
            // What was moved up, and what a file system passed over as its folder changed, comes in another round.
            if is_empty {
                return Ok(());
            }
        }
    }

    fn move_up(&mut self, folder: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<()> {
        self.moved += 1;
        let new = format!("..removed-{}", self.moved);
        Ok(rustix::fs::renameat(folder, name, self.root, new)?)
    }
}

fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_folder_goes_with_all_below_it_and_no_link_is_followed() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::File::create(outside.path().join("precious")).unwrap();
        let root = folder.path().join("pod");
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        for name in ["one", "a/two", "a/b/three"] {
            fs::File::create(root.join(name)).unwrap();
        }
        symlink(outside.path(), root.join("a/link")).unwrap();
        remove(&root).unwrap();
        remove(&root).unwrap();
        assert!(!root.exists());
        assert!(outside.path().join("precious").exists());
    }

    #[test]
    fn no_depth_is_too_deep() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("pod");
        fs::create_dir(&root).unwrap();
        let mut inner = openat(CWD, &root, flags(), Mode::empty()).unwrap();
        for _ in 0..3 * DEPTH_MAX {
            rustix::fs::mkdirat(&inner, "d", Mode::from_raw_mode(0o700)).unwrap();
            inner = openat(&inner, "d", flags(), Mode::empty()).unwrap();
        }
        drop(inner);
        remove(&root).unwrap();
        assert!(!root.exists());
    }
}
