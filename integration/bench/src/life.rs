//! The life of one pod, every call of it timed.

use std::time::Duration;

use super::client::{Client, timed};
use super::error::BenchError;
use super::specification::{Network, Specifications};
use crate::runtime_v1 as cri;

/// What is timed. The order is the report's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub(crate) enum Call {
    RunPodSandbox,
    CreateContainer,
    StartContainer,
    /// The three above together.
    PodReady,
    ExecSync,
    ContainerStatus,
    StopContainer,
    RemoveContainer,
    StopPodSandbox,
    RemovePodSandbox,
    /// Everything above together, with three execs.
    WholeLife,
    Version,
    ListContainers,
    ListContainerStats,
    ContainerStats,
    ListPodSandboxStats,
}

impl Call {
    /// For the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RunPodSandbox => "RunPodSandbox",
            Self::CreateContainer => "CreateContainer",
            Self::StartContainer => "StartContainer",
            Self::PodReady => "pod ready (those three)",
            Self::ExecSync => "ExecSync(true)",
            Self::ContainerStatus => "ContainerStatus",
            Self::StopContainer => "StopContainer(0)",
            Self::RemoveContainer => "RemoveContainer",
            Self::StopPodSandbox => "StopPodSandbox",
            Self::RemovePodSandbox => "RemovePodSandbox",
            Self::WholeLife => "whole life (with 3 execs)",
            Self::Version => "Version",
            Self::ListContainers => "ListContainers",
            Self::ListContainerStats => "ListContainerStats",
            Self::ContainerStats => "ContainerStats, one",
            Self::ListPodSandboxStats => "ListPodSandboxStats",
        }
    }
}

/// How long each call of a life took.
pub(crate) type Times = Vec<(Call, Duration)>;

/// A pod that is up.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) sandbox_id: String,
    pub(crate) container_id: String,
}

/// Brings a pod with one container up and notes the times.
pub(crate) async fn up(
    client: &mut Client,
    specifications: &Specifications,
    name: &str,
    network: Network,
    times: &mut Times,
) -> Result<Pod, BenchError> {
    let sandbox_config = specifications.sandbox(name, network);
    let request = cri::RunPodSandboxRequest {
        config: Some(sandbox_config.clone()),
        ..Default::default()
    };
    let (result, ran) = timed(client.runtime.run_pod_sandbox(request)).await;
    let sandbox_id = result
        .map_err(|status| client.failed("RunPodSandbox", status))?
        .into_inner()
        .pod_sandbox_id;
    let request = cri::CreateContainerRequest {
        pod_sandbox_id: sandbox_id.clone(),
        config: Some(specifications.container(name, "sleeper", network)),
        sandbox_config: Some(sandbox_config),
    };
    let (result, created) = timed(client.runtime.create_container(request)).await;
    let container_id = result
        .map_err(|status| client.failed("CreateContainer", status))?
        .into_inner()
        .container_id;
    let request = cri::StartContainerRequest {
        container_id: container_id.clone(),
    };
    let (result, started) = timed(client.runtime.start_container(request)).await;
    result.map_err(|status| client.failed("StartContainer", status))?;
    times.extend([
        (Call::RunPodSandbox, ran),
        (Call::CreateContainer, created),
        (Call::StartContainer, started),
        (Call::PodReady, ran + created + started),
    ]);
    Ok(Pod {
        sandbox_id,
        container_id,
    })
}

