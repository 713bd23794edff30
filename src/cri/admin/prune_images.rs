//! PruneImages: unused images are removed, or told.

use std::time::Duration;

use tonic::Status;

use crate::cri::status;
use crate::cri::wire::carpel::{PruneImagesRequest, PruneImagesResponse, PrunedImage};
use crate::image::{Images, PruneMode, PruneOptions, PruneScope};

pub(super) async fn prune_images(
    images: &Images,
    request: PruneImagesRequest,
) -> Result<PruneImagesResponse, Status> {
    let options = PruneOptions {
        scope: match request.tagged_too {
            true => PruneScope::All,
            false => PruneScope::Untagged,
        },
        unchanged_for: Duration::from_secs(request.unchanged_for_seconds),
        mode: match request.dry_run {
            true => PruneMode::Tell,
            false => PruneMode::Remove,
        },
    };
    let pruned = images.prune(options).await;
    let pruned = pruned.map_err(|error| status::of_image(&error))?;
    let images = pruned.images.iter();
    Ok(PruneImagesResponse {
        images: images
            .map(|image| PrunedImage {
                id: image.id.clone(),
                repo_tags: image.repo_tags.clone(),
                repo_digests: image.repo_digests.clone(),
                size_bytes: image.size,
            })
            .collect(),
        freed_bytes: pruned.bytes,
    })
}
