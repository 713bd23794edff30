//! The small blobs that signatures are kept in.

use oci_spec::image::{Descriptor, ImageManifest};
use sha2::{Digest as _, Sha256};

use super::error::Problem;
use crate::registry::{RegistryError, Session};

/// The largest payload or bundle that is read; a bundle with proofs of a log has some 10 KiB.
const BYTES_MAX: usize = 1024 * 1024;

/// As many signatures of one image as are looked at.
pub(super) const SIGNATURES_MAX: usize = 64;

/// The layers of an artifact's manifest.
pub(super) fn layers(bytes: &[u8]) -> Result<Vec<Descriptor>, Problem> {
    let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(Problem::Parse)?;
    Ok(manifest.layers().clone())
}

/// The bytes of a small blob, whose digest is compared.
pub(super) async fn small(
    session: &Session,
    descriptor: &Descriptor,
) -> Result<Result<Vec<u8>, Problem>, RegistryError> {
    let mut stream = session.blob(descriptor.digest(), Some(descriptor.size()));
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > BYTES_MAX {
            return Ok(Err(Problem::Form("its length")));
        }
    }
    let hash = Sha256::digest(&bytes);
    let found = hash.iter().fold(String::from("sha256:"), |text, byte| {
        format!("{text}{byte:02x}")
    });
    Ok(match found == descriptor.digest().to_string() {
        true => Ok(bytes),
        false => Err(Problem::Form("its digest")),
    })
}
