//! Files of a volume for the group of a pod's fsGroup (`pkg/volume`, `SetVolumeOwnership`): the group owns everything, may read
//! and enter it, may write it unless the volume is read-only, and owns what is made later.
//!
//! A container may have put links into the folder: nothing here follows one.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, RawMode, Stat, chmod, chownat, fstat, openat,
};
use rustix::io::Errno;

use super::Reason;

/// How deep folders may be nested; each takes a descriptor while it is walked.
const DEPTH_MAX: usize = 256;
const SETGID: RawMode = 0o2000;
/// Of every folder: it can be entered.
const ENTER: RawMode = 0o110;

/// What the group may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// When the whole folder is walked (`fsGroupChangePolicy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// Each time.
    Always,
    /// If the folder itself is not the group's already.
    OnRootMismatch,
}

impl Access {
    fn bits(self) -> RawMode {
        match self {
            Self::ReadOnly => 0o440,
            Self::ReadWrite => 0o660,
        }
    }

    fn of_folder(self) -> RawMode {
        self.bits() | ENTER | SETGID
    }
}

/// Gives a folder and everything below it to a group.
///
/// # Errors
/// What the file system refuses, and folders that are nested without end.
pub(super) fn give(root: &Path, group: u32, access: Access, policy: Policy) -> Result<(), Reason> {
    let walk = Walk {
        root,
        group: Gid::from_raw(group),
        access,
    };
    let folder = openat(CWD, root, folder_flags(), Mode::empty())
        .map_err(|errno| walk.error("open", errno))?;
    let stat = fstat(&folder).map_err(|errno| walk.error("stat", errno))?;
    if policy == Policy::OnRootMismatch && walk.has_all(&stat) {
        return Ok(());
    }
    // The folder itself is last: while it does not match, a walk that died is done again.
    walk.below(folder.as_fd(), 0)?;
    walk.change(folder.as_fd(), &stat)
}

struct Walk<'a> {
    root: &'a Path,
    group: Gid,
    access: Access,
}

impl Walk<'_> {
    fn has_all(&self, stat: &Stat) -> bool {
        let wanted = self.access.of_folder();
        stat.st_gid == self.group.as_raw() && stat.st_mode & wanted == wanted
    }

    fn below(&self, folder: BorrowedFd<'_>, depth: usize) -> Result<(), Reason> {
        if depth > DEPTH_MAX {
            return Err(Reason::TooDeep(self.root.to_owned()));
        }
        let entries = Dir::read_from(folder).map_err(|errno| self.error("read", errno))?;
        for entry in entries {
            let entry = entry.map_err(|errno| self.error("read", errno))?;
            let name = entry.file_name();
            if name.to_bytes() == b"." || name.to_bytes() == b".." {
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Some(node) = self.if_there(openat(folder, name, flags, Mode::empty()))? else {
                continue;
            };
            let stat = fstat(&node).map_err(|errno| self.error("stat", errno))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let opened = openat(folder, name, folder_flags(), Mode::empty());
                if let Some(inner) = self.if_there(opened)? {
                    self.below(inner.as_fd(), depth + 1)?;
                }
            }
            self.change(node.as_fd(), &stat)?;
        }
        Ok(())
    }

    /// A running container may remove what was just listed, or put something else in its place.
    fn if_there(&self, opened: Result<OwnedFd, Errno>) -> Result<Option<OwnedFd>, Reason> {
        match opened {
            Ok(descriptor) => Ok(Some(descriptor)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(self.error("open", errno)),
        }
    }

    fn change(&self, node: BorrowedFd<'_>, stat: &Stat) -> Result<(), Reason> {
        chownat(node, "", None, Some(self.group), AtFlags::EMPTY_PATH)
            .map_err(|errno| self.error("chown in", errno))?;
        let bits = match FileType::from_raw_mode(stat.st_mode) {
            // A link has no permissions of its own.
            FileType::Symlink => return Ok(()),
            FileType::Directory => self.access.of_folder(),
            _ => self.access.bits(),
        };
        let mode = Mode::from_raw_mode((stat.st_mode | bits) & 0o7777);
        // A descriptor of a path cannot be given to fchmod; its name in /proc leads to this very file.
        chmod(format!("/proc/self/fd/{}", node.as_raw_fd()), mode)
            .map_err(|errno| self.error("chmod in", errno))
    }

    fn error(&self, step: &'static str, errno: Errno) -> Reason {
        Reason::at(step, PathBuf::from(self.root))(errno.into())
    }
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}
