//! UpdatePodSandboxResources: keeps what the client tells, and changes the limits of the pod's cgroup if they are Carpel's to
//! set: all or none.

use super::procedure::{Change, Context, Failure, Outcome};
use super::sandbox_state::Pod;
use super::update_container::merge;
use crate::oci::{LinuxResources, PodResources};

/// The whole procedure.
pub(super) async fn run(context: Context, wanted: PodResources) -> Outcome {
    let mut pod = Pod::clone(&context.slot.pod());
    pod.resources = PodResources {
        overhead: merged(pod.resources.overhead, wanted.overhead),
        resources: merged(pod.resources.resources, wanted.resources),
    };
    if let Some(limits) = pod.limits() {
        context
            .parts
            .cgroups
            .limit_sandbox(&pod.config.cgroup_parent, context.id(), &limits)
            .await
            .map_err(Failure::clean)?;
    }
    Ok(Change::SandboxUpdated(pod.resources))
}

/// What the request leaves out stays as it is.
fn merged(
    current: Option<LinuxResources>,
    wanted: Option<LinuxResources>,
) -> Option<LinuxResources> {
    match (current, wanted) {
        (Some(current), Some(wanted)) => Some(merge(current, wanted)),
        (current, wanted) => wanted.or(current),
    }
}
