//! The calls of the demo, each with its name in its error. The client is the one that tonic generates.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::runtime_v1 as cri;
use cri::runtime_service_client::RuntimeServiceClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::error::DemoError;

#[derive(Debug, Clone)]
pub(crate) struct Client(RuntimeServiceClient<Channel>);

/// Awaits a call, names it in its error, and unwraps the answer.
async fn call<T>(
    name: &'static str,
    answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, DemoError> {
    match answer.await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => Err(DemoError::Call {
            call: name,
            source: Box::new(status),
        }),
    }
}

impl Client {
    pub(crate) async fn connect(socket: &Path) -> Result<Self, DemoError> {
        let socket = socket.to_owned();
        let channel = Endpoint::from_static("http://localhost")
            .connect_timeout(Duration::from_secs(5))
            .connect_with_connector(tower::service_fn(move |_: Uri| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            }))
            .await
            .map_err(DemoError::Connect)?;
        Ok(Self(RuntimeServiceClient::new(channel)))
    }

    pub(crate) async fn version(&mut self) -> Result<cri::VersionResponse, DemoError> {
        let request = cri::VersionRequest::default();
        call("Version", self.0.version(request)).await
    }

    pub(crate) async fn run_sandbox(
        &mut self,
        config: cri::PodSandboxConfig,
    ) -> Result<String, DemoError> {
        let request = cri::RunPodSandboxRequest {
            config: Some(config),
            ..Default::default()
        };
        let answer = call("RunPodSandbox", self.0.run_pod_sandbox(request)).await?;
        Ok(answer.pod_sandbox_id)
    }

    pub(crate) async fn create(
        &mut self,
        sandbox_id: &str,
        sandbox: cri::PodSandboxConfig,
        config: cri::ContainerConfig,
    ) -> Result<String, DemoError> {
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: sandbox_id.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox),
        };
        let answer = call("CreateContainer", self.0.create_container(request)).await?;
        Ok(answer.container_id)
    }

    pub(crate) async fn start(&mut self, container_id: &str) -> Result<(), DemoError> {
        let request = cri::StartContainerRequest {
            container_id: container_id.to_owned(),
        };
        call("StartContainer", self.0.start_container(request)).await?;
        Ok(())
    }

    /// Runs a command in a container; its stdout and how long it took.
    pub(crate) async fn exec(
        &mut self,
        container_id: &str,
        command: &[&str],
    ) -> Result<(String, Duration), DemoError> {
        let request = cri::ExecSyncRequest {
            container_id: container_id.to_owned(),
            cmd: command.iter().map(|word| (*word).to_owned()).collect(),
            timeout: 30,
        };
        let start = Instant::now();
        let answer = call("ExecSync", self.0.exec_sync(request)).await?;
        let output = String::from_utf8_lossy(&answer.stdout).into_owned();
        Ok((output, start.elapsed()))
    }

    pub(crate) async fn sandbox_status(
        &mut self,
        id: &str,
    ) -> Result<cri::PodSandboxStatus, DemoError> {
        let request = cri::PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: false,
        };
        let answer = call("PodSandboxStatus", self.0.pod_sandbox_status(request)).await?;
        Ok(answer.status.unwrap_or_default())
    }

    pub(crate) async fn container_status(
        &mut self,
        id: &str,
    ) -> Result<cri::ContainerStatus, DemoError> {
        let request = cri::ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: false,
        };
        let answer = call("ContainerStatus", self.0.container_status(request)).await?;
        Ok(answer.status.unwrap_or_default())
    }

    pub(crate) async fn stop(&mut self, id: &str, timeout_seconds: i64) -> Result<(), DemoError> {
        let request = cri::StopContainerRequest {
            container_id: id.to_owned(),
            timeout: timeout_seconds,
        };
        call("StopContainer", self.0.stop_container(request)).await?;
        Ok(())
    }

    pub(crate) async fn remove(&mut self, id: &str) -> Result<(), DemoError> {
        let request = cri::RemoveContainerRequest {
            container_id: id.to_owned(),
        };
        call("RemoveContainer", self.0.remove_container(request)).await?;
        Ok(())
    }

    pub(crate) async fn stop_sandbox(&mut self, id: &str) -> Result<(), DemoError> {
        let request = cri::StopPodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        call("StopPodSandbox", self.0.stop_pod_sandbox(request)).await?;
        Ok(())
    }

    pub(crate) async fn remove_sandbox(&mut self, id: &str) -> Result<(), DemoError> {
        let request = cri::RemovePodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        call("RemovePodSandbox", self.0.remove_pod_sandbox(request)).await?;
        Ok(())
    }

    /// Ids of all sandboxes: the daemon is the demo's own.
    pub(crate) async fn sandboxes(&mut self) -> Result<Vec<String>, DemoError> {
        let request = cri::ListPodSandboxRequest::default();
        let answer = call("ListPodSandbox", self.0.list_pod_sandbox(request)).await?;
        Ok(answer.items.into_iter().map(|item| item.id).collect())
    }
}
