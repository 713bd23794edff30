//! The phase of a pod: kubelet, `getPhase`.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::containers::terminated;
use crate::pod_worker::is_sidecar;

/// How many containers are in which state.
#[derive(Debug, Default)]
struct Count {
    waiting: usize,
    running: usize,
    stopped: usize,
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
    let policy = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    let (pending, failed) = count_init(pod, init);
    if failed && policy == Some("Never") {
        return "Failed";
    }
    let count = count(main);
    let has_begun = count.running > 0 || count.stopped > 0;
    match count {
        _ if pending && !has_begun => "Pending",
        Count { waiting: 1.., .. } => "Pending",
        Count { running: 1.., .. } => "Running",
        Count { stopped: 0, .. } => "Pending",
        Count {
            stopped, succeeded, ..
        } => match policy {
            Some("OnFailure") if stopped == succeeded => "Succeeded",
            Some("Never") if stopped == succeeded => "Succeeded",
            Some("Never") => "Failed",
            _ => "Running",
        },
    }
}

/// Is one still to be done; has one failed?
fn count_init(pod: &Pod, init: &[ContainerStatus]) -> (bool, bool) {
    let (mut pending, mut failed) = (false, false);
    let containers = pod
        .spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten());
    for (container, status) in containers.zip(init) {
        if is_sidecar(container) {
            pending |= status.started != Some(true);
            continue;
        }
        match terminated(&status.state).or(terminated(&status.last_state)) {
            Some(ended) if ended.exit_code != 0 => failed = true,
            Some(_) if terminated(&status.state).is_some() => {}
            _ => pending = true,
        }
        if terminated(&status.state).is_none_or(|ended| ended.exit_code != 0) {
            pending = true;
        }
    }
    (pending, failed)
}

fn count(main: &[ContainerStatus]) -> Count {
    let mut count = Count::default();
    for status in main {
        let state = status.state.clone().unwrap_or_default();
        if state.running.is_some() {
            count.running += 1;
        } else if let Some(ended) = state.terminated {
            count.stopped += 1;
            count.succeeded += usize::from(ended.exit_code == 0);
        } else if terminated(&status.last_state).is_some() {
            // It has run, and will again.
            count.stopped += 1;
        } else {
            count.waiting += 1;
        }
    }
    count
}
