//! StopContainer: the stop signal, the grace period, SIGKILL. It never depends on the shim.

use std::time::Duration;

use carpel_shim_protocol::message::SignalScope;
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::{PodError, Subject};
use super::procedure::{Change, Context, Failure, Outcome, SHIM_PATIENCE, shim_of, wait_for_exit};

/// After cgroup.kill a container is gone in milliseconds, unless a process hangs in the kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How long an exit that must have happened may take to be reported.
const REPORT_PATIENCE: Duration = Duration::from_secs(2);

/// The whole procedure. The deadline may be moved nearer while it runs.
pub(super) async fn run(
    context: Context,
    id: String,
    mut deadline: watch::Receiver<Instant>,
) -> Outcome {
    let stop_signal = context
        .slot
        .pod()
        .containers
        .get(&id)
        .map_or(libc::SIGTERM, |container| container.stop_signal);
    if *deadline.borrow() > Instant::now() {
        signal(&context, &id, stop_signal, SignalScope::FirstProcess).await;
        if exited_in_grace(&context, &id, &mut deadline).await {
            return Ok(Change::ContainerStopped);
        }
    }
    kill(&context, &id).await.map_err(Failure::clean)?;
    Ok(Change::ContainerStopped)
}

/// Kills the container: by the shim, which then knows that it was asked to, or without it.
///
/// # Errors
/// If a process is still there after [`KILL_PATIENCE`].
pub(super) async fn kill(context: &Context, id: &str) -> Result<(), PodError> {
    let asked = signal(context, id, libc::SIGKILL, SignalScope::All).await;
    if asked && wait_for_exit(context, id, SHIM_PATIENCE).await {
        return Ok(());
    }
    context
        .parts
        .cgroups
        .kill_container(&context.cgroup_parent(), context.id(), id, KILL_PATIENCE)
        .await?;
    if !wait_for_exit(context, id, REPORT_PATIENCE).await {
        tracing::warn!(
            sandbox = context.id(),
            container = id,
            "killed; the shim does not report its exit"
        );
    }
    Ok(())
}

/// Asks the shim to signal; says whether it did.
async fn signal(context: &Context, id: &str, number: i32, scope: SignalScope) -> bool {
    let Some(shim) = shim_of(context) else {
        return false;
    };
    match shim
        .signal_container(id.to_owned(), number, scope, SHIM_PATIENCE)
        .await
    {
        Ok(()) => true,
        Err(error) => {
            let subject = Subject::Container(id.to_owned());
            tracing::debug!(%subject, number, error = %super::error::chain(&error), "not signalled by the shim");
            false
        }
    }
}

/// Waits for the exit until the deadline, wherever it moves to.
async fn exited_in_grace(
    context: &Context,
    id: &str,
    deadline: &mut watch::Receiver<Instant>,
) -> bool {
    loop {
        let now = Instant::now();
        let until = *deadline.borrow_and_update();
        if until <= now {
            return wait_for_exit(context, id, Duration::ZERO).await;
        }
        tokio::select! {
            exited = wait_for_exit(context, id, until - now) => return exited,
            Ok(()) = deadline.changed() => {}
        }
    }
}
