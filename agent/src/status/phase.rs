//! The phase of a pod: kubelet, `getPhase`.

use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Pod, PodSpec};

use super::containers::terminated;
use crate::pod_worker::{begins_again, is_sidecar};

/// How many containers are in which state.
#[derive(Debug, Default)]
struct Count {
    waiting: usize,
    running: usize,
    stopped: usize,
    stopped_for_good: usize,
    succeeded: usize,
}

/// `Pending`, `Running`, `Succeeded` or `Failed`.
pub(super) fn phase(
    pod: &Pod,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    is_condemned: bool,
) -> &'static str {
    if is_condemned {
        return "Failed";
    }
    let Some(spec) = &pod.spec else {
        return "Pending";
    };
    let (pending, has_failed) = count_init(spec, init);
    if has_failed {
        return "Failed";
    }
    let count = count(spec, main);
    let has_begun = count.running > 0 || count.stopped > 0;
    match count {
        _ if pending && !has_begun => "Pending",
        Count { waiting: 1.., .. } => "Pending",
        Count { running: 1.., .. } => "Running",
        Count { stopped: 0, .. } => "Pending",
        Count {
            stopped,
            stopped_for_good,
            ..
        } if stopped_for_good < stopped => "Running",
        Count {
            stopped, succeeded, ..
        } if stopped == succeeded => "Succeeded",
        Count { .. } => "Failed",
    }
}

/// Is one still to be done; has one failed for good?
fn count_init(spec: &PodSpec, init: &[ContainerStatus]) -> (bool, bool) {
    let (mut pending, mut failed) = (false, false);
    let containers = spec.init_containers.iter().flatten();
    for (container, status) in containers.zip(init) {
        if is_sidecar(container) {
            pending |= status.started != Some(true);
            continue;
        }
        match terminated(&status.state).or(terminated(&status.last_state)) {
            Some(ended) if ended.exit_code != 0 => {
                failed |= !begins_again(spec, container, ended.exit_code);
            }
            Some(_) if terminated(&status.state).is_some() => {}
            _ => pending = true,
        }
        if terminated(&status.state).is_none_or(|ended| ended.exit_code != 0) {
            pending = true;
        }
    }
    (pending, failed)
}

fn count(spec: &PodSpec, main: &[ContainerStatus]) -> Count {
    let mut count = Count::default();
    let is_for_good = |container: &Container, state: &Option<ContainerState>| {
        terminated(state).is_some_and(|it| !begins_again(spec, container, it.exit_code))
    };
    for (container, status) in spec.containers.iter().zip(main) {
        let state = status.state.clone().unwrap_or_default();
        if state.running.is_some() {
            count.running += 1;
        } else if let Some(ended) = &state.terminated {
            count.stopped += 1;
            count.stopped_for_good += usize::from(is_for_good(container, &status.state));
            count.succeeded += usize::from(ended.exit_code == 0);
        } else if terminated(&status.last_state).is_some() {
            // It has run, and will again.
            count.stopped += 1;
            count.stopped_for_good += usize::from(is_for_good(container, &status.last_state));
        } else {
            count.waiting += 1;
        }
    }
    count
}
