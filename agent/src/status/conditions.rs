//! The conditions of a pod with their reasons and times: kubelet, `pkg/kubelet/status/generate.go`.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::containers::terminated;
use super::pod::StatusInputs;
use crate::pod_worker::is_sidecar;

/// A condition without its times.
struct Claim {
    name: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Claim {
    fn of(name: &'static str, holds: bool) -> Self {
        Self {
            name,
            holds,
            reason: None,
            message: None,
        }
    }
}

/// A pod that runs, or will.
pub(super) fn conditions(
    inputs: &StatusInputs<'_>,
    phase: &str,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
) -> Vec<PodCondition> {
    let has_network = inputs.observed.ready_sandbox().is_some();
    let claims = [
        Claim::of("PodReadyToStartContainers", has_network),
        initialized(inputs, phase, init, main),
        ready("Ready", inputs, phase, init, main),
        ready("ContainersReady", inputs, phase, init, main),
        Claim::of("PodScheduled", true),
    ];
    claims
        .into_iter()
        .map(|claim| stamped(inputs, claim))
        .collect()
}

/// A pod that does not belong to this node.
pub(super) fn unschedulable(inputs: &StatusInputs<'_>) -> Vec<PodCondition> {
    let claim = Claim {
        reason: Some("Unschedulable"),
        message: inputs.unschedulable.map(str::to_owned),
        ..Claim::of("PodScheduled", false)
    };
    vec![stamped(inputs, claim)]
}

/// With the time of its last change: when what was told before was something else.
fn stamped(inputs: &StatusInputs<'_>, claim: Claim) -> PodCondition {
    let status = if claim.holds { "True" } else { "False" };
    let known = inputs.previous.conditions.iter().flatten();
    let mut known = known.filter(|known| known.type_ == claim.name && known.status == status);
    PodCondition {
        type_: claim.name.to_owned(),
        status: status.to_owned(),
        reason: claim.reason.map(str::to_owned),
        message: claim.message,
        last_transition_time: known
            .next()
            .and_then(|known| known.last_transition_time.clone())
            .or(Some(Time(inputs.now))),
        observed_generation: inputs.pod.metadata.generation,
        last_probe_time: None,
    }
}

fn initialized(
    inputs: &StatusInputs<'_>,
    phase: &str,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
) -> Claim {
    let claim = Claim::of("Initialized", true);
    let containers = inputs
        .pod
        .spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten());
    let is_incomplete =
        |(container, status): &(&Container, &ContainerStatus)| match is_sidecar(container) {
            true => status.started != Some(true),
            false => terminated(&status.state).is_none_or(|ended| ended.exit_code != 0),
        };
    let mut incomplete: Vec<&str> = containers
        .zip(init)
        .filter(is_incomplete)
        .map(|(_, status)| &*status.name)
        .collect();
    // Once the others have begun, a sidecar that is restarted changes nothing.
    let has_begun = main.iter().any(|status| status.container_id.is_some());
    if has_begun {
        incomplete.clear();
    }
    match (phase, incomplete.is_empty()) {
        ("Succeeded", _) => Claim {
            reason: Some("PodCompleted"),
            ..claim
        },
        (_, true) => claim,
        (_, false) => Claim {
            holds: false,
            reason: Some("ContainersNotInitialized"),
            message: Some(format!(
                "containers with incomplete status: [{}]",
                incomplete.join(" ")
            )),
            ..claim
        },
    }
}

fn ready(
    name: &'static str,
    inputs: &StatusInputs<'_>,
    phase: &str,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
) -> Claim {
    let claim = Claim::of(name, false);
    match phase {
        "Succeeded" => {
            return Claim {
                reason: Some("PodCompleted"),
                ..claim
            };
        }
        "Failed" => {
            return Claim {
                reason: Some("PodFailed"),
                ..claim
            };
        }
        _ => {}
    }
    let sidecars = inputs
        .pod
        .spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten())
        .zip(init)
        .filter(|(container, _)| is_sidecar(container))
        .map(|(_, status)| status);
    let unready: Vec<&str> = sidecars
        .chain(main)
        .filter(|status| !status.ready)
        .map(|status| &*status.name)
        .collect();
    match unready.is_empty() {
        true => Claim {
            holds: true,
            ..claim
        },
        false => Claim {
            reason: Some("ContainersNotReady"),
            message: Some(format!(
                "containers with unready status: [{}]",
                unready.join(" ")
            )),
            ..claim
        },
    }
}
