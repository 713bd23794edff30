//! A connection to one CRI endpoint, with the calls that are needed here.

use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::arguments::Address;
use super::error::BenchError;
use crate::runtime_v1 as cri;
use cri::image_service_client::ImageServiceClient;
use cri::runtime_service_client::RuntimeServiceClient;

/// A connection to one endpoint.
#[derive(Debug)]
pub(crate) struct Client {
    name: String,
    image: ImageServiceClient<Channel>,
    /// Who listens on the socket.
    pub(crate) daemon_pid: i32,
    /// What the runtime calls itself.
    pub(crate) runtime: String,
}

impl Client {
    /// Connects, and asks for the version.
    pub(crate) async fn connect(address: &Address) -> Result<Self, BenchError> {
        let no_peer = || BenchError::NoPeer {
            socket: address.socket.clone(),
        };
        // SO_PEERCRED, unix(7).
        let stream = UnixStream::connect(&address.socket).await;
        let peer = stream.and_then(|stream| stream.peer_cred());
        let peer = peer.map_err(|_refused| no_peer())?;
        let path = address.socket.clone();
        // kubelet and crictl of today say "localhost" too.
        let channel = Endpoint::from_static("http://localhost")
            .connect_with_connector(tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }))
            .await
            .map_err(|source| BenchError::Connect {
                socket: address.socket.clone(),
                source,
            })?;
        let version = RuntimeServiceClient::new(channel.clone())
            .version(cri::VersionRequest::default())
            .await
            .map_err(failed(&address.name, "Version"))?
            .into_inner();
        Ok(Self {
            name: address.name.clone(),
            image: ImageServiceClient::new(channel),
            daemon_pid: peer.pid().ok_or_else(no_peer)?,
            runtime: format!("{} {}", version.runtime_name, version.runtime_version),
        })
    }

    /// Pulls, and says how long it took.
    pub(crate) async fn pull(&mut self, reference: &str) -> Result<Duration, BenchError> {
        let request = cri::PullImageRequest {
            image: Some(spec(reference)),
            ..Default::default()
        };
        let start = Instant::now();
        let outcome = self.image.pull_image(request).await;
        let took = start.elapsed();
        outcome.map_err(failed(&self.name, "PullImage"))?;
        Ok(took)
    }

    /// Removes the image; one that is not there is fine.
    pub(crate) async fn remove(&mut self, reference: &str) -> Result<(), BenchError> {
        let request = cri::RemoveImageRequest {
            image: Some(spec(reference)),
        };
        let outcome = self.image.remove_image(request).await;
        outcome.map_err(failed(&self.name, "RemoveImage"))?;
        Ok(())
    }
}

fn spec(reference: &str) -> cri::ImageSpec {
    cri::ImageSpec {
        image: reference.to_owned(),
        ..Default::default()
    }
}

fn failed(endpoint: &str, call: &'static str) -> impl FnOnce(tonic::Status) -> BenchError {
    let endpoint = endpoint.to_owned();
    move |source| BenchError::Call {
        endpoint,
        call,
        source: Box::new(source),
    }
}
