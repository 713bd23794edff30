//! One daemon a root: a lock that the kernel gives back when the daemon dies, however it does.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::error::DaemonError;

/// Holds the root until it is dropped.
#[derive(Debug)]
pub(super) struct RootLock {
    _file: File,
}

/// Takes the lock of a root.
///
/// # Errors
/// `Locked` if another daemon has it.
pub(super) fn take(root: &Path) -> Result<RootLock, DaemonError> {
    let path = root.join("daemon.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| DaemonError::Lock {
            path: path.clone(),
            source,
        })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(RootLock { _file: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DaemonError::Locked { path }),
        Err(errno) => Err(DaemonError::Lock {
            path,
            source: errno.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_locked_once_and_free_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = take(folder.path()).unwrap();
        assert!(matches!(
            take(folder.path()),
            Err(DaemonError::Locked { .. })
        ));
        drop(first);
        take(folder.path()).unwrap();
    }
}
