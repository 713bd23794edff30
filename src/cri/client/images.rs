//! What the daemon tells of one image, and removing it.

use serde_json::Value;

use super::{Client, ClientError, ContainerSummary, ImageSummary, call};
use crate::cri::wire::runtime as wire;

/// Everything that the daemon tells of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageDetails {
    /// As in a list.
    pub summary: ImageSummary,
    /// `info` of a verbose ImageStatus: `imageSpec`, `manifestDigest`, `layers`, `chainID`.
    pub info: Value,
}

impl ImageSummary {
    /// All names: tags and digests.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.repo_tags.iter().chain(&self.repo_digests);
        names.map(String::as_str)
    }
}

impl Client {
    /// The image that a tag, digest or id names; `None` if it is not here.
    ///
    /// # Errors
    /// `Call` if the daemon refuses, `Answer` if it is another program's.
    pub async fn image_status(&self, reference: &str) -> Result<Option<ImageDetails>, ClientError> {
        const CALL: &str = "ImageStatus";
        let request = wire::ImageStatusRequest {
            image: specification(reference),
            verbose: true,
        };
        let answer = self.image().image_status(request).await;
        let answer = answer.map_err(call(CALL))?.into_inner();
        let Some(image) = answer.image else {
            return Ok(None);
        };
        let text = answer.info.get("info").map_or("{}", String::as_str);
        let info = serde_json::from_str(text);
        Ok(Some(ImageDetails {
            summary: summary(image),
            info: info.map_err(|source| ClientError::Answer { call: CALL, source })?,
        }))
    }

    /// Removes an image with all its names.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn remove_image(&self, reference: &str) -> Result<(), ClientError> {
        let request = wire::RemoveImageRequest {
            image: specification(reference),
        };
        let answer = self.image().remove_image(request).await;
        answer.map_err(call("RemoveImage"))?;
        Ok(())
    }

    /// The containers that were made from an image, by its id.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn containers_of(
        &self,
        image_id: &str,
    ) -> Result<Vec<ContainerSummary>, ClientError> {
        let containers = self.containers().await?;
        Ok(containers
            .into_iter()
            .filter(|container| container.image_id == image_id)
            .collect())
    }
}

pub(super) fn summary(image: wire::Image) -> ImageSummary {
    ImageSummary {
        id: image.id,
        repo_tags: image.repo_tags,
        repo_digests: image.repo_digests,
        size_bytes: image.size,
        is_pinned: image.pinned,
    }
}

fn specification(reference: &str) -> Option<wire::ImageSpec> {
    Some(wire::ImageSpec {
        image: reference.to_owned(),
        ..wire::ImageSpec::default()
    })
}
