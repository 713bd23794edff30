//! What the shim remembers of a container and of an exec.
//!
//! ```text
//! Creating ──► Created ──► Starting ──► Running ──► Draining ──► Exited
//!    │            │            └─ (execve failed) ──────┴──────────┘
//!    └─ Undoing ◄─┘ removed before it was started
//!          └─► forgotten
//! ```

use crate::container::listener::Listener;
use crate::external::External;
use crate::external::ExternalExec;
use crate::failure::Failure;
use crate::oom::MemoryWatch;
use crate::time;
use carpel_shim_protocol::message::ContainerExited;
use carpel_shim_protocol::message::ContainerState;
use carpel_shim_protocol::message::CreateContainer;
use carpel_shim_protocol::message::Exec as ExecRequest;
use carpel_shim_protocol::message::ResolvedUser;
use carpel_shim_protocol::message::SeccompListener;
use carpel_shim_protocol::message::container_state::Stage as WireStage;
use rustix::process::Pid;
use std::os::fd::OwnedFd;

/// Where a container is in its life.
#[derive(Debug)]
pub(crate) enum Stage {
    /// The child is at its steps.
    Creating,
    /// The child waits for the release.
    Created,
    /// Released; the execve is not yet known to have succeeded.
    Starting,
    Running,
    /// Killed before it ran; its requests are answered with this when it is reaped, then it is forgotten.
    Undoing(Option<Failure>),
    /// Reaped; its log is read to the end, until so many monotonic nanoseconds.
    Draining {
        until: u64,
    },
    Exited {
        record: Record,
    },
}

/// Whether exit.json is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    Written,
    /// To be tried again at this monotonic time.
    Retry {
        at: u64,
    },
}

/// A container.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) serial: u32,
    pub(crate) id: String,
    /// Host directory of its cgroup leaf.
    pub(crate) cgroup: String,
    pub(crate) stage: Stage,
    /// It is in the pod's user namespace.
    pub(crate) in_user_namespace: bool,
    /// Its first process, until that is reaped.
    pub(crate) pid: Option<Pid>,
    pub(crate) pidfd: OwnedFd,
    pub(crate) control: Option<OwnedFd>,
    /// Where the listener of its filter is to go, by the request.
    pub(crate) listens: Option<SeccompListener>,
    /// The same, connected: from the start on, until it has been sent.
    pub(crate) listener: Option<Listener>,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) log_path: String,
    pub(crate) user: ResolvedUser,
    pub(crate) started_at: u64,
    pub(crate) killed_on_request: bool,
    pub(crate) memory: Option<MemoryWatch>,
    /// Held so that the mounts go after the exit is told; see `cleaner`.
    pub(crate) mount_namespace: Option<OwnedFd>,
    pub(crate) exit: ContainerExited,
    /// Requests that wait for the present stage to end.
    pub(crate) waiting: Vec<u64>,
    /// ReopenLog requests.
    pub(crate) reopening: Vec<u64>,
    /// Another runtime makes it.
    pub(crate) external: Option<Box<External>>,
}

impl Container {
    /// A container whose first process has just been cloned.
    pub(crate) fn new(
        create: &CreateContainer,
        (pid, pidfd): (Pid, OwnedFd),
        control: Option<OwnedFd>,
    ) -> Self {
        Self {
            serial: 0,
            id: create.container_id.clone(),
            cgroup: create.cgroup.clone(),
            stage: Stage::Creating,
            in_user_namespace: create.user_namespace,
            pid: Some(pid),
            pidfd,
            control,
            listens: create
                .process
                .as_ref()
                .and_then(|process| process.seccomp_listener.clone()),
            listener: None,
            stdin: None,
            terminal: None,
            log_path: create.log_path.clone(),
            user: ResolvedUser::default(),
            started_at: 0,
            killed_on_request: false,
            memory: None,
            mount_namespace: None,
            exit: ContainerExited::default(),
            waiting: Vec::new(),
            reopening: Vec::new(),
            external: None,
        }
    }

    /// The child is at its steps, or was killed there.
    pub(crate) fn is_creating(&self) -> bool {
        matches!(self.stage, Stage::Creating | Stage::Undoing(_))
    }

    /// The container as a snapshot shows it; none while it is not yet, or no longer, one.
    pub(crate) fn snapshot(&self) -> Option<ContainerState> {
        let (stage, exit) = match &self.stage {
            Stage::Creating | Stage::Undoing(_) => return None,
            Stage::Created => (WireStage::Created, None),
            Stage::Starting | Stage::Running | Stage::Draining { .. } => (WireStage::Running, None),
            Stage::Exited { .. } => (WireStage::Exited, Some(self.exit.clone())),
        };
        Some(ContainerState {
            container_id: self.id.clone(),
            pid: self.pid.map_or(0, |pid| pid.as_raw_nonzero().get()),
            stage: stage.into(),
            exit,
            started_at_nanoseconds: self.started_at,
            user: Some(self.user.clone()),
        })
    }

    /// When this container wants to be looked at, by the monotonic clock.
    pub(crate) fn deadline(&self) -> Option<u64> {
        match self.stage {
            Stage::Draining { until } => Some(until),
            Stage::Exited {
                record: Record::Retry { at },
            } => Some(at),
            _ => None,
        }
    }
}

/// A process that was added to a container.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) serial: u32,
    pub(crate) id: String,
    pub(crate) container_id: String,
    pub(crate) pid: Pid,
    pub(crate) control: Option<OwnedFd>,
    /// Where the listener of its filter goes, until it has been sent.
    pub(crate) listener: Option<Listener>,
    pub(crate) terminal: Option<OwnedFd>,
    /// Monotonic nanoseconds.
    pub(crate) deadline: Option<u64>,
    pub(crate) timed_out: bool,
    /// Its process is the one that becomes the program.
    pub(crate) has_gone_on: bool,
    /// Whatever process goes on in its place is to be killed too.
    pub(crate) killed: bool,
    pub(crate) failure: Option<Failure>,
    pub(crate) waiting: Vec<u64>,
    /// Another runtime begins it.
    pub(crate) external: Option<ExternalExec>,
}

impl Exec {
    /// An exec whose first process has just been cloned.
    pub(crate) fn new(serial: u32, request: &ExecRequest, pid: Pid) -> Self {
        let timeout = request.timeout_nanoseconds;
        let deadline =
            (timeout != 0).then(|| time::monotonic_nanoseconds().saturating_add(timeout));
        Self {
            serial,
            id: request.exec_id.clone(),
            container_id: request.container_id.clone(),
            pid,
            control: None,
            listener: None,
            terminal: None,
            deadline,
            timed_out: false,
            has_gone_on: false,
            killed: false,
            failure: None,
            waiting: Vec::new(),
            external: None,
        }
    }

    /// Its program does not run yet.
    pub(crate) fn is_beginning(&self) -> bool {
        let external = self.external.as_ref();
        self.control.is_some() || external.is_some_and(|external| external.is_beginning)
    }
}
