//! Events.

use super::{container_status, sandbox_status};
use crate::cri::wire::runtime as wire;
use crate::pod::{EventKind, PodEvent};

/// An event with the states of the pod.
pub(in crate::cri) fn container_event(event: &PodEvent) -> wire::ContainerEventResponse {
    let kind = match event.kind {
        EventKind::Created => wire::ContainerEventType::ContainerCreatedEvent,
        EventKind::Started => wire::ContainerEventType::ContainerStartedEvent,
        EventKind::Stopped => wire::ContainerEventType::ContainerStoppedEvent,
        EventKind::Deleted => wire::ContainerEventType::ContainerDeletedEvent,
    };
    wire::ContainerEventResponse {
        container_id: event.id.clone(),
        container_event_type: kind as i32,
        created_at: event.created_at,
        pod_sandbox_status: Some(sandbox_status(&event.sandbox)),
        containers_statuses: event.containers.iter().map(container_status).collect(),
    }
}
