//! A connection to one CRI endpoint, with every call that is timed. A call that fails names itself.

use std::path::Path;
use std::time::{Duration, Instant};

use carpel_bench_endpoint::Connection;
use tonic::transport::Channel;

use super::error::BenchError;
use crate::runtime_v1 as cri;
use cri::image_service_client::ImageServiceClient;
use cri::runtime_service_client::RuntimeServiceClient;

/// As the kubelet has it: 16 MiB.
const LARGEST_MESSAGE_BYTES: usize = 16 << 20;

/// A connection to one endpoint. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) runtime: RuntimeServiceClient<Channel>,
    pub(crate) image: ImageServiceClient<Channel>,
    /// Who listens on the socket.
    pub(crate) daemon_pid: Option<i32>,
    /// What the runtime calls itself.
    pub(crate) runtime_name: String,
    pub(crate) runtime_version: String,
}

impl Client {
    /// Connects, and asks for the version. An empty name becomes the runtime's own.
    pub(crate) async fn connect(name: &str, socket: &Path) -> Result<Self, BenchError> {
        let connection = Connection::open(socket).await?;
        let channel = connection.channel;
        Ok(Self {
            name: match name {
                "" => connection.runtime_name.clone(),
                name => name.to_owned(),
            },
            runtime: RuntimeServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST_MESSAGE_BYTES),
            image: ImageServiceClient::new(channel)
                .max_decoding_message_size(LARGEST_MESSAGE_BYTES),
            daemon_pid: connection.daemon_pid,
            runtime_name: connection.runtime_name,
            runtime_version: connection.runtime_version,
        })
    }

    /// Makes sure that the endpoint has the image: pulls it if not.
    pub(crate) async fn ensure_image(&mut self, reference: &str) -> Result<(), BenchError> {
        let image = cri::ImageSpec {
            image: reference.to_owned(),
            ..Default::default()
        };
        let status = self
            .image
            .image_status(cri::ImageStatusRequest {
                image: Some(image.clone()),
                ..Default::default()
            })
            .await
            .map_err(|status| self.failed("ImageStatus", status))?;
        if status.into_inner().image.is_none() {
            self.image
                .pull_image(cri::PullImageRequest {
                    image: Some(image),
                    ..Default::default()
                })
                .await
                .map_err(|status| self.failed("PullImage", status))?;
        }
        Ok(())
    }

    /// The error of a call of this endpoint.
    pub(crate) fn failed(&self, call: &'static str, status: tonic::Status) -> BenchError {
        BenchError::Call {
            endpoint: self.name.clone(),
            call,
            source: Box::new(status),
        }
    }
}

/// Awaits a call and says how long it took.
pub(crate) async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    let result = call.await;
    (result, start.elapsed())
}
