//! Finding a pod's shim again, or its death; and taking over what it says.
//!
//! A shim that died takes its pod with it in order: all processes are killed, the containers have exited with what the
//! shim had recorded, else with Unknown and 255, and the sandbox is stopped, which releases its network.

use std::collections::BTreeMap;
use std::time::Duration;

use carpel_shim_protocol::message::{self, container_state::Stage};

use super::clock;
use super::container_state::{self, ContainerPhase, exit_of, nanoseconds, unknown_exit};
use super::exit_file;
use super::procedure::{Change, Context, Failure, Outcome};
use super::resources::kill_shim;
use super::sandbox_state::{Container, Pod, SandboxPhase};

/// How long the processes of a pod without a shim may take to die.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// What is said of a container whose shim died before it could record the exit.
const LOST: &str = "the shim of its pod was lost";

/// The connection has ended: is the shim there?
pub(super) async fn run(context: Context) -> Outcome {
    let found = context
        .parts
        .shims
        .connect(context.id(), &context.slot.directories.live)
        .await;
    match found {
        Ok(Some(connected)) => {
            context.slot.set_shim(Some(connected.client.clone()));
            Ok(Change::Reconnected(connected))
        }
        Ok(None) | Err(_) => {
            tracing::error!(
                sandbox = context.id(),
                "the shim is lost: its pod is taken down"
            );
            take_down(&context).await.map_err(Failure::leftovers)
        }
    }
}

/// Kills what is left of a pod without a shim.
async fn take_down(context: &Context) -> Result<Change, super::error::PodError> {
    let cgroups = &context.parts.cgroups;
    cgroups
        .kill_sandbox(&context.cgroup_parent(), context.id(), KILL_PATIENCE)
        .await?;
    kill_shim(context).await;
    Ok(Change::ShimLost(recorded_exits(context)))
}

/// The exits that the shim had recorded.
pub(super) fn recorded_exits(context: &Context) -> BTreeMap<String, message::ContainerExited> {
    let pod = context.slot.pod();
    pod.containers
        .keys()
        .filter_map(|id| {
            exit_file::read(&context.slot.directories.exit_record(id))
                .map(|exited| (id.clone(), exited))
        })
        .collect()
}

/// Every container has ended: as recorded, else nobody knows how.
pub(super) fn take_exits(pod: &mut Pod, exits: &BTreeMap<String, message::ContainerExited>) {
    let now = clock::now();
    for container in pod.containers.values_mut() {
        if container.phase == ContainerPhase::Creating || container.phase.is_exited() {
            continue;
        }
        let started_at = container.phase.started_at();
        container.phase = ContainerPhase::Exited(match exits.get(&container.id) {
            Some(exited) => exit_of(exited, started_at),
            None => unknown_exit(LOST, now, started_at),
        });
    }
    pod.infra_pid = 0;
}

/// What a living shim says is true.
pub(super) fn take_facts(pod: &mut Pod, state: &message::PodState) {
    pod.infra_pid = state.infra_pid;
    if state.infra_exited && pod.phase == SandboxPhase::Ready {
        pod.phase = SandboxPhase::InfraLost;
    }
    let now = clock::now();
    for container in pod.containers.values_mut() {
        if container.phase == ContainerPhase::Creating || container.phase.is_exited() {
            continue;
        }
        match state
            .containers
            .iter()
            .find(|told| told.container_id == container.id)
        {
            Some(told) => take_fact(container, told),
            None => {
                container.phase = ContainerPhase::Exited(unknown_exit(
                    "its shim does not know it",
                    now,
                    container.phase.started_at(),
                ));
            }
        }
    }
}

fn take_fact(container: &mut Container, told: &message::ContainerState) {
    let started_at = nanoseconds(told.started_at_nanoseconds);
    if let Some(user) = &told.user {
        container.user = Some(user.clone().into());
    }
    container.phase = match (told.stage(), &told.exit) {
        (Stage::Created, _) => ContainerPhase::Created { pid: told.pid },
        (Stage::Running, _) => ContainerPhase::Running {
            pid: told.pid,
            started_at,
        },
        (Stage::Exited, Some(exited)) if started_at != 0 || exited.signal != 0 => {
            ContainerPhase::Exited(exit_of(exited, started_at))
        }
        // It ended before its program ran: execve failed while no daemon was there to hear it.
        (Stage::Exited, _) => ContainerPhase::Exited(container_state::start_error(
            "its program could not be executed",
            clock::now(),
        )),
    };
}
