//! Pods and containers: lists, and everything that is known of one.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{Client, ClientError, call};
use crate::cri::wire::runtime as wire;

/// A container, as a list has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ContainerSummary {
    /// Its id.
    pub id: String,
    /// Its name in the pod.
    pub name: String,
    /// How often a container of this name has been made before in the pod.
    pub attempt: u32,
    /// The id of its pod.
    pub pod_id: String,
    /// The image as it was asked for.
    pub image: String,
    /// The id of the image.
    pub image_id: String,
    /// `created`, `running`, `exited` or `unknown`.
    pub state: String,
    /// Nanoseconds since 1970.
    pub created_at: i64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A pod, as a list has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PodSummary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its namespace in Kubernetes.
    pub namespace: String,
    /// Its id in Kubernetes.
    pub uid: String,
    /// How often a sandbox has been made for it before.
    pub attempt: u32,
    /// `ready` or `notready`.
    pub state: String,
    /// Nanoseconds since 1970.
    pub created_at: i64,
    /// Its runtime handler; empty for the default one.
    pub runtime_handler: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MountSummary {
    /// Where it is in the container.
    pub container_path: String,
    /// Where it is on the host; empty for an image.
    pub host_path: String,
    /// The image it comes from; empty for a directory of the host.
    pub image: String,
    /// Whether it cannot be written.
    pub is_read_only: bool,
}

/// Everything that the daemon tells of a container.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerDetails {
    /// As in a list, without the pod: that is `sandboxID` of `info`.
    pub summary: ContainerSummary,
    /// Nanoseconds since 1970; 0: not yet.
    pub started_at: i64,
    /// Nanoseconds since 1970; 0: not yet.
    pub finished_at: i64,
    /// How its first process ended.
    pub exit_code: i32,
    /// One word for that.
    pub reason: String,
    /// More about it.
    pub message: String,
    /// Its log file; empty if it has none.
    pub log_path: String,
    /// The image by digest.
    pub image_reference: String,
    /// Its mounts.
    pub mounts: Vec<MountSummary>,
    /// uid, gid, and the other groups, if they are known.
    pub user: Option<(i64, i64, Vec<i64>)>,
    /// The signal that asks it to stop.
    pub stop_signal: String,
    /// `info` of a verbose ContainerStatus: `pid`, `config`, `runtimeSpec` and more.
    pub info: Value,
}

/// Everything that the daemon tells of a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodDetails {
    /// As in a list.
    pub summary: PodSummary,
    /// Its addresses, the first one first; none in the host's network.
    pub addresses: Vec<String>,
    /// `info` of a verbose PodSandboxStatus.
    pub info: Value,
}

impl Client {
    /// All containers.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn containers(&self) -> Result<Vec<ContainerSummary>, ClientError> {
        let request = wire::ListContainersRequest::default();
        let answer = self.runtime().list_containers(request).await;
        let containers = answer.map_err(call("ListContainers"))?.into_inner();
        Ok(containers.containers.into_iter().map(container).collect())
    }

    /// The state of the container of this id; none if there is no such any more.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn container_state(&self, id: &str) -> Result<Option<String>, ClientError> {
        let filter = wire::ContainerFilter {
            id: id.to_owned(),
            ..wire::ContainerFilter::default()
        };
        let request = wire::ListContainersRequest {
            filter: Some(filter),
        };
        let answer = self.runtime().list_containers(request).await;
        let containers = answer.map_err(call("ListContainers"))?.into_inner();
        let mut found = containers.containers.into_iter();
        Ok(found
            .next()
            .map(|it| container_state(it.state()).to_owned()))
    }

    /// All pods.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn pods(&self) -> Result<Vec<PodSummary>, ClientError> {
        let request = wire::ListPodSandboxRequest::default();
        let answer = self.runtime().list_pod_sandbox(request).await;
        let pods = answer.map_err(call("ListPodSandbox"))?.into_inner();
        Ok(pods.items.into_iter().map(pod).collect())
    }

    /// Everything about the container of this id.
    ///
    /// # Errors
    /// `Call` if the daemon refuses, `Answer` if it is another program's.
    pub async fn container_details(&self, id: &str) -> Result<ContainerDetails, ClientError> {
        const CALL: &str = "ContainerStatus";
        let request = wire::ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: true,
        };
        let answer = self.runtime().container_status(request).await;
        let answer = answer.map_err(call(CALL))?.into_inner();
        let info = info(CALL, &answer.info)?;
        Ok(container_details(answer.status.unwrap_or_default(), info))
    }

    /// Everything about the pod of this id.
    ///
    /// # Errors
    /// `Call` if the daemon refuses, `Answer` if it is another program's.
    pub async fn pod_details(&self, id: &str) -> Result<PodDetails, ClientError> {
        const CALL: &str = "PodSandboxStatus";
        let request = wire::PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: true,
        };
        let answer = self.runtime().pod_sandbox_status(request).await;
        let answer = answer.map_err(call(CALL))?.into_inner();
        let info = info(CALL, &answer.info)?;
        Ok(pod_details(answer.status.unwrap_or_default(), info))
    }
}

