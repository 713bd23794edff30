//! Telling whoever asked for a verification how it goes, and noticing that nobody listens any more.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::finding::{Finding, Progress, VerifyEvent};

/// The shortest time between two tellings of progress.
const INTERVAL: Duration = Duration::from_millis(100);

/// Where findings and progress go.
#[derive(Debug)]
pub(super) struct Report {
    events: mpsc::Sender<VerifyEvent>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    progress: Progress,
    told: Instant,
}

impl Report {
    pub(super) fn new(events: mpsc::Sender<VerifyEvent>, total_bytes: u64) -> Self {
        let progress = Progress {
            checked_bytes: 0,
            total_bytes,
            current: String::new(),
        };
        Self {
            events,
            state: Mutex::new(State {
                progress,
                told: Instant::now(),
            }),
        }
    }

    /// Names what is being checked.
    pub(super) fn begin(&self, current: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone_into(&mut state.progress.current);
    }

    /// Counts bytes; an error if nobody listens any more.
    pub(super) fn advance(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.progress.checked_bytes += bytes;
        if state.told.elapsed() < INTERVAL {
            return Ok(());
        }
        state.told = Instant::now();
        let event = VerifyEvent::Progress(state.progress.clone());
        match self.events.try_send(event) {
            Err(TrySendError::Closed(_)) => Err(io::ErrorKind::ConnectionAborted.into()),
            // Full: a later one says more.
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
        }
    }

    /// Whether somebody listens.
    pub(super) fn is_heard(&self) -> bool {
        !self.events.is_closed()
    }

    /// Tells what was found.
    pub(super) async fn find(&self, finding: Finding) {
        if self
            .events
            .send(VerifyEvent::Finding(finding))
            .await
            .is_err()
        {
            tracing::debug!("nobody listens to this verification any more");
        }
    }
}
