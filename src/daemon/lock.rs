//! One daemon a root: a lock that the kernel gives back when the daemon dies, however it does.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::error::DaemonError;

/// Holds the root until it is dropped.
#[derive(Debug)]
pub(super) struct RootLock {
    _file: File,
}

/// How long a process that a killed daemon was about to start may hold its lock: until it executes its program, which
/// closes what it has inherited.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Takes the lock of a root, from a daemon that was just killed too.
///
/// # Errors
/// `Locked` if another daemon has it.
pub(super) async fn take(root: &Path) -> Result<RootLock, DaemonError> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match try_take(root) {
            Err(DaemonError::Locked { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

fn try_take(root: &Path) -> Result<RootLock, DaemonError> {
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

    #[tokio::test]
    async fn a_root_is_locked_once_and_free_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = take(folder.path()).await.unwrap();
        assert!(matches!(
            take(folder.path()).await,
            Err(DaemonError::Locked { .. })
        ));
        drop(first);
        take(folder.path()).await.unwrap();
    }

    #[tokio::test]
    async fn a_lock_that_is_about_to_be_given_back_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let first = take(folder.path()).await.unwrap();
        let give_back = async {
            tokio::time::sleep(PAUSE * 3).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(take(folder.path()), give_back);
        second.unwrap();
    }
}
