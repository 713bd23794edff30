//! Sending an archive to the daemon.

use std::io;

use bytes::BytesMut;
use futures_util::stream;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Client, ClientError, call};
use crate::cri::wire::carpel::admin_client::AdminClient;
use crate::cri::wire::carpel::import_image_request::Part;
use crate::cri::wire::carpel::{ImportImageOptions, ImportImageRequest};

/// How much of an archive is sent in one message.
const CHUNK_BYTES: usize = 256 * 1024;

/// An archive to import.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Archive {
    /// How messages call it.
    pub file_name: String,
    /// The name for an image that has none in the archive.
    pub reference: Option<String>,
    /// How many bytes will come.
    pub length_bytes: u64,
}

/// An image that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The digest of its configuration.
    pub id: String,
    /// The tags that it now has.
    pub repo_tags: Vec<String>,
}

impl Client {
    /// Sends an archive; `progress` is told how many bytes have been read so far.
    ///
    /// # Errors
    /// `Read` if the archive cannot be read, `Call` if the daemon refuses it.
    pub async fn import_image(
        &self,
        archive: Archive,
        source: impl AsyncRead + Send + Unpin + 'static,
        progress: impl FnMut(u64) + Send + 'static,
    ) -> Result<Vec<Imported>, ClientError> {
        let options = ImportImageOptions {
            file_name: archive.file_name,
            reference: archive.reference.unwrap_or_default(),
            length_bytes: archive.length_bytes,
        };
        let (failed, failure) = tokio::sync::oneshot::channel();
        let sender = Sender {
            options: Some(options),
            source,
            progress,
            sent: 0,
            failed: Some(failed),
        };
        let messages = stream::unfold(sender, Sender::next);
        let mut client = AdminClient::new(self.channel.clone());
        let answer = client.import_image(messages).await;
        // A source that cannot be read ends the stream early, which the daemon refuses: the cause is the one to tell.
        match (failure.await, answer) {
            (Ok(source), _) => Err(ClientError::Read { source }),
            (Err(_none), Err(status)) => Err(call("ImportImage")(status)),
            (Err(_none), Ok(answer)) => Ok(answer
                .into_inner()
                .images
                .into_iter()
                .map(|image| Imported {
                    id: image.id,
                    repo_tags: image.repo_tags,
                })
                .collect()),
        }
    }
}

/// The messages of an import.
struct Sender<S, F> {
    /// Until they are sent.
    options: Option<ImportImageOptions>,
    source: S,
    progress: F,
    sent: u64,
    /// Where a failure of the source goes.
    failed: Option<tokio::sync::oneshot::Sender<io::Error>>,
}

impl<S: AsyncRead + Unpin, F: FnMut(u64)> Sender<S, F> {
    async fn next(mut self) -> Option<(ImportImageRequest, Self)> {
        if let Some(options) = self.options.take() {
            let part = Some(Part::Options(options));
            return Some((ImportImageRequest { part }, self));
        }
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        match self.source.read_buf(&mut chunk).await {
            Ok(0) => None,
            Ok(read) => {
                self.sent += u64::try_from(read).unwrap_or_default();
                (self.progress)(self.sent);
                let part = Some(Part::Chunk(chunk.freeze()));
                Some((ImportImageRequest { part }, self))
            }
            Err(error) => {
                if let Some(failed) = self.failed.take() {
                    // Whoever waited may be gone; then nobody wants to know.
                    failed.send(error).unwrap_or_default();
                }
                None
            }
        }
    }
}
