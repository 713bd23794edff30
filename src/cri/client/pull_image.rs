//! Pulling an image through the daemon, with news of how far it is.

use std::fmt;

use super::{Client, ClientError, ImageSummary, call};
use crate::cri::wire::carpel::admin_client::AdminClient;
use crate::cri::wire::carpel::pull_image_event::Event;
use crate::cri::wire::carpel::{LayerProgress, LayerState, PullImageRequest};

/// An image to pull.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Pull {
    /// Its name.
    pub reference: String,
    /// Whom the registry lets in; empty for whoever comes.
    pub username: String,
    /// With which word.
    pub password: String,
}

impl fmt::Debug for Pull {
    /// Shows what is pulled, and not with which password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pull")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

/// Where one layer of a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PulledLayerState {
    /// For its turn.
    Waiting,
    /// Bytes come in, and are unpacked as they do.
    Downloading,
    /// All bytes are there.
    Unpacking,
    /// Unpacked, and durable.
    Done,
}

/// One layer of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledLayer {
    /// Of the blob.
    pub digest: String,
    /// Where it is.
    pub state: PulledLayerState,
    /// Bytes of the blob that have come.
    pub received_bytes: u64,
    /// Bytes of the blob.
    pub size_bytes: u64,
}

impl Client {
    /// Pulls, or joins a pull of the same; `progress` is told of all layers, bottom first, whenever something changes.
    ///
    /// # Errors
    /// `Call` if the daemon or the registry refuses.
    pub async fn pull_image(
        &self,
        pull: Pull,
        mut progress: impl FnMut(&[PulledLayer]),
    ) -> Result<ImageSummary, ClientError> {
        let request = PullImageRequest {
            reference: pull.reference,
            username: pull.username,
            password: pull.password,
        };
        let mut client = AdminClient::new(self.channel.clone());
        let answer = client.pull_image(request).await;
        let mut events = answer.map_err(call("PullImage"))?.into_inner();
        while let Some(event) = events.message().await.map_err(call("PullImage"))? {
            match event.event {
                Some(Event::Image(image)) => {
                    return Ok(ImageSummary {
                        id: image.id,
                        repo_tags: image.repo_tags,
                        repo_digests: image.repo_digests,
                        size_bytes: image.size_bytes,
                        is_pinned: false,
                    });
                }
                Some(Event::Progress(news)) => {
                    progress(&news.layers.into_iter().map(layer).collect::<Vec<_>>());
                }
                // Of a newer daemon.
                None => {}
            }
        }
        Err(call("PullImage")(tonic::Status::unavailable(
            "the daemon ended the stream before the pull was over",
        )))
    }
}

fn layer(layer: LayerProgress) -> PulledLayer {
    PulledLayer {
        state: match layer.state() {
            LayerState::Waiting => PulledLayerState::Waiting,
            LayerState::Downloading => PulledLayerState::Downloading,
            LayerState::Unpacking => PulledLayerState::Unpacking,
            LayerState::Done => PulledLayerState::Done,
        },
        digest: layer.digest,
        received_bytes: layer.received_bytes,
        size_bytes: layer.size_bytes,
    }
}
