//! A client of the daemon's socket for the command line: plain values, no wire types.

mod events;
mod explain_image;
mod export_image;
mod images;
mod import_image;
mod pods;
mod prune_images;
mod pull_image;
mod statistics;
mod streams;
mod verify_images;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};

use super::wire::runtime as wire;
use super::wire::runtime::image_service_client::ImageServiceClient;
use super::wire::runtime::runtime_service_client::RuntimeServiceClient;

pub use events::{EventContainer, EventSandbox, Events, ReportedEvent};
pub use explain_image::{
    ExplainDepth, ExplainRequest, Explained, ExplainedPolicy, ExplainedSource, HostTrust,
    SourceAnswers,
};
pub use export_image::Exported;
pub use images::ImageDetails;
pub use import_image::{Archive, Imported};
pub use pods::{ContainerDetails, ContainerSummary, MountSummary, PodDetails, PodSummary};
pub use prune_images::{Prune, Pruned, PrunedImage};
pub use pull_image::{Pull, PulledLayer, PulledLayerState};
pub use statistics::ContainerUsage;
pub use streams::{CommandOutput, StreamSelection};
pub use verify_images::{Verification, VerifiedStore, VerifyFinding, VerifyProgress, VerifyTarget};

/// Longest answer that is taken.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers at the socket.
    #[error("connect to {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: tonic::transport::Error,
    },
    /// The daemon refused the call, or the connection broke.
    #[error("{call}: {message} ({code:?})")]
    Call {
        /// The call.
        call: &'static str,
        /// The gRPC code.
        code: tonic::Code,
        /// The daemon's message: the whole chain of its error.
        message: String,
    },
    /// The archive cannot be written.
    #[error("write the archive")]
    Write {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The daemon's stream ended before the archive did.
    #[error("the archive ended after {written_bytes} of {length_bytes} bytes")]
    Short {
        /// What was announced.
        length_bytes: u64,
        /// What came.
        written_bytes: u64,
    },
    /// The daemon's answer is not what this program knows.
    #[error("{call}: read the answer")]
    Answer {
        /// The call.
        call: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The archive cannot be read.
    #[error("read the archive")]
    Read {
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Name of the runtime.
    pub runtime_name: String,
    /// Its semantic version.
    pub runtime_version: String,
    /// Version of the CRI: `v1`.
    pub runtime_api_version: String,
}

/// A condition of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// For example `NetworkReady`.
    pub name: String,
    /// Whether it holds.
    pub is_met: bool,
    /// One word, if it does not.
    pub reason: String,
    /// What it takes, if it does not.
    pub message: String,
}

/// The daemon's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeState {
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// Its configuration as JSON under `config`, and facts about the host.
    pub info: BTreeMap<String, String>,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// The digest of its configuration.
    pub id: String,
    /// Its tags.
    pub repo_tags: Vec<String>,
    /// Its digests.
    pub repo_digests: Vec<String>,
    /// Compressed bytes.
    pub size_bytes: u64,
    /// Whether it is kept from garbage collection.
    pub is_pinned: bool,
}

/// A connection to the daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Connects to the socket.
    ///
    /// # Errors
    /// `Connect` if nobody answers there.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let target = path.to_owned();
        let connector = tower::service_fn(move |_uri: Uri| {
            let target = target.clone();
            async move { UnixStream::connect(target).await.map(TokioIo::new) }
        });
        // The authority means nothing on a unix socket; the connector decides where the bytes go.
        let endpoint = Endpoint::from_static("http://localhost");
        let outcome = endpoint.connect_with_connector(connector).await;
        match outcome {
            Ok(channel) => Ok(Self { channel }),
            Err(source) => Err(ClientError::Connect {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Who answers.
    ///
    /// # Errors
    /// `Call` if the daemon refuses, as for all calls.
    pub async fn version(&self) -> Result<Version, ClientError> {
        let request = wire::VersionRequest::default();
        let answer = self.runtime().version(request).await;
        let answer = answer.map_err(call("Version"))?.into_inner();
        Ok(Version {
            runtime_name: answer.runtime_name,
            runtime_version: answer.runtime_version,
            runtime_api_version: answer.runtime_api_version,
        })
    }

    /// The daemon's state, with everything it tells of itself.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn status(&self) -> Result<RuntimeState, ClientError> {
        let request = wire::StatusRequest { verbose: true };
        let answer = self.runtime().status(request).await;
        let answer = answer.map_err(call("Status"))?.into_inner();
        let conditions = answer.status.unwrap_or_default().conditions;
        Ok(RuntimeState {
            conditions: conditions
                .into_iter()
                .map(|condition| Condition {
                    name: condition.r#type,
                    is_met: condition.status,
                    reason: condition.reason,
                    message: condition.message,
                })
                .collect(),
            info: answer.info,
        })
    }

    /// All images.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn list_images(&self) -> Result<Vec<ImageSummary>, ClientError> {
        let request = wire::ListImagesRequest::default();
        let answer = self.image().list_images(request).await;
        let images = answer.map_err(call("ListImages"))?.into_inner().images;
        Ok(images.into_iter().map(images::summary).collect())
    }

    fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    fn image(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }
}

fn call(call: &'static str) -> impl FnOnce(Status) -> ClientError {
    move |status| ClientError::Call {
        call,
        code: status.code(),
        message: status.message().to_owned(),
    }
}