/// Runs `true` in the container once and asks for its status.
pub(crate) async fn ask(
    client: &mut Client,
    pod: &Pod,
    times: &mut Times,
) -> Result<(), BenchError> {
    let request = cri::ExecSyncRequest {
        container_id: pod.container_id.clone(),
        cmd: vec!["true".to_owned()],
        timeout: 60,
    };
    let (result, executed) = timed(client.runtime.exec_sync(request)).await;
    let exit_code = result
        .map_err(|status| client.failed("ExecSync", status))?
        .into_inner()
        .exit_code;
    if exit_code != 0 {
        return Err(BenchError::Exec {
            endpoint: client.name.clone(),
            exit_code,
        });
    }
    let request = cri::ContainerStatusRequest {
        container_id: pod.container_id.clone(),
        verbose: false,
    };
    let (result, asked) = timed(client.runtime.container_status(request)).await;
    result.map_err(|status| client.failed("ContainerStatus", status))?;
    times.extend([(Call::ExecSync, executed), (Call::ContainerStatus, asked)]);
    Ok(())
}

/// Stops and removes the pod and its container, one call after the other.
pub(crate) async fn down(
    client: &mut Client,
    pod: &Pod,
    times: &mut Times,
) -> Result<(), BenchError> {
    let container_id = pod.container_id.clone();
    let pod_sandbox_id = pod.sandbox_id.clone();
    let request = cri::StopContainerRequest {
        container_id: container_id.clone(),
        timeout: 0,
    };
    let (result, took) = timed(client.runtime.stop_container(request)).await;
    result.map_err(|status| client.failed("StopContainer", status))?;
    times.push((Call::StopContainer, took));
    let request = cri::RemoveContainerRequest { container_id };
    let (result, took) = timed(client.runtime.remove_container(request)).await;
    result.map_err(|status| client.failed("RemoveContainer", status))?;
    times.push((Call::RemoveContainer, took));
    let request = cri::StopPodSandboxRequest {
        pod_sandbox_id: pod_sandbox_id.clone(),
    };
    let (result, took) = timed(client.runtime.stop_pod_sandbox(request)).await;
    result.map_err(|status| client.failed("StopPodSandbox", status))?;
    times.push((Call::StopPodSandbox, took));
    let request = cri::RemovePodSandboxRequest { pod_sandbox_id };
    let (result, took) = timed(client.runtime.remove_pod_sandbox(request)).await;
    result.map_err(|status| client.failed("RemovePodSandbox", status))?;
    times.push((Call::RemovePodSandbox, took));
    Ok(())
}

/// A whole life: up, three execs, down.
pub(crate) async fn whole(
    client: &mut Client,
    specifications: &Specifications,
    name: &str,
    network: Network,
) -> Result<Times, BenchError> {
    let mut times = Times::new();
    let start = std::time::Instant::now();
    let pod = up(client, specifications, name, network, &mut times).await?;
    for _ in 0..3 {
        ask(client, &pod, &mut times).await?;
    }
    down(client, &pod, &mut times).await?;
    times.push((Call::WholeLife, start.elapsed()));
    let (result, took) = timed(client.runtime.version(cri::VersionRequest::default())).await;
    result.map_err(|status| client.failed("Version", status))?;
    times.push((Call::Version, took));
    Ok(times)
}

/// Removes everything that a run may have left on an endpoint, as after an error or Ctrl-C.
pub(crate) async fn sweep(
    client: &mut Client,
    specifications: &Specifications,
) -> Result<(), BenchError> {
    let request = cri::ListPodSandboxRequest {
        filter: Some(cri::PodSandboxFilter {
            label_selector: specifications.selector(),
            ..Default::default()
        }),
    };
    let left = client
        .runtime
        .list_pod_sandbox(request)
        .await
        .map_err(|status| client.failed("ListPodSandbox", status))?
        .into_inner()
        .items;
    for sandbox in left {
        let request = cri::StopPodSandboxRequest {
            pod_sandbox_id: sandbox.id.clone(),
        };
        client
            .runtime
            .stop_pod_sandbox(request)
            .await
            .map_err(|status| client.failed("StopPodSandbox", status))?;
        let request = cri::RemovePodSandboxRequest {
            pod_sandbox_id: sandbox.id,
        };
        client
            .runtime
            .remove_pod_sandbox(request)
            .await
            .map_err(|status| client.failed("RemovePodSandbox", status))?;
    }
    Ok(())
}
