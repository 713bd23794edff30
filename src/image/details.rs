//! What an image's manifest says of its layers, for whoever inspects it.

use oci_spec::image::Digest;

use super::error::Failure;
use super::images::Inner;
use super::manifest::{self, Document};
use super::pull::DOCUMENT_BYTES_MAX;
use super::{Image, ImageError};
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
    /// The digest of the uncompressed archive.
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
    let layers = manifest::layers(&document, &image.config)?;
    let described = layers
        .into_iter()
        .zip(document.layers())
        .map(|(layer, descriptor)| LayerDetails {
            digest: layer.blob,
            size: layer.size,
            media_type: descriptor.media_type().to_string(),
            diff_id: layer.diff_id,
            chain_id: layer.chain_id,
        });
    Ok(ImageDetails {
        layers: described.collect(),
    })
}
