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

/// What is under way, by key.
#[derive(Debug)]
pub(super) struct Flights<K, V> {
    running: Arc<Mutex<HashMap<K, watch::Receiver<Outcome<V>>>>>,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self {
            running: Arc::new(Mutex::new(HashMap::new())),
        }
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Joins what runs under `key`, or begins `work` as a task of its own, which goes on if every caller gives up.
    pub(super) async fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Result<V, ImageError>
    where
        F: Future<Output = Result<V, ImageError>> + Send + 'static,
    {
        wait(self.enter(key, work).0).await
    }

    /// The same without waiting: the receiver gets the outcome.
    pub(super) fn enter<F>(
        &self,
        key: K,
        work: impl FnOnce() -> F,
    ) -> (watch::Receiver<Outcome<V>>, Role)
    where
        F: Future<Output = Result<V, ImageError>> + Send + 'static,
    {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = running.get(&key) {
            return (outcome.clone(), Role::Joined);
        }
        let (sender, receiver) = watch::channel(None);
        running.insert(key.clone(), receiver.clone());
        let table = Arc::clone(&self.running);
        let work = work();
        // The task ends with its work, which has deadlines of its own.
        tokio::spawn(async move {
            let outcome = work.await;
            // Out of the table first: whoever comes after the end begins anew.
            let mut running = table.lock().unwrap_or_else(PoisonError::into_inner);
            running.remove(&key);
            drop(running);
            sender.send_replace(Some(outcome));
        });
        (receiver, Role::Began)
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
