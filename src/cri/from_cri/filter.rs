//! Filters of the list calls. An absent filter takes everything.

use super::{InvalidField, known};
use crate::cri::wire::runtime as wire;
use crate::pod::{ContainerFilter, ContainerState, SandboxFilter, SandboxState};

/// The filter of ListPodSandbox.
pub(in crate::cri) fn sandbox_filter(
    filter: Option<wire::PodSandboxFilter>,
) -> Result<SandboxFilter, InvalidField> {
    let filter = filter.unwrap_or_default();
    let state = match filter.state {
        None => None,
        Some(value) => Some(match known(value.state, "filter.state")? {
            wire::PodSandboxState::SandboxReady => SandboxState::Ready,
            wire::PodSandboxState::SandboxNotready => SandboxState::NotReady,
        }),
    };
    Ok(SandboxFilter {
        id: filter.id,
        state,
        labels: filter.label_selector,
    })
}

/// The filter of ListContainers.
pub(in crate::cri) fn container_filter(
    filter: Option<wire::ContainerFilter>,
) -> Result<ContainerFilter, InvalidField> {
    let filter = filter.unwrap_or_default();
    let state = match filter.state {
        None => None,
        Some(value) => Some(match known(value.state, "filter.state")? {
            wire::ContainerState::ContainerCreated => ContainerState::Created,
            wire::ContainerState::ContainerRunning => ContainerState::Running,
            wire::ContainerState::ContainerExited => ContainerState::Exited,
            wire::ContainerState::ContainerUnknown => ContainerState::Unknown,
        }),
    };
    Ok(ContainerFilter {
        id: filter.id,
        sandbox_id: filter.pod_sandbox_id,
        state,
        labels: filter.label_selector,
    })
}

/// The filter of ListContainerStats.
pub(in crate::cri) fn container_stats_filter(
    filter: Option<wire::ContainerStatsFilter>,
) -> ContainerFilter {
    let filter = filter.unwrap_or_default();
    ContainerFilter {
        id: filter.id,
        sandbox_id: filter.pod_sandbox_id,
        state: None,
        labels: filter.label_selector,
    }
}

/// The filter of ListPodSandboxStats.
pub(in crate::cri) fn sandbox_stats_filter(
    filter: Option<wire::PodSandboxStatsFilter>,
) -> SandboxFilter {
    let filter = filter.unwrap_or_default();
    SandboxFilter {
        id: filter.id,
        state: None,
        labels: filter.label_selector,
    }
}
