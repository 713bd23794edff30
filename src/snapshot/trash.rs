//! Removing large directories off the caller's path.
//!
//! A directory is renamed into the trash folder, which takes no time, and a thread that lives only as long as there
//! is something to do removes it. What a crash leaves there is removed after the next start.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// How deep the removal descends with a descriptor for each level. What lies deeper is moved up to the trash folder
/// first: a container can nest directories without end, and neither our stack nor our descriptors may run out.
const DEPTH_MAX: u32 = 64;

/// The trash folder; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Trash {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Whether the thread runs.
    sweeping: bool,
    /// Whether something was added since the thread last looked.
    added: bool,
}

impl Trash {
    /// Opens the folder, and begins to remove what is left in it.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut next = 0;
        for entry in fs::read_dir(&folder)? {
            let number = entry?.file_name().to_string_lossy().parse();
            next = next.max(number.map_or(0, |number: u64| number.saturating_add(1)));
        }
        let state = State {
            next,
            ..State::default()
        };
        let trash = Self {
            shared: Arc::new(Shared {
                folder,
                state: Mutex::new(state),
            }),
        };
        if next > 0 {
            trash.sweep();
        }
        Ok(trash)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Moves a file or directory away; one that is not there is fine.
    pub(super) fn discard(&self, path: &Path) -> io::Result<()> {
        match fs::rename(path, self.shared.reserve()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => {
                outcome?;
                self.sweep();
                Ok(())
            }
        }
    }

    fn sweep(&self) {
        let mut state = self.shared.lock();
        state.added = true;
        if state.sweeping {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let spawned = thread::Builder::new()
            .name("trash".to_owned())
            .spawn(move || shared.run());
        match spawned {
            Ok(_detached) => state.sweeping = true,
            // Tried again with the next thing, or at the next start.
            Err(error) => tracing::warn!(%error, "no thread to empty the trash"),
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self) -> PathBuf {
        let mut state = self.lock();
        let name = state.next.to_string();
        state.next += 1;
        self.folder.join(name)
    }

    fn run(&self) {
        loop {
            self.lock().added = false;
            if let Err(error) = self.empty() {
                tracing::warn!(folder = %self.folder.display(), %error, "the trash cannot be emptied");
            }
            let mut state = self.lock();
            if !state.added {
                state.sweeping = false;
                return;
            }
        }
    }

    /// Removes everything that is in the folder now; the first error is returned at the end.
    fn empty(&self) -> io::Result<()> {
        let folder = open_directory(rustix::fs::CWD, self.folder.as_os_str())?;
        let mut outcome = Ok(());
        for entry in fs::read_dir(&self.folder)? {
            let removed = self.remove(folder.as_fd(), &entry?.file_name(), DEPTH_MAX);
            outcome = outcome.and(removed);
        }
        Ok(outcome?)
    }

    /// Removes `name` in `parent` with all below it; at depth 0 a directory is moved up instead.
    fn remove(&self, parent: BorrowedFd<'_>, name: &OsStr, depth: u32) -> Result<(), Errno> {
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            outcome => return outcome,
        }
        let Some(depth) = depth.checked_sub(1) else {
            self.lock().added = true;
            return rustix::fs::renameat(parent, name, rustix::fs::CWD, self.reserve());
        };
        let directory = open_directory(parent, name)?;
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            match (name.as_bytes(), entry.file_type()) {
                (b"." | b"..", FileType::Directory) => {}
                _ => self.remove(directory.as_fd(), name, depth)?,
            }
        }
        rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
    }
}

fn open_directory(parent: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}
