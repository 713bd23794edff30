//! An image, as it is kept in memory, and its record on disk.

use oci_spec::image::{Digest, ImageConfiguration};
use serde::{Deserialize, Serialize};

use crate::snapshot::ChainId;

/// An image that is here, whole: all its layers are unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest of the configuration, `sha256:…`; of the manifest for an artifact.
    pub id: String,
    /// Whether it can be run.
    pub kind: ImageKind,
    /// `registry/repository:tag`, sorted.
    pub repo_tags: Vec<String>,
    /// `registry/repository@digest`, sorted; the digest is that of what the reference named, an index if it was one.
    pub repo_digests: Vec<String>,
    /// Compressed bytes of layers, configuration and manifest.
    pub size: u64,
    /// The configuration, without its history.
    pub config: ImageConfiguration,
    /// The chain of each layer, bottom first; the last one is the image's own.
    pub chain_ids: Vec<ChainId>,
    /// Whether the configuration of Carpel asks to keep it.
    pub pinned: bool,
    /// The digest of the manifest for this host.
    pub manifest_digest: Digest,
    /// The blobs that belong to it: index, manifest, configuration, layers.
    pub(super) blobs: Vec<Digest>,
}

/// What an image is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// A container can be made of it.
    #[default]
    Image,
    /// It has no configuration to run it by: it can only be mounted.
    Artifact,
}

/// `images/<hex>.json`; `docs/state-on-disk.md` describes it. The configuration is read from its blob.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) version: u32,
    pub(super) id: Digest,
    #[serde(default)]
    pub(super) kind: ImageKind,
    pub(super) repo_tags: Vec<String>,
    pub(super) repo_digests: Vec<String>,
    pub(super) size: u64,
    pub(super) chain_ids: Vec<ChainId>,
    pub(super) manifest_digest: Digest,
    pub(super) blobs: Vec<Digest>,
}

/// The version of [`Record`] that is written and read.
pub(super) const RECORD_VERSION: u32 = 1;

impl Image {
    /// What is written to disk; `id` is the parsed [`Image::id`].
    pub(super) fn record(&self, id: Digest) -> Record {
        Record {
            version: RECORD_VERSION,
            id,
            kind: self.kind,
            repo_tags: self.repo_tags.clone(),
            repo_digests: self.repo_digests.clone(),
            size: self.size,
            chain_ids: self.chain_ids.clone(),
            manifest_digest: self.manifest_digest.clone(),
            blobs: self.blobs.clone(),
        }
    }
}

impl Record {
    /// The image of this record.
    pub(super) fn into_image(self, config: ImageConfiguration) -> Image {
        Image {
            id: self.id.to_string(),
            kind: self.kind,
            repo_tags: self.repo_tags,
            repo_digests: self.repo_digests,
            size: self.size,
            config,
            chain_ids: self.chain_ids,
            pinned: false,
            manifest_digest: self.manifest_digest,
            blobs: self.blobs,
        }
    }
}
