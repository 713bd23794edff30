//! One pull: reference → manifest → configuration → layers → record.

use std::sync::Arc;

use oci_spec::image::{Digest, ImageConfiguration};

use super::error::Failure;
use super::images::Inner;
use super::layers::{Origin, ensure_layers, refused};
use super::manifest::{self, Document};
use super::progress::PullStage;
use super::reference::Name;
use super::state::Hold;
use super::{Image, ImageError, ImageKind, RegistryAuth, artifact, signature};
use crate::registry::Session;

/// The largest configuration that is accepted; the largest manifest, too.
pub(super) const DOCUMENT_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// An image that is about to be kept, and under which names.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) image: Image,
    pub(super) tag: Option<String>,
    pub(super) repo_digest: Option<String>,
}

pub(super) async fn pull(
    inner: Arc<Inner>,
    name: Name,
    auth: Option<RegistryAuth>,
    stage: &PullStage,
) -> Result<Arc<Image>, ImageError> {
    let requirement = signature::requirement(inner.config.signature_policy.as_deref(), &name)?;
    let reference = name.canonical();
    let session = inner
        .registry
        .session(name.reference(), auth.as_ref())
        .map_err(|source| refused(&reference, source))?;
    let origin = Origin {
        reference,
        session: Some(session.clone()),
    };
    let mut holds = Vec::new();
    let named = resolve(&inner, &origin, &session, &name, &mut holds).await?;
    requirement.verify(&session, &named).await?;
    let repo_digest = Some(name.with_digest(named.as_ref()));
    let tag = name.tagged();
    let image = assemble(&inner, &origin, named, (&mut holds, stage)).await?;
    let arrival = Arrival {
        image,
        tag,
        repo_digest,
    };
    let kept = inner.keep(arrival).await;
    // Only now does the record say that these must stay.
    drop(holds);
    kept
}

/// Gets what the reference names into the store, and returns its digest.
async fn resolve(
    inner: &Arc<Inner>,
    origin: &Origin,
    session: &Session,
    name: &Name,
    holds: &mut Vec<Hold>,
) -> Result<Digest, ImageError> {
    if let Some(digest) = name.digest() {
        let digest: Digest = digest.parse().map_err(|_broken| Failure::Reference {
            reference: origin.reference.clone(),
            source: oci_spec::distribution::ParseError::DigestInvalidFormat,
        })?;
        holds.push(inner.state.hold(&digest));
        document(inner, origin, &digest).await?;
        return Ok(digest);
    }
    let tag = name.reference().tag().unwrap_or("latest");
    let manifest = session
        .manifest_by_tag(tag)
        .await
        .map_err(|source| refused(&origin.reference, source))?;
    holds.push(inner.state.hold(&manifest.digest));
    inner.put(&manifest.digest, manifest.bytes).await?;
    Ok(manifest.digest)
}

/// Makes the image that a digest names, from whatever is missing: manifest, configuration, layers.
pub(super) async fn assemble(
    inner: &Arc<Inner>,
    origin: &Origin,
    named: Digest,
    (holds, stage): (&mut Vec<Hold>, &PullStage),
) -> Result<Image, ImageError> {
    let mut blobs = vec![named.clone()];
    let mut bytes = document(inner, origin, &named).await?;
    let mut digest = named;
    // An index may name another one; deeper nesting is nobody's.
    for _ in 0..2 {
        if let Document::Index(index) = manifest::parse(&digest, &bytes)? {
            digest = manifest::select(&digest, index.manifests())?
                .digest()
                .clone();
            holds.push(inner.state.hold(&digest));
            bytes = document(inner, origin, &digest).await?;
            blobs.push(digest.clone());
        }
    }
    let Document::Manifest(image_manifest) = manifest::parse(&digest, &bytes)? else {
        return Err(Failure::Unusable {
            what: "index",
            digest,
            problem: "indexes are nested too deep",
        }
        .into());
    };
    let config_digest = image_manifest.config().digest().clone();
    holds.push(inner.state.hold(&config_digest));
    let config_bytes = configuration(inner, origin, &config_digest).await?;
    let (kind, config, layers) = match artifact::is_artifact(&image_manifest, &config_bytes) {
        true => {
            let layers = artifact::layers(&digest, &image_manifest)?;
            (ImageKind::Artifact, ImageConfiguration::default(), layers)
        }
        false => {
            let config = manifest::configuration(&config_digest, &config_bytes)?;
            let layers = manifest::layers(&image_manifest, &config)?;
            (ImageKind::Image, config, layers)
        }
    };
    for layer in &layers {
        holds.push(inner.state.hold(&layer.blob));
        holds.push(inner.state.hold(&layer.chain_id));
    }
    ensure_layers(inner, origin, &layers, stage).await?;
    blobs.push(config_digest.clone());
    blobs.extend(layers.iter().map(|layer| layer.blob.clone()));
    let compressed: u64 = layers.iter().map(|layer| layer.size).sum();
    Ok(Image {
        // Artifacts share the empty configuration.
        id: match kind {
            ImageKind::Image => config_digest.to_string(),
            ImageKind::Artifact => digest.to_string(),
        },
        kind,
        repo_tags: Vec::new(),
        repo_digests: Vec::new(),
        size: compressed + (bytes.len() + config_bytes.len()) as u64,
        config,
        chain_ids: layers.into_iter().map(|layer| layer.chain_id).collect(),
        pinned: false,
        manifest_digest: digest,
        blobs,
    })
}

/// A manifest or index, from the store or the registry.
async fn document(
    inner: &Arc<Inner>,
    origin: &Origin,
    digest: &Digest,
) -> Result<Vec<u8>, ImageError> {
    match &origin.session {
        Some(session) if !inner.content.contains(digest) => {
            let manifest = session
                .manifest_by_digest(digest)
                .await
                .map_err(|source| refused(&origin.reference, source))?;
            inner.put(digest, manifest.bytes.clone()).await?;
            Ok(manifest.bytes)
        }
        _ => Ok(inner.content.read(digest, DOCUMENT_BYTES_MAX)?),
    }
}

/// A configuration, from the store or the registry.
async fn configuration(
    inner: &Arc<Inner>,
    origin: &Origin,
    digest: &Digest,
) -> Result<Vec<u8>, ImageError> {
    let session = match &origin.session {
        Some(session) if !inner.content.contains(digest) => session,
        _ => return Ok(inner.content.read(digest, DOCUMENT_BYTES_MAX)?),
    };
    let bytes = session
        .document(digest, DOCUMENT_BYTES_MAX)
        .await
        .map_err(|source| refused(&origin.reference, source))?;
    inner.put(digest, bytes.clone()).await?;
    Ok(bytes)
}
