//! Fits `shim_client` to what the domain asks for.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rustix::fs::{Mode, OFlags};

use crate::pod::{PodError, PodErrorKind, Shims, Subject};
use crate::shim_client::{Connected, ShimClient, ShimErrorKind, ShimProcess, ShimProgram};

/// A shim says Hello in a millisecond.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);

/// A shim that was there answers at once, unless it is stopped or hangs.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

/// The shims of this node.
#[derive(Debug)]
pub(super) struct NodeShims {
    program: ShimProgram,
}

impl NodeShims {
    /// All of them are started from this program.
    pub(super) fn new(program: ShimProgram) -> Self {
        Self { program }
    }
}

#[async_trait]
impl Shims for NodeShims {
    async fn spawn(&self, sandbox_id: &str, cgroup: &Path) -> Result<Connected, PodError> {
        let subject = || Subject::Sandbox(sandbox_id.to_owned());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(cgroup, flags, Mode::empty()).map_err(|errno| {
            PodError::new(
                PodErrorKind::Internal,
                subject(),
                format!("open its shim's cgroup {}", cgroup.display()),
            )
            .caused_by(errno)
        })?;
        let started = self.program.start_in(sandbox_id, Some(opened)).await;
        let started = started.map_err(|error| {
            PodError::new(PodErrorKind::Internal, subject(), "start its shim").caused_by(error)
        })?;
        reap_later(started.process);
        ShimClient::open(started.socket, 0, HELLO_PATIENCE)
            .await
            .map_err(|error| {
                PodError::new(PodErrorKind::Internal, subject(), "greet its shim").caused_by(error)
            })
    }

    async fn connect(
        &self,
        sandbox_id: &str,
        directory: &Path,
    ) -> Result<Option<Connected>, PodError> {
        match ShimClient::connect(directory, 0, CONNECT_PATIENCE).await {
            Ok((connected, process)) => {
                reap_later(process);
                Ok(Some(connected))
            }
            Err(error) if error.kind() == ShimErrorKind::Disconnected => Ok(None),
            Err(error) => Err(PodError::new(
                PodErrorKind::Unavailable,
                Subject::Sandbox(sandbox_id.to_owned()),
                "find its shim again",
            )
            .caused_by(error)),
        }
    }
}

/// Nobody waits for a shim's exit code: its connection tells that it has ended. But it must not stay a zombie.
fn reap_later(process: ShimProcess) {
    tokio::spawn(async move {
        match process.exited().await {
            Ok(exit) => tracing::debug!(pid = process.pid(), ?exit, "a shim has ended"),
            Err(error) => tracing::warn!(pid = process.pid(), %error, "wait for a shim"),
        }
    });
}
