//! Idle connections: one on which nothing has come or gone for too long is closed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When something last happened on a connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Idle {
    limit: Duration,
    last: Arc<Mutex<Instant>>,
}

impl Idle {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            last: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// Something has happened.
    pub(super) fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Done when nothing has happened for too long.
    pub(super) async fn expired(&self) {
        loop {
            let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(end) = last.checked_add(self.limit) else {
                return std::future::pending().await;
            };
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}
