//! Says when something in a folder of manifests may have changed, by inotify: the kernel tells at once, and nothing is looked at while
//! nothing happens.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A look without any news: some file systems tell nothing, and a link's file may be elsewhere. As often as the kubelet looks.
const LOOK: Duration = Duration::from_secs(20);

/// Files are often written one after the other, and each in steps: what comes so soon after the first news is looked at with it.
const SETTLE: Duration = Duration::from_millis(100);

/// A folder that is watched. One that is not there yet is waited for in the nearest folder above it.
#[derive(Debug)]
pub struct FolderWatch {
    /// None where the host has no more watches to give.
    inotify: Option<AsyncFd<OwnedFd>>,
}

impl FolderWatch {
    /// Watches from now on. Needs a tokio runtime.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let inotify = watch(folder).and_then(register);
        let inotify = inotify.inspect_err(|error| {
            tracing::warn!(%error, folder = %folder.display(), "watch the folder of manifests");
        });
        Self {
            inotify: inotify.ok(),
        }
    }

    /// Until something may have changed, or it is time for a look anyway.
    pub async fn wait(self) {
        let Some(inotify) = &self.inotify else {
            return tokio::time::sleep(LOOK).await;
        };
        tokio::select! {
            news = inotify.readable() => match news {
                Ok(_) => tokio::time::sleep(SETTLE).await,
                Err(_) => tokio::time::sleep(LOOK).await,
            },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

#[expect(
    deprecated,
    reason = "the successor is unsafe, for types that may give out another descriptor later: OwnedFd never does"
)]
fn register(inotify: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(inotify, Interest::READABLE)
}

fn watch(folder: &Path) -> io::Result<OwnedFd> {
    let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    // A file that is still being written is not read: its end is news.
    let news = WatchFlags::CLOSE_WRITE
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF;
    let mut place = Some(folder);
    while let Some(watched) = place {
        match inotify::add_watch(&inotify, watched, news) {
            Ok(_) => return Ok(inotify),
            Err(rustix::io::Errno::NOENT) => place = watched.parent(),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    /// Whether news comes well before a look that needs none.
    async fn is_told(watch: FolderWatch) -> bool {
        tokio::time::timeout(LOOK / 4, watch.wait()).await.is_ok()
    }

    #[tokio::test]
    async fn what_happens_in_a_folder_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let watch = FolderWatch::of(folder.path());
        fs::File::create(&file).unwrap();
        assert!(is_told(watch).await, "a file that is made");
        let watch = FolderWatch::of(folder.path());
        fs::File::create(&file).unwrap().write_all(b"b").unwrap();
        assert!(is_told(watch).await, "a file that is written again");
        let watch = FolderWatch::of(folder.path());
        fs::rename(&file, folder.path().join("b.yaml")).unwrap();
        assert!(is_told(watch).await, "a file that gets another name");
        let watch = FolderWatch::of(folder.path());
        fs::remove_file(folder.path().join("b.yaml")).unwrap();
        assert!(is_told(watch).await, "a file that goes");
    }

    #[tokio::test]
    async fn a_folder_that_is_made_later_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("deep/manifests");
        let watch = FolderWatch::of(&below);
        fs::create_dir_all(&below).unwrap();
        assert!(is_told(watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_is_told_it_is_looked_at_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let begun = tokio::time::Instant::now();
        FolderWatch { inotify: None }.wait().await;
        assert_eq!(begun.elapsed(), LOOK);
        let begun = tokio::time::Instant::now();
        FolderWatch::of(folder.path()).wait().await;
        assert!(begun.elapsed() >= LOOK);
    }
}
