//! Checking that the store holds what it says, and repairing it.
//!
//! Three things are checked: the record of each image, the digest of each blob, and each unpacked layer against its
//! archive. One after another and never writing, so that a node that works is not disturbed; a layer is compared only
//! with a blob whose digest is right. A repair fetches a blob anew from where the image came, and unpacks a layer
//! beside the broken one, which takes the other's place at once: containers that run keep the files they have.

mod check;
mod finding;
mod layers;
mod records;
mod repair;
mod report;
mod start;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use oci_spec::image::Digest;
use tokio::sync::mpsc;

pub use finding::{
    Finding, Outcome, Progress, Repair, Subject, Summary, VerifyEvent, VerifyRequest,
};

use report::Report;

use super::error::Failure;
use super::images::Inner;
use super::{Image, ImageError};

/// Checks images, or everything if none is named.
pub(super) async fn verify(
    inner: &Arc<Inner>,
    request: VerifyRequest,
    events: mpsc::Sender<VerifyEvent>,
) -> Result<Summary, ImageError> {
    let images = selected(inner, &request.references)?;
    let mut blobs: BTreeSet<String> = BTreeSet::new();
    let mut holds = Vec::new();
    for image in &images {
        for digest in image.blobs.iter().chain(&image.chain_ids) {
            holds.push(inner.state.hold(digest));
        }
        blobs.extend(image.blobs.iter().map(ToString::to_string));
    }
    let strangers = match request.references.is_empty() {
        true => strangers(inner, &blobs)?,
        false => Vec::new(),
    };
    // Every blob is read once for its digest, and those of layers once more to compare the layer.
    let known = blobs.iter().filter_map(|text| text.parse::<Digest>().ok());
    let bytes = known
        .filter_map(|digest| inner.content.size(&digest))
        .sum::<u64>()
        * 2;
    let stray = strangers
        .iter()
        .filter_map(|digest| inner.content.size(digest));
    let report = Arc::new(Report::new(events, bytes + stray.sum::<u64>()));
    let mut checker = check::Checker::new(Arc::clone(inner), request.repair, report);
    for image in &images {
        checker.image(image).await?;
    }
    for digest in strangers {
        checker.stranger(digest).await?;
    }
    if request.references.is_empty() {
        checker.layers_without_image(&images).await?;
    }
    drop(holds);
    Ok(checker.finish())
}

fn selected(inner: &Inner, references: &[String]) -> Result<Vec<Arc<Image>>, ImageError> {
    let table = inner.state.lock();
    if references.is_empty() {
        return Ok(table.images.values().cloned().collect());
    }
    let mut images: Vec<Arc<Image>> = Vec::new();
    for reference in references {
        let image = table.find(reference).ok_or_else(|| Failure::NotFound {
            reference: reference.clone(),
        })?;
        if !images.iter().any(|known| known.id == image.id) {
            images.push(Arc::clone(image));
        }
    }
    Ok(images)
}

/// Blobs that belong to no image: those of a pull that runs, and what the next collection takes.
fn strangers(inner: &Inner, known: &BTreeSet<String>) -> Result<Vec<Digest>, ImageError> {
    let mut digests = inner.content.digests()?;
    digests.retain(|digest| !known.contains(digest.as_ref()));
    Ok(digests)
}
