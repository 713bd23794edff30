//! Joining: whoever asks for what is under way waits for that instead of beginning again.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::ImageError;
use super::error::Failure;

/// What came out, once it has.
pub(super) type Outcome<V> = Option<Result<V, ImageError>>;

/// Whose work one waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// One's own.
    Began,
    /// Somebody else's, with what that one brought along, such as credentials.
    Joined,
}

/// Something that is under way: what will come out, and how far it is.
#[derive(Debug)]
pub(super) struct Flight<V, S> {
    pub(super) outcome: watch::Receiver<Outcome<V>>,
    pub(super) stage: Arc<S>,
}

impl<V, S> Clone for Flight<V, S> {
    fn clone(&self) -> Self {
        Self {
            outcome: self.outcome.clone(),
            stage: Arc::clone(&self.stage),
        }
    }
}

/// What is under way, by key; `S` is what everyone who waits for it may look at.
#[derive(Debug)]
pub(super) struct Flights<K, V, S> {
    running: Arc<Mutex<HashMap<K, Flight<V, S>>>>,
}

impl<K, V, S> Default for Flights<K, V, S> {
    fn default() -> Self {
        Self {
            running: Arc::new(Mutex::new(HashMap::new())),
        }
    }
}

impl<K, V, S> Flights<K, V, S>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
    S: Default + Send + Sync + 'static,
{
    /// Joins what runs under `key`, or begins `work` as a task of its own, which goes on if every caller gives up.
    pub(super) fn enter<F>(&self, key: K, work: impl FnOnce(Arc<S>) -> F) -> (Flight<V, S>, Role)
    where
        F: Future<Output = Result<V, ImageError>> + Send + 'static,
    {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = running.get(&key) {
            return (flight.clone(), Role::Joined);
        }
        let (sender, outcome) = watch::channel(None);
        let flight = Flight {
            outcome,
            stage: Arc::new(S::default()),
        };
        running.insert(key.clone(), flight.clone());
        let table = Arc::clone(&self.running);
        let work = work(Arc::clone(&flight.stage));
        // The task ends with its work, which has deadlines of its own.
        tokio::spawn(async move {
            let outcome = work.await;
            // Out of the table first: whoever comes after the end begins anew.
            let mut running = table.lock().unwrap_or_else(PoisonError::into_inner);
            running.remove(&key);
            drop(running);
            sender.send_replace(Some(outcome));
        });
        (flight, Role::Began)
    }
}

/// Waits for what is under way.
pub(super) async fn wait<V: Clone>(
    mut outcome: watch::Receiver<Outcome<V>>,
) -> Result<V, ImageError> {
    let finished = outcome
        .wait_for(Option::is_some)
        .await
        .map_err(|_task_gone| Failure::Abandoned)?;
    match &*finished {
        Some(outcome) => outcome.clone(),
        None => Err(Failure::Abandoned.into()),
    }
}
