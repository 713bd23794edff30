//! The status of each container: kubelet, `convertToAPIContainerStatuses`.

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, ContainerUser, LinuxContainerUser, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::pod::StatusInputs;
use crate::pod_worker::{History, Record, State, begins_again, is_sidecar};
use crate::runtime::without_id;

/// 128 and SIGKILL: what is said of a container that vanished.
const VANISHED: i32 = 137;

/// Those of init containers, and of the others.
pub(super) fn statuses(inputs: &StatusInputs<'_>) -> (Vec<ContainerStatus>, Vec<ContainerStatus>) {
    let Some(spec) = &inputs.pod.spec else {
        return (Vec::new(), Vec::new());
    };
    let has_init = spec
        .init_containers
        .as_ref()
        .is_some_and(|it| !it.is_empty());
    let of = |container: &Container, is_init: bool| status(inputs, container, is_init, has_init);
    let init = spec.init_containers.iter().flatten();
    let init = init.map(|container| of(container, true)).collect();
    let main = spec.containers.iter().map(|it| of(it, false)).collect();
    (init, main)
}

fn status(
    inputs: &StatusInputs<'_>,
    container: &Container,
    is_init: bool,
    has_init: bool,
) -> ContainerStatus {
    let name = &container.name;
    let default_wait = if has_init {
        "PodInitializing"
    } else {
        "ContainerCreating"
    };
    let mut status = match inputs.observed.containers.get(name) {
        Some(history) => observed_status(inputs, container, history),
        None => vanished_status(inputs.previous, container, default_wait),
    };
    let is_done = terminated(&status.state).is_some_and(|it| {
        let is_initialized = is_init && !is_sidecar(container) && it.exit_code == 0;
        let spec = inputs.pod.spec.as_ref();
        is_initialized || spec.is_some_and(|spec| !begins_again(spec, container, it.exit_code))
    });
    let is_running = status.state.as_ref().is_some_and(|it| it.running.is_some());
    let waits = inputs.waiting.get(name);
    // One that has ended before its start was told has ended.
    let is_over = terminated(&status.state).is_some();
    if (inputs.starting)(name) && (is_running || waits.is_none()) && !is_over {
        // It is made anew, or its postStart hook has not ended.
        begin_waiting(&mut status, default_wait, None);
    } else if let Some(waiting) = waits.filter(|_| !is_running && !is_done) {
        begin_waiting(&mut status, &waiting.reason, Some(&waiting.message));
    }
    let health = (inputs.health)(container, id_of(&status));
    let runs = status.state.as_ref().is_some_and(|it| it.running.is_some());
    status.started = Some(runs && health.is_started);
    status.ready = match is_init && !is_sidecar(container) {
        true => terminated(&status.state).is_some_and(|it| it.exit_code == 0),
        false => runs && health.is_started && health.is_ready,
    };
    status
}

/// The id without the runtime's name.
fn id_of(status: &ContainerStatus) -> &str {
    let id = status.container_id.as_deref().unwrap_or_default();
    id.split_once("://").map_or(id, |(_, id)| id)
}

fn begin_waiting(status: &mut ContainerStatus, reason: &str, message: Option<&str>) {
    if let Some(state) = status.state.take()
        && state.terminated.is_some()
    {
        status.last_state = Some(state);
    }
    status.state = Some(waiting(reason, message));
}

fn waiting(reason: &str, message: Option<&str>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message: message.filter(|it| !it.is_empty()).map(str::to_owned),
        }),
        ..ContainerState::default()
    }
}

