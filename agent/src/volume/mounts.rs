//! Mounts on the host: tmpfs for what must not reach a disk, binds for subPaths, and taking both away.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, move_mount, open_tree, unmount,
};

use super::Reason;

/// What `statfs` calls a tmpfs (Linux `TMPFS_MAGIC`).
const TMPFS_MAGIC: i128 = 0x0102_1994;

/// Mounts a tmpfs on a folder, if there is none yet. Whether there was none.
pub(super) fn mount_tmpfs(folder: &Path, size_bytes: Option<u64>) -> Result<bool, Reason> {
    if is_tmpfs(folder)? {
        return Ok(false);
    }
    let size = size_bytes.map_or_else(String::new, |bytes| format!(",size={bytes}"));
    let try_options = |options: String| {
        let options = CString::new(options).unwrap_or_default();
        mount(
            "tmpfs",
            folder,
            "tmpfs",
            MountFlags::empty(),
            options.as_c_str(),
        )
    };
    match try_options(format!("mode=0777,noswap{size}")) {
        // KERNEL(6.4): tmpfs has `noswap`. Before, a Secret may be swapped out, as with every other kubelet there.
        Err(Errno::INVAL) => try_options(format!("mode=0777{size}")),
        outcome => outcome,
    }
    .map_err(|errno| Reason::at("mount tmpfs on", folder)(errno.into()))?;
    Ok(true)
}

/// Whether a tmpfs is mounted on this very folder.
pub(super) fn is_tmpfs(folder: &Path) -> Result<bool, Reason> {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| {
        let metadata = fs::symlink_metadata(path).map_err(Reason::at("stat", path))?;
        Ok::<_, Reason>(metadata.dev())
    };
    let parent = folder.parent().unwrap_or(Path::new("/"));
    if device(folder)? == device(parent)? {
        return Ok(false);
    }
    let statistics =
        rustix::fs::statfs(folder).map_err(|errno| Reason::at("statfs", folder)(errno.into()))?;
    Ok(i128::from(statistics.f_type) == TMPFS_MAGIC)
}

/// Binds what a descriptor names on a path, and nothing that is mounted below it.
pub(super) fn bind(source: BorrowedFd<'_>, target: &Path) -> Result<(), Reason> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(source, "", flags)
        .map_err(|errno| Reason::at("clone the mount for", target)(errno.into()))?;
    move_mount(
        &tree,
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .map_err(|errno| Reason::at("bind on", target)(errno.into()))
}

/// Unmounts everything at and below a path, the last first. What could not be.
pub(super) fn unmount_below(root: &Path) -> io::Result<Vec<PathBuf>> {
    for path in mounted_below(root)?.iter().rev() {
        // Whoever still uses it keeps it; its name is gone at once.
        match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // It went with another one, or with the runtime's namespace.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(errno) => {
                tracing::warn!(path = %path.display(), error = %errno, "unmount of a volume");
            }
        }
    }
    mounted_below(root)
}

/// Unmounts what is mounted on this very path, if anything is.
pub(super) fn unmount_at(path: &Path) -> Result<(), Reason> {
    loop {
        match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(Reason::at("unmount", path)(errno.into())),
        }
    }
}

/// The mounts of this thread's namespace at and below a path, in the order in which they were made.
fn mounted_below(root: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read("/proc/thread-self/mountinfo")?;
    Ok(mount_points(&table)
        .filter(|path| path.starts_with(root))
        .collect())
}

/// The fifth field of each line of mountinfo (proc(5)).
fn mount_points(table: &[u8]) -> impl Iterator<Item = PathBuf> {
    table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(OsStr::from_bytes(&unescaped(field))))
}

/// Spaces, tabs, line breaks and backslashes are `\` and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let table = b"36 35 98:0 /mnt1 /mnt/a\\040b\\134c rw,noatime master:1 - ext3 /dev/root rw\n37 36 0:5 / /x rw - tmpfs t rw\n";
        let points: Vec<PathBuf> = mount_points(table).collect();
        assert_eq!(points, [PathBuf::from("/mnt/a b\\c"), PathBuf::from("/x")]);
    }

    #[test]
    fn nothing_is_mounted_on_an_ordinary_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_tmpfs(folder.path()).unwrap());
        assert!(mounted_below(folder.path()).unwrap().is_empty());
    }
}
