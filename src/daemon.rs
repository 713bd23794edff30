//! The composition root: constructs, wires, recovers, starts and stops the parts.

use std::future::Future;

use rustix::process::Rlimit;

use crate::config::Config;

/// Why the daemon did not start, or did not stop in order.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The parts are not wired yet.
    #[error("the parts of the daemon are not wired yet")]
    NotWired,
}

/// What the process that became the daemon was started with.
#[derive(Debug, Clone)]
pub struct Inherited {
    /// The limit of open files before the daemon raised its own: shims get this one back.
    pub open_files: Rlimit,
}

/// Runs the daemon until `shutdown` ends. Containers keep running after it.
///
/// `ready` is called once, when the socket takes requests.
///
/// # Errors
///
/// When a part cannot be started.
pub async fn run(
    config: Config,
    inherited: Inherited,
    ready: impl FnOnce(),
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    drop((config, inherited, ready, shutdown));
    Err(DaemonError::NotWired)
}
