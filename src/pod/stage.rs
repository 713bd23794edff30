//! The steps that run for a pod now: each is a span of its procedure's trace, and is told when it is stuck.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::{Instrument, Span};

/// The steps of a pod that run.
#[derive(Debug, Default)]
pub(super) struct Stages {
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    stages: BTreeMap<u64, (&'static str, Instant)>,
}

impl Stages {
    /// Does some work as a step with this name, below the current span.
    pub(super) async fn run<T>(&self, name: &'static str, work: impl Future<Output = T>) -> T {
        self.run_below(&Span::current(), name, work).await
    }

    /// The same below another span.
    pub(super) async fn run_below<T>(
        &self,
        parent: &Span,
        name: &'static str,
        work: impl Future<Output = T>,
    ) -> T {
        let span =
            tracing::trace_span!(target: "carpel::trace", parent: parent, "step", otel.name = name);
        let _stage = self.enter(name);
        work.instrument(span).await
    }

    /// Names and beginnings.
    pub(super) fn running(&self) -> Vec<(&'static str, Instant)> {
        self.locked().stages.values().copied().collect()
    }

    fn enter(&self, name: &'static str) -> Stage<'_> {
        let mut running = self.locked();
        let number = running.next;
        running.next += 1;
        running.stages.insert(number, (name, Instant::now()));
        Stage {
            stages: self,
            number,
        }
    }

    fn locked(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A step that runs; also one that is given up ends.
struct Stage<'stages> {
    stages: &'stages Stages,
    number: u64,
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.stages.locked().stages.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_is_there_while_it_runs_and_gone_when_it_is_given_up() {
        let stages = Stages::default();
        let seen = stages.run("one", async { stages.running() }).await;
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].0, "one");
        assert!(stages.running().is_empty());
        let never = stages.run("two", std::future::pending::<()>());
        let given_up = tokio::time::timeout(std::time::Duration::ZERO, never).await;
        assert!(given_up.is_err());
        assert!(stages.running().is_empty());
    }
}
