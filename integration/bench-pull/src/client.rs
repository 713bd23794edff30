//! A connection to one CRI endpoint, with the calls that are needed here.

use std::time::{Duration, Instant};

use carpel_bench_endpoint::Connection;
use tonic::transport::Channel;

use super::arguments::Address;
use super::error::BenchError;
use crate::runtime_v1 as cri;
use cri::image_service_client::ImageServiceClient;

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
        let connection = Connection::open(&address.socket).await?;
        let no_peer = || BenchError::NoPeer {
            socket: address.socket.clone(),
        };
        Ok(Self {
            name: address.name.clone(),
            image: ImageServiceClient::new(connection.channel),
            daemon_pid: connection.daemon_pid.ok_or_else(no_peer)?,
            runtime: format!("{} {}", connection.runtime_name, connection.runtime_version),
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
