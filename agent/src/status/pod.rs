//! The whole status of a pod, from what should be and what is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, HostIP, Pod, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions;
use super::containers;
use super::phase;
use crate::pod_worker::{Health, Observed};
use crate::runtime::{container_hash, qos_class};

/// Why a container does not run (yet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// `ErrImagePull`, `CrashLoopBackOff` and so on.
    pub(crate) reason: String,
    /// The real cause.
    pub(crate) message: String,
}

/// The agent has decided on a pod's end: its deadline, or an eviction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// One word.
    pub(crate) reason: String,
    /// The cause.
    pub(crate) message: String,
}

/// What a status is made from.
pub(crate) struct StatusInputs<'a> {
    /// What should be.
    pub(crate) pod: &'a Pod,
    /// What is.
    pub(crate) observed: &'a Observed,
    /// What was told before.
    pub(crate) previous: &'a PodStatus,
    /// What the probes say.
    pub(crate) health: &'a dyn Fn(&Container, &str) -> Health,
    /// Why containers wait, by name.
    pub(crate) waiting: &'a BTreeMap<String, Waiting>,
    /// Containers whose start is not complete: a postStart hook may run.
    pub(crate) starting: &'a dyn Fn(&str) -> bool,
    /// The pod was ended by the agent.
    pub(crate) verdict: Option<&'a Verdict>,
    /// Why the pod does not run on this node.
    pub(crate) unschedulable: Option<&'a str>,
    /// The node's addresses.
    pub(crate) host_ips: &'a [String],
    /// `carpel`, `containerd`
    pub(crate) runtime_name: &'a str,
    /// Now.
    pub(crate) now: Timestamp,
}

/// Will nothing of the pod run again?
pub(crate) fn is_terminal(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// The status.
pub(crate) fn pod_status(inputs: &StatusInputs<'_>) -> PodStatus {
    let mut status = PodStatus {
        qos_class: Some(qos_class(inputs.pod).to_owned()),
        observed_generation: inputs.pod.metadata.generation,
        ..PodStatus::default()
    };
    if inputs.unschedulable.is_some() {
        status.phase = Some("Pending".to_owned());
        status.conditions = Some(conditions::unschedulable(inputs));
        return status;
    }
    status.start_time = Some(match &inputs.previous.start_time {
        Some(time) => time.clone(),
        None => Time(inputs.now),
    });
    set_addresses(&mut status, inputs);
    let (init, main) = containers::statuses(inputs);
    let mut phase = phase::phase(inputs.pod, &init, &main, inputs.verdict.is_some());
    if matches!(phase, "Succeeded" | "Failed") && inputs.verdict.is_none() && is_changed(inputs) {
        // A container that was ended because its manifest changed begins again.
        phase = "Running";
    }
    status.phase = Some(phase.to_owned());
    if let Some(verdict) = inputs.verdict {
        status.reason = Some(verdict.reason.clone());
        status.message = Some(verdict.message.clone());
    }
    status.conditions = Some(conditions::conditions(inputs, phase, &init, &main));
    status.init_container_statuses = (!init.is_empty()).then_some(init);
    status.container_statuses = Some(main);
    status
}

/// Has a container ended that was made from another manifest?
fn is_changed(inputs: &StatusInputs<'_>) -> bool {
    let spec = inputs.pod.spec.iter();
    let mut containers = spec.flat_map(|spec| &spec.containers);
    containers.any(|container| {
        let latest = inputs.observed.latest(&container.name);
        latest.is_some_and(|it| !it.hash.is_empty() && it.hash != container_hash(container))
    })
}

fn set_addresses(status: &mut PodStatus, inputs: &StatusInputs<'_>) {
    let is_host_network = inputs
        .pod
        .spec
        .as_ref()
        .is_some_and(|spec| spec.host_network == Some(true));
    let sandbox = inputs.observed.sandbox.as_ref();
    let ips: &[String] = match sandbox {
        Some(_) if is_host_network => inputs.host_ips,
        Some(sandbox) => &sandbox.ips,
        None => &[],
    };
    if ips.is_empty() {
        // A runtime may forget them when the sandbox has ended.
        status.pod_ip.clone_from(&inputs.previous.pod_ip);
        status.pod_ips.clone_from(&inputs.previous.pod_ips);
    } else {
        let all = ips.iter().map(|ip| PodIP { ip: ip.clone() });
        status.pod_ip = ips.first().cloned();
        status.pod_ips = Some(all.collect());
    }
    status.host_ip = inputs.host_ips.first().cloned();
    let all = inputs.host_ips.iter().map(|ip| HostIP { ip: ip.clone() });
    status.host_ips = Some(all.collect());
}
