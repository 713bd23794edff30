//! GetContainerEvents, for people and scripts.

use serde::Serialize;
use tonic::Streaming;

use super::{Client, ClientError, call};
use crate::cri::wire::runtime as wire;

const CALL: &str = "GetContainerEvents";

/// Something that happened to a container or a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedEvent {
    /// The container's id, or the sandbox's.
    pub id: String,
    /// `created`, `started`, `stopped` or `deleted`.
    pub kind: &'static str,
    /// When, in nanoseconds since the epoch.
    pub created_at: i64,
    /// The sandbox right after it.
    pub sandbox: EventSandbox,
    /// All containers that the sandbox had then.
    pub containers: Vec<EventContainer>,
}

/// A sandbox at the time of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct EventSandbox {
    /// Its id.
    pub id: String,
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's uid.
    pub uid: String,
    /// Whether it was ready.
    pub is_ready: bool,
}

/// A container at the time of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventContainer {
    /// Its id.
    pub id: String,
    /// Its name in the pod.
    pub name: String,
    /// `created`, `running`, `exited` or `unknown`.
    pub state: &'static str,
    /// After its exit.
    pub exit_code: i32,
    /// After its exit: `Completed`, `Error`, `OOMKilled` …
    pub reason: String,
}

/// Events as they come.
#[derive(Debug)]
pub struct Events {
    answers: Streaming<wire::ContainerEventResponse>,
}

impl Client {
    /// Begins to listen: what happens after this has returned is among the events.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn events(&self) -> Result<Events, ClientError> {
        let request = wire::GetEventsRequest::default();
        let answers = self.runtime().get_container_events(request).await;
        Ok(Events {
            answers: answers.map_err(call(CALL))?.into_inner(),
        })
    }
}

impl Events {
    /// The next event; waits for it. `None` if the daemon has no more.
    ///
    /// # Errors
    /// `Call` if events were lost since they were read too slowly, or the daemon stops.
    pub async fn next(&mut self) -> Result<Option<ReportedEvent>, ClientError> {
        let answer = self.answers.message().await.map_err(call(CALL))?;
        Ok(answer.map(event))
    }
}

fn event(event: wire::ContainerEventResponse) -> ReportedEvent {
    let kind = match event.container_event_type() {
        wire::ContainerEventType::ContainerCreatedEvent => "created",
        wire::ContainerEventType::ContainerStartedEvent => "started",
        wire::ContainerEventType::ContainerStoppedEvent => "stopped",
        wire::ContainerEventType::ContainerDeletedEvent => "deleted",
    };
    ReportedEvent {
        id: event.container_id,
        kind,
        created_at: event.created_at,
        sandbox: event.pod_sandbox_status.map(sandbox).unwrap_or_default(),
        containers: event
            .containers_statuses
            .into_iter()
            .map(container)
            .collect(),
    }
}

fn sandbox(status: wire::PodSandboxStatus) -> EventSandbox {
    let is_ready = status.state() == wire::PodSandboxState::SandboxReady;
    let metadata = status.metadata.unwrap_or_default();
    EventSandbox {
        id: status.id,
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        is_ready,
    }
}

fn container(status: wire::ContainerStatus) -> EventContainer {
    let state = match status.state() {
        wire::ContainerState::ContainerCreated => "created",
        wire::ContainerState::ContainerRunning => "running",
        wire::ContainerState::ContainerExited => "exited",
        wire::ContainerState::ContainerUnknown => "unknown",
    };
    EventContainer {
        id: status.id,
        name: status.metadata.unwrap_or_default().name,
        state,
        exit_code: status.exit_code,
        reason: status.reason,
    }
}
