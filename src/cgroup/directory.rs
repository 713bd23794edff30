//! One cgroup: a directory held open, its files, its processes, its end.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::error::CgroupError;
use super::hierarchy::Inner;

/// How long [`Cgroup::remove`] waits for processes that are being killed.
const REMOVE_PATIENCE: Duration = Duration::from_millis(500);

/// A cgroup that exists, or did when it was opened. Reading and writing go through the held directory, so that a cgroup
/// of the same name made later is never touched.
#[derive(Debug)]
pub struct Cgroup {
    pub(super) inner: Arc<Inner>,
    path: String,
    directory: OwnedFd,
}

impl Cgroup {
    /// Opens the cgroup at `path` below the mount point.
    pub(super) fn open(inner: Arc<Inner>, path: String) -> Result<Self, CgroupError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let directory = rustix::fs::openat(&inner.root, relative(&path), flags, Mode::empty())
            .map_err(|errno| CgroupError::system("open", inner.host_path(&path), errno))?;
        Ok(Self {
            inner,
            path,
            directory,
        })
    }

    /// Path below the mount point, as `/proc/<pid>/cgroup` shows it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host's path.
    pub fn host_path(&self) -> PathBuf {
        self.inner.host_path(&self.path)
    }

    /// The directory, as clone3's CLONE_INTO_CGROUP takes it. It is open with O_PATH.
    pub fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// The text of one of the cgroup's files.
    ///
    /// # Errors
    ///
    /// A failed system call.
    pub fn read(&self, file: &str) -> Result<String, CgroupError> {
        read_at(&self.directory, file, &self.host_path().join(file))
    }

    /// The same; `None` if there is no such file.
    pub(super) fn read_if_present(&self, file: &str) -> Result<Option<String>, CgroupError> {
        match self.read(file) {
            Err(CgroupError::System { source, .. })
                if source.raw_os_error() == Some(libc::ENOENT) =>
            {
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    /// Writes one of the cgroup's files.
    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        let failed = |errno: Errno| {
            CgroupError::system(
                format!("write {value:?} to"),
                self.host_path().join(file),
                errno,
            )
        };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let opened =
            rustix::fs::openat(&self.directory, file, flags, Mode::empty()).map_err(failed)?;
        rustix::io::retry_on_intr(|| rustix::io::write(&opened, value.as_bytes()))
            .map_err(failed)?;
        Ok(())
    }

    /// The processes of this cgroup, without those of cgroups below it.
    ///
    /// # Errors
    ///
    /// A failed system call.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        Ok(parse_pids(&self.read("cgroup.procs")?))
    }

    /// The processes of this cgroup and of all below it.
    ///
    /// # Errors
    ///
    /// A failed system call.
    pub fn all_pids(&self) -> Result<Vec<i32>, CgroupError> {
        let mut pids = match self.pids() {
            Ok(pids) => pids,
            // A threaded cgroup does not tell.
            Err(CgroupError::System { source, .. })
                if source.raw_os_error() == Some(libc::EOPNOTSUPP) =>
            {
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        if self.has_children() {
            for child in self.children()? {
                pids.extend(child.all_pids()?);
            }
        }
        Ok(pids)
    }

    /// Moves a process into this cgroup, with all its threads.
    ///
    /// # Errors
    ///
    /// A failed system call.
    pub fn attach(&self, pid: i32) -> Result<(), CgroupError> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Kills every process of this cgroup and below it, also those that are just being forked, by one write to
    /// cgroup.kill. They are gone when [`Cgroup::wait_until_empty`] says so.
    ///
    /// # Errors
    ///
    /// A failed system call.
    pub fn kill(&self) -> Result<(), CgroupError> {
        self.write("cgroup.kill", "1")
    }

    /// Stops every process of this cgroup and below it, and waits until all stand still.
    ///
    /// # Errors
    ///
    /// A failed system call, or the deadline: it is thawed again then.
    pub fn freeze(&self, patience: Duration) -> Result<(), CgroupError> {
        self.write("cgroup.freeze", "1")?;
        let frozen = self.wait_for("frozen", "1", "frozen", patience);
        if frozen.is_err() {
            self.write("cgroup.freeze", "0")?;
        }
        frozen
    }

    /// Lets the processes go on.
    ///
    /// # Errors
    ///
    /// A failed system call, or the deadline.
    pub fn thaw(&self, patience: Duration) -> Result<(), CgroupError> {
        self.write("cgroup.freeze", "0")?;
        self.wait_for("frozen", "0", "thawed", patience)
    }

    /// Removes this cgroup and all below it (a container can have made some). One that is gone already is fine. If
    /// processes are left, it is waited for half a second in all.
    ///
    /// # Errors
    ///
    /// `Busy` with the pids that are left, or a failed system call.
    pub fn remove(&self) -> Result<(), CgroupError> {
        self.remove_until(Instant::now() + REMOVE_PATIENCE)
    }

    fn remove_until(&self, deadline: Instant) -> Result<(), CgroupError> {
        loop {
            let removed =
                rustix::fs::unlinkat(&self.inner.root, relative(&self.path), AtFlags::REMOVEDIR);
            match removed {
                Ok(()) | Err(Errno::NOENT) => {
                    self.inner.forget(&self.path);
                    return Ok(());
                }
                Err(Errno::BUSY) if Instant::now() < deadline => {
                    let children = self.children()?;
                    for child in &children {
                        child.remove_until(deadline)?;
                    }
                    // With children gone, it may not be busy any more.
                    if children.is_empty() {
                        self.pause(deadline)?;
                    }
                }
                Err(Errno::BUSY) => {
                    return Err(CgroupError::Busy {
                        path: self.host_path(),
                        pids: self.all_pids().unwrap_or_default(),
                        source: Errno::BUSY.into(),
                    });
                }
                Err(errno) => return Err(CgroupError::system("remove", self.host_path(), errno)),
            }
        }
    }

    /// Are there cgroups below? cgroup2 counts them as links, which is far cheaper to ask than a list.
    fn has_children(&self) -> bool {
        rustix::fs::fstat(&self.directory).map_or(true, |status| status.st_nlink > 2)
    }

    /// The cgroups directly below this one.
    pub(super) fn children(&self) -> Result<Vec<Cgroup>, CgroupError> {
        let failed = |errno: Errno| CgroupError::system("list", self.host_path(), errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listed = match rustix::fs::openat(&self.directory, ".", flags, Mode::empty()) {
            // Removed in the meantime.
            Err(Errno::NOENT | Errno::NODEV) => return Ok(Vec::new()),
            opened => opened.map_err(failed)?,
        };
        let mut children = Vec::new();
        for entry in Dir::new(listed).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy();
            if !entry.file_type().is_dir() || name == "." || name == ".." {
                continue;
            }
            let path = format!("{}/{name}", self.path.trim_end_matches('/'));
            match Cgroup::open(Arc::clone(&self.inner), path) {
                Ok(child) => children.push(child),
                Err(error) if error.kind() == super::CgroupErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(children)
    }
}

/// A path below the mount point, as openat takes it.
pub(super) fn relative(path: &str) -> &str {
    match path.trim_start_matches('/') {
        "" => ".",
        relative => relative,
    }
}

/// The text of a file below a directory; `path` is for the error.
pub(super) fn read_at(
    directory: impl AsFd,
    file: &str,
    path: &Path,
) -> Result<String, CgroupError> {
    let failed = |errno: Errno| CgroupError::system("read", path, errno);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let opened =
        rustix::fs::openat(directory.as_fd(), file, flags, Mode::empty()).map_err(failed)?;
    let mut bytes = Vec::with_capacity(4096);
    loop {
        bytes.reserve(4096);
        let read = rustix::io::retry_on_intr(|| {
            rustix::io::read(&opened, rustix::buffer::spare_capacity(&mut bytes))
        });
        if read.map_err(failed)? == 0 {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}

pub(super) fn parse_pids(text: &str) -> Vec<i32> {
    text.lines().filter_map(|line| line.parse().ok()).collect()
}