/// The key under which all runtimes put their JSON.
fn info(call: &'static str, info: &BTreeMap<String, String>) -> Result<Value, ClientError> {
    let text = info.get("info").map_or("{}", String::as_str);
    serde_json::from_str(text).map_err(|source| ClientError::Answer { call, source })
}

fn container(container: wire::Container) -> ContainerSummary {
    let state = container_state(container.state()).to_owned();
    let metadata = container.metadata.unwrap_or_default();
    ContainerSummary {
        state,
        id: container.id,
        name: metadata.name,
        attempt: metadata.attempt,
        pod_id: container.pod_sandbox_id,
        image: asked_for(container.image.unwrap_or_default()),
        image_id: container.image_id,
        created_at: container.created_at,
        labels: container.labels,
        annotations: container.annotations,
    }
}

/// The kubelet asks by id, and says beside it what the manifest has.
fn asked_for(image: wire::ImageSpec) -> String {
    match image.user_specified_image.is_empty() {
        true => image.image,
        false => image.user_specified_image,
    }
}

fn container_state(state: wire::ContainerState) -> &'static str {
    match state {
        wire::ContainerState::ContainerCreated => "created",
        wire::ContainerState::ContainerRunning => "running",
        wire::ContainerState::ContainerExited => "exited",
        wire::ContainerState::ContainerUnknown => "unknown",
    }
}

fn pod(pod: wire::PodSandbox) -> PodSummary {
    let state = pod_state(pod.state()).to_owned();
    let metadata = pod.metadata.unwrap_or_default();
    PodSummary {
        state,
        id: pod.id,
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        attempt: metadata.attempt,
        created_at: pod.created_at,
        runtime_handler: pod.runtime_handler,
        labels: pod.labels,
        annotations: pod.annotations,
    }
}

fn pod_state(state: wire::PodSandboxState) -> &'static str {
    match state {
        wire::PodSandboxState::SandboxReady => "ready",
        wire::PodSandboxState::SandboxNotready => "notready",
    }
}

fn container_details(status: wire::ContainerStatus, info: Value) -> ContainerDetails {
    let state = container_state(status.state()).to_owned();
    let stop_signal = signal_name(status.stop_signal());
    let metadata = status.metadata.unwrap_or_default();
    let user = status.user.and_then(|user| user.linux);
    ContainerDetails {
        summary: ContainerSummary {
            state,
            id: status.id,
            name: metadata.name,
            attempt: metadata.attempt,
            pod_id: info["sandboxID"].as_str().unwrap_or_default().to_owned(),
            image: asked_for(status.image.unwrap_or_default()),
            image_id: status.image_id,
            created_at: status.created_at,
            labels: status.labels,
            annotations: status.annotations,
        },
        started_at: status.started_at,
        finished_at: status.finished_at,
        exit_code: status.exit_code,
        reason: status.reason,
        message: status.message,
        log_path: status.log_path,
        image_reference: status.image_ref,
        mounts: status.mounts.into_iter().map(mount).collect(),
        user: user.map(|user| (user.uid, user.gid, user.supplemental_groups)),
        stop_signal,
        info,
    }
}

fn mount(mount: wire::Mount) -> MountSummary {
    MountSummary {
        container_path: mount.container_path,
        host_path: mount.host_path,
        image: mount.image.map(|image| image.image).unwrap_or_default(),
        is_read_only: mount.readonly,
    }
}

fn pod_details(status: wire::PodSandboxStatus, info: Value) -> PodDetails {
    let state = pod_state(status.state()).to_owned();
    let metadata = status.metadata.unwrap_or_default();
    let network = status.network.unwrap_or_default();
    let more = network.additional_ips.into_iter().map(|address| address.ip);
    PodDetails {
        summary: PodSummary {
            state,
            id: status.id,
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            attempt: metadata.attempt,
            created_at: status.created_at,
            runtime_handler: status.runtime_handler,
            labels: status.labels,
            annotations: status.annotations,
        },
        addresses: std::iter::once(network.ip)
            .filter(|address| !address.is_empty())
            .chain(more)
            .collect(),
        info,
    }
}

/// `SIGTERM`; empty if the runtime's default is meant.
fn signal_name(signal: wire::Signal) -> String {
    match signal {
        wire::Signal::RuntimeDefault => String::new(),
        known => known.as_str_name().trim_start_matches("SIGNAL_").to_owned(),
    }
}
