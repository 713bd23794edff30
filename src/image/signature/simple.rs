//! cosign's older form: an artifact under the tag `sha256-<hex>.sig`, each layer of which is a payload with its
//! signature in an annotation (cosign, specs/SIGNATURE_SPEC.md).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_spec::image::Descriptor;
use serde::Deserialize;

use super::error::Problem;
use super::fetch::{self, SIGNATURES_MAX};
use super::{Claim, identity};
use crate::registry::{RegistryError, Session};

/// Where the signature of a payload is.
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// What a payload says that it is.
const PAYLOAD_TYPE: &str = "cosign container image signature";

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: Identity,
    image: SignedImage,
    r#type: String,
}

#[derive(Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference")]
    docker_reference: String,
}

#[derive(Deserialize)]
struct SignedImage {
    #[serde(rename = "docker-manifest-digest")]
    docker_manifest_digest: String,
}

/// What comes of each signature.
pub(super) async fn find(
    session: &Session,
    claim: &Claim<'_>,
) -> Result<Vec<Result<(), Problem>>, RegistryError> {
    let digest = claim.digest;
    let tag = format!("{}-{}.sig", digest.algorithm(), digest.digest());
    let manifest = session.manifest_by_tag(&tag).await?;
    let layers = match fetch::layers(&manifest.bytes) {
        Ok(layers) => layers,
        Err(problem) => return Ok(vec![Err(problem)]),
    };
    let mut outcomes = Vec::new();
    for layer in layers.iter().take(SIGNATURES_MAX) {
        let outcome = match fetch::small(session, layer).await? {
            Ok(payload) => check(claim, layer, &payload),
            Err(problem) => Err(problem),
        };
        let is_good = outcome.is_ok();
        outcomes.push(outcome);
        if is_good {
            break;
        }
    }
    Ok(outcomes)
}

/// The signature first: nothing of a payload is believed, or parsed, before.
fn check(claim: &Claim<'_>, layer: &Descriptor, payload: &[u8]) -> Result<(), Problem> {
    let annotations = layer.annotations().as_ref();
    let signature = annotations
        .and_then(|annotations| annotations.get(ANNOTATION))
        .and_then(|text| STANDARD.decode(text).ok())
        .ok_or(Problem::Form("the annotation with the signature"))?;
    claim.scope.check(payload, &signature)?;
    let payload: Payload = serde_json::from_slice(payload).map_err(Problem::Parse)?;
    let critical = payload.critical;
    if critical.r#type != PAYLOAD_TYPE {
        let found = critical.r#type;
        return Err(Problem::Type { found });
    }
    let found = critical.image.docker_manifest_digest;
    if found != claim.digest.to_string() {
        return Err(Problem::Digest { found });
    }
    identity::check(claim, &critical.identity.docker_reference)
}
