//! What all procedures share: what they are given, and what they give back to the driver.
//!
//! A procedure acts; it never changes the pod's state. It gives its driver a `Change`, or a `Failure` that says whether
//! all that it had begun is undone.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use std::collections::BTreeMap;

use carpel_shim_protocol::message;
use tokio::sync::mpsc;

use super::container_state::ResolvedUser;
use super::error::{PodError, PodErrorKind, Subject};
use super::parts::Parts;
use super::sandbox_state::ImageNames;
use super::slot::PodSlot;
use super::view::Timestamp;
use crate::oci::{LinuxResources, PodResources};
use crate::persist::{self, PersistError};
use crate::shim_client::{Connected, ShimClient, ShimError, ShimErrorKind};

/// What a shim tells without being asked.
pub(super) type ShimEvents = mpsc::Receiver<message::Event>;

/// After this the daemon does not rely on a shim any more (DESIGN.md, "Stopping never depends on the shim").
pub(super) const SHIM_PATIENCE: Duration = Duration::from_secs(1);

/// What a procedure works with.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// The rest of the program.
    pub parts: Parts,
    /// The pod.
    pub slot: Arc<PodSlot>,
}

impl Context {
    /// The pod's id.
    pub(super) fn id(&self) -> &str {
        &self.slot.id
    }

    /// The pod, as the subject of an error.
    pub(super) fn subject(&self) -> Subject {
        Subject::Sandbox(self.slot.id.clone())
    }

    /// The parent of the pod's cgroups, as asked for.
    pub(super) fn cgroup_parent(&self) -> String {
        self.slot.pod().config.cgroup_parent.clone()
    }
}

/// What a procedure has done.
#[derive(Debug)]
pub(super) enum Change {
    /// RunPodSandbox.
    SandboxReady(ReadySandbox),
    /// StopPodSandbox; what is left then is not the pod's.
    SandboxStopped(Left),
    /// RemovePodSandbox.
    SandboxGone,
    /// CreateContainer.
    ContainerCreated(CreatedContainer),
    /// StartContainer.
    ContainerStarted {
        /// When.
        started_at: Timestamp,
    },
    /// StopContainer: no process of it is left.
    ContainerStopped,
    /// RemoveContainer.
    ContainerGone,
    /// UpdateContainerResources: the limits in force.
    ContainerUpdated(LinuxResources),
    /// UpdatePodSandboxResources: what is in force.
    SandboxUpdated(PodResources),
    /// The shim lives, and says this.
    Reconnected(Connected),
    /// The shim is dead, and so are all processes; the exits that it had recorded.
    ShimLost(BTreeMap<String, message::ContainerExited>),
}

/// A sandbox that has been made.
#[derive(Debug)]
pub(super) struct ReadySandbox {
    /// Addresses, the main one first.
    pub addresses: Vec<IpAddr>,
    /// Path of the network namespace.
    pub network_namespace: PathBuf,
    /// Pid of the infra process.
    pub infra_pid: i32,
    /// What the shim tells.
    pub events: ShimEvents,
}

/// A container that has been made.
#[derive(Debug)]
pub(super) struct CreatedContainer {
    /// Pid of the first process.
    pub pid: i32,
    /// Whom it will run as.
    pub user: ResolvedUser,
    /// What its image is called.
    pub image: ImageNames,
    /// Absolute path of its log.
    pub log_path: PathBuf,
    /// A Linux signal number.
    pub stop_signal: i32,
}

/// What a failed procedure has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// All is undone.
    Nothing,
    /// An undo failed too.
    Leftovers,
}

/// A procedure that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// Why.
    pub error: PodError,
    /// What is left.
    pub left: Left,
}

impl Failure {
    /// A failure before anything was begun, or after all was undone.
    pub(super) fn clean(error: PodError) -> Self {
        Self {
            error,
            left: Left::Nothing,
        }
    }

    /// A failure that leaves something behind, to be tried again.
    pub(super) fn leftovers(error: PodError) -> Self {
        Self {
            error,
            left: Left::Leftovers,
        }
    }
}

/// What a procedure gives its driver.
pub(super) type Outcome = Result<Change, Failure>;

/// An error of a record, as the domain tells it.
pub(super) fn persist_error(subject: Subject, step: &str, error: PersistError) -> PodError {
    let kind = match error.kind() {
        persist::ErrorKind::DiskFull => PodErrorKind::ResourceExhausted,
        persist::ErrorKind::Torn | persist::ErrorKind::Io => PodErrorKind::Internal,
    };
    PodError::new(kind, subject, step).caused_by(error)
}

/// An error of the file system, as the domain tells it.
pub(super) fn io_error(
    subject: Subject,
    step: impl Into<String>,
    error: std::io::Error,
) -> PodError {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            PodErrorKind::ResourceExhausted
        }
        _ => PodErrorKind::Internal,
    };
    PodError::new(kind, subject, step).caused_by(error)
}

/// An error of the shim, as the domain tells it.
pub(super) fn shim_error(subject: Subject, step: &str, error: ShimError) -> PodError {
    let full = [
        libc::ENOSPC,
        libc::EDQUOT,
        libc::EMFILE,
        libc::ENFILE,
        libc::EAGAIN,
    ];
    let kind = match error.kind() {
        ShimErrorKind::System if error.errno().is_some_and(|errno| full.contains(&errno)) => {
            PodErrorKind::ResourceExhausted
        }
        ShimErrorKind::NotFound => PodErrorKind::NotFound,
        ShimErrorKind::WrongState => PodErrorKind::FailedPrecondition,
        ShimErrorKind::Invalid | ShimErrorKind::Execute => PodErrorKind::InvalidArgument,
        ShimErrorKind::ImageVolume => PodErrorKind::ImageVolume,
        ShimErrorKind::Timeout => PodErrorKind::DeadlineExceeded,
        ShimErrorKind::Disconnected => PodErrorKind::Unavailable,
        ShimErrorKind::System | ShimErrorKind::Protocol => PodErrorKind::Internal,
    };
    PodError::new(kind, subject, step).caused_by(error)
}

/// The pod's shim, if it is there.
pub(super) fn shim_of(context: &Context) -> Option<ShimClient> {
    context.slot.shim().ok()
}

/// Waits until the container has exited or is gone, at the most this long. Did it?
pub(super) async fn wait_for_exit(
    context: &Context,
    container_id: &str,
    patience: Duration,
) -> bool {
    let mut pods = context.slot.watch();
    let exited = pods.wait_for(|pod| {
        pod.containers
            .get(container_id)
            .is_none_or(|container| container.phase.is_exited())
    });
    matches!(tokio::time::timeout(patience, exited).await, Ok(Ok(_)))
}

/// Runs what may wait for a disk on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    subject: Subject,
    step: &str,
    work: impl FnOnce() -> Result<T, PodError> + Send + 'static,
) -> Result<T, PodError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(PodError::new(PodErrorKind::Internal, subject, step).caused_by(error)),
    }
}
