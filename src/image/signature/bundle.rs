//! cosign's newer form: a sigstore bundle that refers to the manifest, with an in-toto statement in a DSSE envelope
//! (sigstore protobuf-specs, Bundle v0.3; DSSE protocol.md; in-toto attestation spec, Statement v1).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::error::Problem;
use super::fetch::{self, SIGNATURES_MAX};
use super::{Claim, identity};
use crate::registry::{RegistryError, Session};

/// The artifact type, and the type of the bundle in it.
const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// A signature of an image. Other statements, such as what it was built from, are made with the same keys and do not
/// say that it may run.
const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";

#[derive(Deserialize)]
struct Bundle {
    #[serde(rename = "dsseEnvelope")]
    envelope: Envelope,
}

#[derive(Deserialize)]
struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    statement_type: String,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    /// Not every signer writes one.
    #[serde(default)]
    name: String,
    digest: BTreeMap<String, String>,
}

/// What comes of each bundle.
pub(super) async fn find(
    session: &Session,
    claim: &Claim<'_>,
) -> Result<Vec<Result<(), Problem>>, RegistryError> {
    let mut outcomes = Vec::new();
    let referrers = session.referrers(claim.digest, Some(BUNDLE_TYPE)).await?;
    for referrer in referrers.iter().take(SIGNATURES_MAX) {
        let manifest = session.manifest_by_digest(referrer.digest()).await?;
        let layers = fetch::layers(&manifest.bytes);
        let layer = layers.map(|layers| layers.into_iter().next());
        let outcome = match layer {
            Err(problem) => Err(problem),
            Ok(None) => Err(Problem::Form("its manifest")),
            Ok(Some(layer)) => match fetch::small(session, &layer).await? {
                Ok(bytes) => check(claim, &bytes),
                Err(problem) => Err(problem),
            },
        };
        let is_good = outcome.is_ok();
        outcomes.push(outcome);
        if is_good {
            break;
        }
    }
    Ok(outcomes)
}

/// The signature first: nothing of a statement is believed, or parsed, before.
fn check(claim: &Claim<'_>, bundle: &[u8]) -> Result<(), Problem> {
    let bundle: Bundle = serde_json::from_slice(bundle).map_err(Problem::Parse)?;
    let envelope = bundle.envelope;
    if envelope.payload_type != PAYLOAD_TYPE {
        let found = envelope.payload_type;
        return Err(Problem::Type { found });
    }
    let decode = |text: &str| {
        let decoded = STANDARD.decode(text);
        decoded.map_err(|_broken| Problem::Form("its base64"))
    };
    let payload = decode(&envelope.payload)?;
    let signed = pre_authentication(&envelope.payload_type, &payload);
    let mut outcome = Err(Problem::Form("an envelope without a signature"));
    for signature in &envelope.signatures {
        outcome = decode(&signature.sig).and_then(|sig| claim.scope.check(&signed, &sig));
        if outcome.is_ok() {
            break;
        }
    }
    outcome?;
    let statement: Statement = serde_json::from_slice(&payload).map_err(Problem::Parse)?;
    for (found, expected) in [
        (statement.statement_type, STATEMENT_TYPE),
        (statement.predicate_type, PREDICATE_TYPE),
    ] {
        if found != expected {
            return Err(Problem::Type { found });
        }
    }
    let is_ours = |subject: &&Subject| {
        let digest = subject.digest.get(claim.digest.algorithm().as_ref());
        digest.is_some_and(|digest| *digest == claim.digest.digest())
    };
    let Some(subject) = statement.subject.iter().find(is_ours) else {
        let digests = statement
            .subject
            .iter()
            .flat_map(|subject| subject.digest.values());
        let found = digests.cloned().collect::<Vec<_>>().join(", ");
        return Err(Problem::Digest { found });
    };
    identity::check_optional(claim, &subject.name)
}

/// What a DSSE signature is over (DSSE protocol.md, PAE).
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}