fn observed_status(
    inputs: &StatusInputs<'_>,
    container: &Container,
    history: &History,
) -> ContainerStatus {
    let record = &history.latest;
    let earlier = previous_of(inputs.previous, &container.name);
    ContainerStatus {
        name: container.name.clone(),
        image: match record.image.is_empty() {
            true => container.image.clone().unwrap_or_default(),
            false => record.image.clone(),
        },
        image_id: record.image_id.clone(),
        container_id: Some(full_id(inputs, record)),
        restart_count: i32::try_from(record.attempt).unwrap_or(i32::MAX),
        state: Some(state(inputs, record)),
        last_state: match &history.previous {
            Some(previous) if previous.state == State::Exited => Some(state(inputs, previous)),
            // It was removed, but is remembered.
            _ => earlier.and_then(|earlier| {
                match earlier.container_id == Some(full_id(inputs, record)) {
                    // While it waited, its own end was told as the last one.
                    true => earlier
                        .last_state
                        .clone()
                        .filter(|last| !is_end_of(last, &full_id(inputs, record))),
                    false => terminated(&earlier.state)
                        .map(ended_state)
                        .or(earlier.last_state.clone()),
                }
            }),
        },
        user: record
            .user
            .as_ref()
            .map(|(uid, gid, groups)| ContainerUser {
                linux: Some(LinuxContainerUser {
                    uid: *uid,
                    gid: *gid,
                    supplemental_groups: (!groups.is_empty()).then(|| groups.clone()),
                }),
            }),
        resources: container.resources.clone(),
        ..ContainerStatus::default()
    }
}

fn is_end_of(state: &ContainerState, id: &str) -> bool {
    let ended = state.terminated.as_ref();
    ended.and_then(|ended| ended.container_id.as_deref()) == Some(id)
}

fn ended_state(terminated: &ContainerStateTerminated) -> ContainerState {
    ContainerState {
        terminated: Some(terminated.clone()),
        ..ContainerState::default()
    }
}

fn full_id(inputs: &StatusInputs<'_>, record: &Record) -> String {
    format!("{}://{}", inputs.runtime_name, record.id)
}

fn state(inputs: &StatusInputs<'_>, record: &Record) -> ContainerState {
    match record.state {
        State::Running => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: Some(Time(record.started_at)),
            }),
            ..ContainerState::default()
        },
        State::Exited => ended_state(&ContainerStateTerminated {
            container_id: Some(full_id(inputs, record)),
            exit_code: record.exit_code,
            reason: Some(reason(record)),
            message: Some(without_id(&record.message).to_owned()).filter(|it| !it.is_empty()),
            started_at: Some(Time(record.started_at)),
            finished_at: Some(Time(record.finished_at)),
            signal: None,
        }),
        State::Created | State::Unknown => waiting("ContainerCreating", None),
    }
}

fn reason(record: &Record) -> String {
    match (record.reason.is_empty(), record.exit_code) {
        (false, _) => record.reason.clone(),
        (true, 0) => "Completed".to_owned(),
        (true, _) => "Error".to_owned(),
    }
}

/// The runtime does not have it (any more).
fn vanished_status(
    previous: &PodStatus,
    container: &Container,
    default_wait: &str,
) -> ContainerStatus {
    let fresh = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        state: Some(waiting(default_wait, None)),
        ..ContainerStatus::default()
    };
    let Some(earlier) = previous_of(previous, &container.name) else {
        return fresh;
    };
    let state = earlier.state.clone().unwrap_or_default();
    if state.terminated.is_some() {
        return earlier.clone();
    }
    match state.running {
        None => ContainerStatus {
            last_state: earlier.last_state.clone(),
            restart_count: earlier.restart_count,
            ..fresh
        },
        Some(running) => {
            let ended = ContainerStateTerminated {
                container_id: earlier.container_id.clone(),
                exit_code: VANISHED,
                reason: Some("ContainerStatusUnknown".to_owned()),
                message: Some(
                    "The container could not be located when the pod was looked at".to_owned(),
                ),
                started_at: running.started_at,
                ..ContainerStateTerminated::default()
            };
            ContainerStatus {
                state: Some(ended_state(&ended)),
                ..earlier.clone()
            }
        }
    }
}

fn previous_of<'a>(previous: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    let init = previous.init_container_statuses.iter().flatten();
    let main = previous.container_statuses.iter().flatten();
    init.chain(main).find(|status| status.name == name)
}

/// How it ended.
pub(super) fn terminated(state: &Option<ContainerState>) -> Option<&ContainerStateTerminated> {
    state.as_ref()?.terminated.as_ref()
}
