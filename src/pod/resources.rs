//! What a running sandbox holds of the host, and how each is given back.
//!
//! The releases undo a failed RunPodSandbox, do StopPodSandbox, and clean up after a crash: each finds what it releases
//! by the sandbox's id, and finds nothing if there is nothing.

use super::error::PodError;
use super::files;
use super::procedure::{Context, SHIM_PATIENCE, blocking, shim_of};
use std::time::Duration;

/// What a sandbox holds, in the order in which it is taken. Given back in reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Held {
    /// The folders of identity and live state.
    Directories,
    /// The cgroup of the shim.
    ShimCgroup,
    /// The cgroups of pod and infra process.
    Cgroups,
    /// The files for its containers, and the tmpfs for /dev/shm.
    SharedMemory,
    /// The network namespace and its attachment.
    Network,
    /// The shim, the infra process and all containers.
    Processes,
}

impl Held {
    /// The step that takes it.
    pub(super) fn taken_as(self) -> &'static str {
        match self {
            Self::Directories => "record the sandbox",
            Self::SharedMemory => "make the sandbox's files",
            Self::ShimCgroup => "make the shim's cgroup",
            Self::Cgroups => "make its cgroups",
            Self::Network => "attach the network",
            Self::Processes => "start its processes",
        }
    }

    /// The step that gives it back.
    pub(super) fn released_as(self) -> &'static str {
        match self {
            Self::Directories => "remove the folders",
            Self::SharedMemory => "release /dev/shm",
            Self::ShimCgroup => "remove the shim's cgroup",
            Self::Cgroups => "remove its cgroups",
            Self::Network => "release the network",
            Self::Processes => "end its processes",
        }
    }
}

/// What is given back when a sandbox stops. The folders stay until it is removed, and so may the shim's cgroup: a log
/// writer that hangs in the kernel, on a disk that does not answer, stays in it and must not delay the stop.
pub(super) const RELEASED_BY_STOP: [Held; 4] = [
    Held::Processes,
    Held::Network,
    Held::SharedMemory,
    Held::Cgroups,
];

/// After cgroup.kill the processes of a pod are gone in milliseconds, unless one hangs in the kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How long the shim may take to drain the logs and record the exits, once all is killed.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(3);

/// How long a killed shim and its log writer may take to die. Whoever has not by then hangs in the kernel.
const SHIM_KILL_PATIENCE: Duration = Duration::from_secs(1);

/// Gives one thing back.
///
/// # Errors
/// The cause; what is left can be given back by another call.
pub(super) async fn release(context: &Context, held: Held) -> Result<(), PodError> {
    let stages = &context.slot.stages;
    stages
        .run(held.released_as(), give_back(context, held))
        .await
}

async fn give_back(context: &Context, held: Held) -> Result<(), PodError> {
    match held {
        Held::Processes => end_processes(context).await,
        Held::Network => {
            if context.slot.pod().has_host_network() {
                return Ok(());
            }
            context.parts.networks.release(context.id()).await
        }
        Held::SharedMemory => {
            let directories = context.slot.directories.clone();
            in_files(context, "release /dev/shm", move || {
                files::unmount_shm(&directories)
            })
            .await
        }
        Held::ShimCgroup => {
            context
                .parts
                .cgroups
                .remove_shim(&context.cgroup_parent(), context.id())
                .await
        }
        Held::Cgroups => {
            context
                .parts
                .cgroups
                .remove_sandbox(&context.cgroup_parent(), context.id())
                .await
        }
        Held::Directories => {
            let directories = context.slot.directories.clone();
            in_files(context, "remove the folders", move || {
                files::remove_directory(&directories.live)?;
                files::remove_directory(&directories.identity)
            })
            .await?;
            context.parts.selinux.release(context.id());
            Ok(())
        }
    }
}

/// Gives all of these back, whatever fails; the first error is told, the others are logged. The folders stay if something
/// else does: they are what the next try knows the sandbox by.
///
/// # Errors
/// The first one.
pub(super) async fn release_all(context: &Context, all: &[Held]) -> Result<(), PodError> {
    let mut first = Ok(());
    for held in all {
        if *held == Held::Directories && first.is_err() {
            break;
        }
        if let Err(error) = release(context, *held).await {
            tracing::warn!(sandbox = context.id(), error = %super::error::chain(&error), ?held, "not released");
            if first.is_ok() {
                first = Err(error);
            }
        }
    }
    first
}

/// Runs a piece of `files` on a thread that may wait for the disk.
pub(super) async fn in_files<T: Send + 'static>(
    context: &Context,
    step: &'static str,
    work: impl FnOnce() -> Result<T, files::FileError> + Send + 'static,
) -> Result<T, PodError> {
    let subject = context.subject();
    blocking(context.subject(), step, move || {
        work().map_err(|error| PodError::new(error.kind(), subject, step).caused_by(error))
    })
    .await
}

/// Ends all processes of the pod: by the shim, which records the exits; without it if it does not answer.
async fn end_processes(context: &Context) -> Result<(), PodError> {
    let parent = context.cgroup_parent();
    let cgroups = &context.parts.cgroups;
    if let Some(shim) = shim_of(context) {
        let shutdown = shim.shutdown(SHUTDOWN_PATIENCE);
        tokio::pin!(shutdown);
        let done = match tokio::time::timeout(SHIM_PATIENCE, &mut shutdown).await {
            Ok(result) => result,
            Err(_slow) => {
                cgroups
                    .kill_sandbox(&parent, context.id(), KILL_PATIENCE)
                    .await?;
                shutdown.await
            }
        };
        if let Err(error) = done {
            tracing::warn!(sandbox = context.id(), error = %super::error::chain(&error), "the shim did not end its pod; it is killed");
        }
    }
    cgroups
        .kill_sandbox(&parent, context.id(), KILL_PATIENCE)
        .await?;
    context.slot.set_shim(None);
    kill_shim(context).await;
    Ok(())
}

/// Kills what is left of the shim and its log writer. Nothing depends on their end but their own cgroup, so what hangs in
/// the kernel is left to end when its disk answers.
pub(super) async fn kill_shim(context: &Context) {
    let cgroups = &context.parts.cgroups;
    let killed = cgroups
        .kill_shim(&context.cgroup_parent(), context.id(), SHIM_KILL_PATIENCE)
        .await;
    if let Err(error) = killed {
        tracing::warn!(sandbox = context.id(), error = %super::error::chain(&error), "something of its shim is left");
    }
}
