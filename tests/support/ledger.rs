//! What the fakes hold, and which of their steps fails.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use carpel::pod::{PodError, PodErrorKind, Subject};

/// Shared by all fakes of a node. It outlives a daemon, as the kernel does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    held: BTreeSet<String>,
    /// How many more steps succeed; `None`: all.
    steps_left: Option<usize>,
    /// Releases fail too.
    stuck: bool,
    steps: Vec<String>,
}

impl Ledger {
    /// A step that takes something: fails if its turn has come.
    pub(crate) fn take(&self, what: impl Into<String>) -> Result<(), PodError> {
        let what = what.into();
        let mut inner = self.inner.lock().unwrap();
        if let Some(left) = inner.steps_left.as_mut() {
            if *left == 0 {
                // The failed step may have been half done: it leaves something behind for its release.
                inner.steps_left = None;
                inner.held.insert(what.clone());
                return Err(failure(&what));
            }
            *left -= 1;
        }
        inner.steps.push(what.clone());
        inner.held.insert(what);
        Ok(())
    }

    /// A release: finds nothing if nothing is held.
    pub(crate) fn release(&self, what: impl Into<String>) -> Result<(), PodError> {
        let what = what.into();
        let mut inner = self.inner.lock().unwrap();
        if inner.stuck {
            return Err(failure(&what));
        }
        inner.held.remove(&what);
        Ok(())
    }

    /// Forgets all that begins so.
    pub(crate) fn drop_prefix(&self, prefix: &str) {
        let mut inner = self.inner.lock().unwrap();
        inner.held.retain(|what| !what.starts_with(prefix));
    }

    /// Let the step after `steps` more fail.
    pub(crate) fn fail_after(&self, steps: usize) {
        self.inner.lock().unwrap().steps_left = Some(steps);
    }

    /// Did the step that was to fail come? Then no failure waits any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.inner.lock().unwrap().steps_left.take().is_none()
    }

    /// Lets every release fail, or work again.
    pub(crate) fn set_stuck(&self, stuck: bool) {
        self.inner.lock().unwrap().stuck = stuck;
    }

    /// What is held.
    pub(crate) fn held(&self) -> Vec<String> {
        self.inner.lock().unwrap().held.iter().cloned().collect()
    }

    /// The steps that succeeded, in order.
    pub(crate) fn steps(&self) -> Vec<String> {
        self.inner.lock().unwrap().steps.clone()
    }
}

fn failure(what: &str) -> PodError {
    PodError::new(
        PodErrorKind::Internal,
        Subject::Runtime,
        format!("{what} was made to fail"),
    )
}
