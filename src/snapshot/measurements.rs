//! What writable layers take, as last measured: a walk of a layer takes its time, and the kubelet asks for all of them
//! every few seconds.
//!
//! The first question is answered by a walk, and so is one after a long silence. In between the last figure is the answer;
//! when it is no longer fresh, a thread that lives only as long as there is something to measure walks the layer again.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::usage::{Usage, measure, measure_one};

/// How old a figure is when it is measured again: containerd's interval.
const FRESH: Duration = Duration::from_secs(10);

/// How old a figure may be to be an answer at all.
const USABLE: Duration = Duration::from_secs(60);

/// What a container has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measurement {
    /// Its writable layer: what it wrote itself.
    pub written: Usage,
    /// That, with overlayfs's own folder.
    pub whole: Usage,
    /// When.
    pub taken_at: SystemTime,
    instant: Instant,
}

/// The last measurement of each container; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Measurements {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The folder of writable layers.
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: HashMap<String, Measurement>,
    /// To be measured again, in this order.
    waiting: VecDeque<String>,
    /// Whether the thread runs.
    running: bool,
}

impl Measurements {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            shared: Arc::new(Shared {
                folder,
                state: Mutex::default(),
            }),
        }
    }

    /// The last measurement, if it can be used.
    pub(super) fn known(&self, container_id: &str) -> Option<Measurement> {
        let mut state = self.shared.lock();
        let taken = *state.taken.get(container_id)?;
        let age = taken.instant.elapsed();
        if age > USABLE {
            return None;
        }
        if age > FRESH && !state.waiting.iter().any(|waiting| waiting == container_id) {
            state.waiting.push_back(container_id.to_owned());
            self.run(&mut state);
        }
        Some(taken)
    }

    /// Measures now.
    pub(super) fn take(&self, container_id: &str) -> io::Result<Measurement> {
        self.shared.take(container_id)
    }

    /// Forgets a container whose layer is gone, or new.
    pub(super) fn forget(&self, container_id: &str) {
        self.shared.lock().taken.remove(container_id);
    }

    fn run(&self, state: &mut State) {
        if state.running {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let spawned = thread::Builder::new()
            .name("usage".to_owned())
            .spawn(move || shared.run());
        match spawned {
            Ok(_detached) => state.running = true,
            // Tried again with the next question.
            Err(error) => tracing::warn!(%error, "no thread to measure writable layers"),
        }
    }

    #[cfg(test)]
    pub(super) fn age(&self, container_id: &str, by: Duration) {
        if let Some(taken) = self.shared.lock().taken.get_mut(container_id) {
            taken.instant = taken.instant.checked_sub(by).unwrap();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, container_id: &str) -> io::Result<Measurement> {
        let taken_at = SystemTime::now();
        let instant = Instant::now();
        let directory = self.folder.join(container_id);
        let written = measure(&directory.join("upper"))?;
        let mut whole = measure_one(&directory)?;
        whole += written;
        whole += measure(&directory.join("work"))?;
        let measurement = Measurement {
            written,
            whole,
            taken_at,
            instant,
        };
        self.lock()
            .taken
            .insert(container_id.to_owned(), measurement);
        Ok(measurement)
    }

    fn run(&self) {
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.waiting.front().cloned();
                state.running = next.is_some();
                next
            };
            let Some(container_id) = next else { return };
            if let Err(error) = self.take(&container_id) {
                // Removed meanwhile, most likely: the next question finds out.
                tracing::debug!(container = container_id, %error, "measure its writable layer");
                self.lock().taken.remove(&container_id);
            }
            self.lock().waiting.pop_front();
        }
    }
}
