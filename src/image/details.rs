//! What an image's manifest says of its layers, for whoever inspects it.

use oci_spec::image::Digest;

use super::error::Failure;
use super::images::Inner;
use super::manifest::{self, Document};
use super::pull::DOCUMENT_BYTES_MAX;
use super::{Image, ImageError, ImageKind, artifact};
use crate::snapshot::ChainId;

/// What is not kept in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDetails {
    /// Bottom first.
    pub layers: Vec<LayerDetails>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerDetails {
    /// The blob, as it is transported.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// What the manifest calls it.
    pub media_type: String,
    /// The digest of the uncompressed archive; of an artifact, which does not say it, that of the blob.
    pub diff_id: Digest,
    /// The digest of this layer and all below.
    pub chain_id: ChainId,
}

pub(super) fn read(inner: &Inner, image: &Image) -> Result<ImageDetails, ImageError> {
    let digest = &image.manifest_digest;
    let bytes = inner.content.read(digest, DOCUMENT_BYTES_MAX)?;
    let Document::Manifest(document) = manifest::parse(digest, &bytes)? else {
        return Err(Failure::Unusable {
            what: "manifest",
            digest: digest.clone(),
            problem: "it is an index",
        }
        .into());
    };
    let layers = match image.kind {
        ImageKind::Image => manifest::layers(&document, &image.config)?,
        ImageKind::Artifact => artifact::layers(digest, &document)?,
    };
    let described = layers.into_iter().map(|layer| {
        let mut descriptors = document.layers().iter();
        let descriptor = descriptors.find(|descriptor| *descriptor.digest() == layer.blob);
        LayerDetails {
            diff_id: layer.diff_id.unwrap_or_else(|| layer.blob.clone()),
            digest: layer.blob,
            size: layer.size,
            media_type: descriptor.map_or_else(String::new, |descriptor| {
                descriptor.media_type().to_string()
            }),
            chain_id: layer.chain_id,
        }
    });
    Ok(ImageDetails {
        layers: described.collect(),
    })
}
