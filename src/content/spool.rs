//! Reading a blob behind its writer.
//!
//! The unpacker reads what the download has written so far, from the page cache, and waits for more: neither needs
//! buffers in memory, and several readers may follow one download. The end is reported only after the digest was
//! compared; a download that stopped, or brought other bytes, is an error for every reader.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A blob that is being written, for readers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: File,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug)]
struct Progress {
    written: u64,
    outcome: Option<Outcome>,
}

/// How the writing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All bytes are there and have the announced digest.
    Verified,
    /// The writer gave up.
    Abandoned,
}

impl Spool {
    pub(super) fn new(file: File) -> Self {
        let progress = Progress {
            written: 0,
            outcome: None,
        };
        Self {
            shared: Arc::new(Shared {
                file,
                progress: Mutex::new(progress),
                changed: Condvar::new(),
            }),
        }
    }

    /// A reader that begins with the first byte. Its calls block: use it on a thread that may.
    #[must_use]
    pub fn reader(&self) -> SpoolReader {
        SpoolReader {
            shared: Arc::clone(&self.shared),
            position: 0,
        }
    }

    /// How many bytes were written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.lock().written
    }

    pub(super) fn advance(&self, written: u64) {
        self.update(|progress| progress.written = written);
    }

    /// The first outcome counts.
    pub(super) fn finish(&self, outcome: Outcome) {
        self.update(|progress| {
            progress.outcome.get_or_insert(outcome);
        });
    }

    fn update(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = self.lock();
        change(&mut progress);
        drop(progress);
        self.shared.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        let progress = self.shared.progress.lock();
        progress.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a blob from its beginning, waiting for the writer where needed.
#[derive(Debug)]
pub struct SpoolReader {
    shared: Arc<Shared>,
    position: u64,
}

impl SpoolReader {
    /// How many bytes can be read now; 0 at the verified end.
    fn wait(&self) -> io::Result<u64> {
        let mut progress = self
            .shared
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            if progress.written > self.position {
                return Ok(progress.written - self.position);
            }
            match progress.outcome {
                Some(Outcome::Verified) => return Ok(0),
                Some(Outcome::Abandoned) => {
                    return Err(io::Error::new(
                        io::ErrorKind::ConnectionAborted,
                        "the blob stopped before its end",
                    ));
                }
                None => {
                    progress = self
                        .shared
                        .changed
                        .wait(progress)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let available = usize::try_from(self.wait()?).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(available);
        let count = self
            .shared
            .file
            .read_at(&mut buffer[..wanted], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
