//! The calls of the demo, each with its name in its error. The client is the one that tonic generates.

use std::path::Path;
use std::time::Duration;

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
