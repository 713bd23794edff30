//! Asking the daemon to verify its store.

use tonic::Streaming;

use super::{Client, ClientError, call};
use crate::cri::wire::carpel::admin_client::AdminClient;
use crate::cri::wire::carpel::verify_images_response::Event;
use crate::cri::wire::carpel::{VerifyImagesRequest, VerifyImagesResponse};

/// What to verify.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyTarget {
    /// Images by name, digest or id; none means everything in the store.
    pub references: Vec<String>,
    /// Whether what is broken is repaired.
    pub repair: bool,
}

/// What a verification tells next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// How far it is.
    Progress(VerifyProgress),
    /// Something is broken, or was.
    Finding(VerifyFinding),
    /// What came out: nothing follows.
    Done(VerifiedStore),
}

/// How far a verification is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Bytes that were read.
    pub checked_bytes: u64,
    /// An estimate of how many there are.
    pub total_bytes: u64,
    /// What is being checked.
    pub current: String,
}

/// Something that is broken, or was.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct VerifyFinding {
    /// `record`, `blob` or `layer`.
    pub subject: String,
    /// Its digest.
    pub id: String,
    /// An image that it belongs to; empty if to none.
    pub image: String,
    /// What is wrong.
    pub problem: String,
    /// Files of a layer that differ, the first of them.
    pub files: Vec<String>,
    /// Whether it is as it should be now.
    pub repaired: bool,
    /// Why it could not be repaired.
    pub failure: String,
}

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct VerifiedStore {
    /// Images that were checked.
    pub images: u64,
    /// Blobs that were read.
    pub blobs: u64,
    /// Layers that were compared.
    pub layers: u64,
    /// Layers that could not be.
    pub unchecked_layers: u64,
    /// Things that are broken.
    pub broken: u64,
    /// Things that are not any more.
    pub repaired: u64,
}

impl Client {
    /// Verifies images, or everything if none is named; `tell` gets what comes, the summary last.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn verify_images(
        &self,
        target: VerifyTarget,
        mut tell: impl FnMut(Verification),
    ) -> Result<(), ClientError> {
        let mut client = AdminClient::new(self.channel.clone());
        let request = VerifyImagesRequest {
            references: target.references,
            repair: target.repair,
        };
        let answer = client.verify_images(request).await;
        let mut events: Streaming<VerifyImagesResponse> =
            answer.map_err(call("VerifyImages"))?.into_inner();
        while let Some(response) = events.message().await.map_err(call("VerifyImages"))? {
            if let Some(event) = response.event {
                tell(of_event(event));
            }
        }
        Ok(())
    }
}

fn of_event(event: Event) -> Verification {
    match event {
        Event::Progress(progress) => Verification::Progress(VerifyProgress {
            checked_bytes: progress.checked_bytes,
            total_bytes: progress.total_bytes,
            current: progress.current,
        }),
        Event::Finding(finding) => Verification::Finding(VerifyFinding {
            subject: finding.subject,
            id: finding.id,
            image: finding.image,
            problem: finding.problem,
            files: finding.files,
            repaired: finding.repaired,
            failure: finding.failure,
        }),
        Event::Summary(summary) => Verification::Done(VerifiedStore {
            images: summary.images,
            blobs: summary.blobs,
            layers: summary.layers,
            unchecked_layers: summary.unchecked_layers,
            broken: summary.broken,
            repaired: summary.repaired,
        }),
    }
}
