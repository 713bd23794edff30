//! The readers of `src/image`, built into the targets without the daemon; what they name of it is made here.
#![allow(
    dead_code,
    reason = "each target uses a part, and nobody reads the errors"
)]

use oci_spec::distribution::ParseError;
use oci_spec::image::Digest;

use error::Failure;

#[path = "../../../src/image/manifest.rs"]
mod manifest;
#[path = "../../../src/image/reference.rs"]
mod reference;

/// Why a document or a reference is refused.
#[derive(Debug)]
pub struct ImageError(Failure);

impl From<Failure> for ImageError {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

mod error {
    use super::{Digest, ParseError};

    /// The failures of `src/image/error.rs` that the readers know.
    #[derive(Debug)]
    pub(super) enum Failure {
        Reference {
            reference: String,
            source: ParseError,
        },
        Parse {
            what: &'static str,
            digest: Digest,
            source: serde_json::Error,
        },
        Unusable {
            what: &'static str,
            digest: Digest,
            problem: &'static str,
        },
        NoPlatform {
            digest: Digest,
            architecture: &'static str,
        },
    }
}

/// The full form of a reference, if it is one.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let name = reference::Name::parse(text).ok()?;
    Some(name.canonical())
}

/// The chain ids of the image that a manifest and a configuration describe; none of an index, or if either is broken.
pub(crate) fn chain_ids(manifest: &[u8], configuration: &[u8]) -> Vec<String> {
    let Some(digest) = manifest::digest_of(configuration) else {
        return Vec::new();
    };
    let configuration = manifest::configuration(&digest, configuration);
    let layers = match manifest::parse(&digest, manifest) {
        Ok(manifest::Document::Index(index)) => {
            // Whether there is one for this host says nothing about the reader.
            return match manifest::select(&digest, index.manifests()) {
                Ok(_) | Err(_) => Vec::new(),
            };
        }
        Ok(manifest::Document::Manifest(manifest)) => configuration
            .and_then(|configuration| manifest::layers(&manifest, &configuration))
            .unwrap_or_default(),
        Err(_broken) => return Vec::new(),
    };
    layers
        .iter()
        .map(|layer| layer.chain_id.to_string())
        .collect()
}
