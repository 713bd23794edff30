//! Removing the images that nobody uses.

use std::time::Duration;

use super::{Client, ClientError, call};
use crate::cri::wire::carpel::PruneImagesRequest;
use crate::cri::wire::carpel::admin_client::AdminClient;

/// What to remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prune {
    /// Images that have a tag, too.
    pub tagged_too: bool,
    /// Only tell what would go.
    pub dry_run: bool,
    /// Only images that no pull has touched for so long.
    pub unchanged_for: Duration,
}

/// What was, or would be, removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The images.
    pub images: Vec<PrunedImage>,
    /// Disk space.
    pub freed_bytes: u64,
}

/// An image that was, or would be, removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedImage {
    /// Its id.
    pub id: String,
    /// Its tags.
    pub repo_tags: Vec<String>,
    /// Its digests.
    pub repo_digests: Vec<String>,
    /// Compressed bytes.
    pub size_bytes: u64,
}

impl Client {
    /// Removes unused images.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn prune_images(&self, prune: &Prune) -> Result<Pruned, ClientError> {
        let request = PruneImagesRequest {
            tagged_too: prune.tagged_too,
            dry_run: prune.dry_run,
            unchanged_for_seconds: prune.unchanged_for.as_secs(),
        };
        let mut client = AdminClient::new(self.channel.clone());
        let answer = client.prune_images(request).await;
        let answer = answer.map_err(call("PruneImages"))?.into_inner();
        Ok(Pruned {
            images: answer
                .images
                .into_iter()
                .map(|image| PrunedImage {
                    id: image.id,
                    repo_tags: image.repo_tags,
                    repo_digests: image.repo_digests,
                    size_bytes: image.size_bytes,
                })
                .collect(),
            freed_bytes: answer.freed_bytes,
        })
    }
}
