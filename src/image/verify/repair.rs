//! Getting anew what is broken: blobs from where their image came, layers from their blobs.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::image::Digest;
use tokio::runtime::Handle;

use super::super::error::Failure;
use super::super::images::Inner;
use super::super::layers::{refused, unpack_blob};
use super::super::manifest::{Form, Layer};
use super::super::reference::Name;
use super::super::{Image, ImageError};
use crate::layer::{self, Comparison, Difference, LayerError};
use crate::registry::{ErrorKind, RegistryError, Session};
use crate::snapshot::Staging;

/// Fetches a blob of an image from the repositories that the image has names in, and puts it in the place of what is
/// there. Whoever has the broken file open keeps it.
pub(super) async fn fetch(
    inner: &Arc<Inner>,
    image: &Image,
    digest: &Digest,
) -> Result<(), ImageError> {
    let mut last: ImageError = Failure::NoOrigin {
        digest: digest.clone(),
    }
    .into();
    let mut asked: Vec<String> = Vec::new();
    for name in image.repo_digests.iter().chain(&image.repo_tags) {
        let name = Name::parse(name)?;
        if asked.contains(&name.repository()) {
            continue;
        }
        asked.push(name.repository());
        match fetch_from(inner, image, &name, digest).await {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn fetch_from(
    inner: &Arc<Inner>,
    image: &Image,
    name: &Name,
    digest: &Digest,
) -> Result<(), ImageError> {
    let reference = name.canonical();
    let session = inner
        .registry
        .session(name.reference(), None)
        .map_err(|source| refused(&reference, source))?;
    let is_manifest = *digest == image.manifest_digest
        || image
            .repo_digests
            .iter()
            .any(|known| known.ends_with(digest.as_ref()));
    let outcome = match is_manifest {
        true => manifest(inner, &session, digest).await,
        false => blob(inner, &session, digest).await,
    };
    match outcome {
        // An index in an index, or the manifest of an earlier pull.
        Err(Fetch::Registry(error)) if error.kind() == ErrorKind::NotFound && !is_manifest => {
            manifest(inner, &session, digest).await
        }
        outcome => outcome,
    }
    .map_err(|error| match error {
        Fetch::Registry(source) => refused(&reference, source),
        Fetch::Other(error) => error,
    })
}

enum Fetch {
    Registry(RegistryError),
    Other(ImageError),
}

impl<E: Into<ImageError>> From<E> for Fetch {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

async fn manifest(inner: &Arc<Inner>, session: &Session, digest: &Digest) -> Result<(), Fetch> {
    let found = session.manifest_by_digest(digest).await;
    let bytes = found.map_err(Fetch::Registry)?.bytes;
    let (inner, digest) = (Arc::clone(inner), digest.clone());
    tokio::task::spawn_blocking(move || {
        let mut ingest = inner.content.ingest(&digest, None)?;
        ingest.write(&bytes)?;
        Ok(ingest.commit()?)
    })
    .await?
}

async fn blob(inner: &Arc<Inner>, session: &Session, digest: &Digest) -> Result<(), Fetch> {
    let mut stream = session.blob(digest, None);
    let (inner, digest) = (Arc::clone(inner), digest.clone());
    tokio::task::spawn_blocking(move || {
        let runtime = Handle::current();
        let mut ingest = inner.content.ingest(&digest, None)?;
        while let Some(bytes) = runtime.block_on(stream.chunk()).map_err(Fetch::Registry)? {
            ingest.write(&bytes)?;
        }
        Ok(ingest.commit()?)
    })
    .await?
}

/// Unpacks a layer anew and puts it in the place of the one that is there; containers that use that one keep it.
pub(super) fn unpack(inner: &Inner, layer: &Layer, lower: &[PathBuf]) -> Result<(), ImageError> {
    stage(inner, layer, lower)?.replace()?;
    inner.collect_retired();
    Ok(())
}

/// Leaves out the differences that an undamaged layer has too: an archive may say one path twice, through links that it
/// changes meanwhile, and reading it once more does not tell what became of that. What differs is compared with a layer
/// that is unpacked for this alone.
pub(super) fn damage(
    inner: &Inner,
    layer: &Layer,
    lower: &[PathBuf],
    differences: Vec<Difference>,
) -> Vec<Difference> {
    let undamaged = || -> Result<Vec<Difference>, ImageError> {
        let staging = stage(inner, layer, lower)?;
        let blob = inner.content.open_blob(&layer.blob)?;
        let compared = compare(blob, staging.path(), layer, lower);
        Ok(compared.map_err(broken(layer))?.differences)
    };
    let peculiar = match undamaged() {
        Ok(peculiar) => peculiar,
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(chain_id = %layer.chain_id, error, "what differs cannot be compared once more");
            return differences;
        }
    };
    let said =
        |difference: &Difference| (difference.path.clone(), difference.deviation.to_string());
    let peculiar: HashSet<_> = peculiar.iter().map(said).collect();
    let mut differences = differences;
    differences.retain(|difference| !peculiar.contains(&said(difference)));
    differences
}

fn stage(inner: &Inner, layer: &Layer, lower: &[PathBuf]) -> Result<Staging, ImageError> {
    let blob = inner.content.open_blob(&layer.blob)?;
    let staging = inner.snapshots.stage(&layer.chain_id)?;
    let limits = inner.config.limits;
    let implied = unpack_blob(layer, blob, staging.path(), limits).map_err(broken(layer))?;
    layer::inherit(staging.path(), &implied, lower).map_err(broken(layer))?;
    Ok(staging)
}

/// Compares an unpacked layer with its blob.
pub(super) fn compare(
    blob: impl Read + Send,
    target: &Path,
    layer: &Layer,
    lower: &[PathBuf],
) -> Result<Comparison, LayerError> {
    match &layer.form {
        Form::Archive => layer::compare(blob, target, layer.diff_id.as_ref(), lower),
        Form::File(name) => layer::compare_file(blob, layer.size, target, name)
            .map_err(|source| LayerError::Read { entries: 0, source }),
    }
}

fn broken(layer: &Layer) -> impl Fn(LayerError) -> Failure {
    let digest = layer.blob.clone();
    move |source| Failure::Layer {
        digest: digest.clone(),
        source,
    }
}
