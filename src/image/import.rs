//! Importing images from files: OCI layouts and `docker save` archives.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oci_spec::image::{Descriptor, Digest, ImageConfiguration, ImageIndex};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::archive::Archive;
use super::images::Inner;
use super::layers::Origin;
use super::manifest::{self, Document};
use super::progress::PullStage;
use super::pull::{Arrival, assemble};
use super::reference::Name;
use super::state::Hold;
use super::{Image, ImageError};

/// containerd's annotation with the full name of an image.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";

/// OCI image-spec, annotations.md: a tag, or a full name, depending on who wrote it.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Bytes copied from an archive into the store at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// Makes two imports at once use two folders.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// How to import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The name for the image in place of those in the archive, which must then hold one image only.
    pub reference: Option<String>,
}

/// An image that was found in an archive, its manifest and blobs in the store.
#[derive(Debug)]
struct Found {
    manifest: Digest,
    names: Vec<Name>,
    /// Whether the manifest is the archive's own, so that its digest means something elsewhere.
    origin: ManifestOrigin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ManifestOrigin {
    Archive,
    Made,
}

/// `manifest.json` of `docker save`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

pub(super) async fn import(
    inner: &Arc<Inner>,
    path: PathBuf,
    options: ImportOptions,
) -> Result<Vec<Arc<Image>>, ImageError> {
    let reference = options.reference.as_deref().map(Name::parse).transpose()?;
    let reader = Arc::clone(inner);
    let shown = path.display().to_string();
    let (found, mut holds) =
        tokio::task::spawn_blocking(move || read(&reader, path, reference)).await??;
    let origin = Origin {
        reference: shown,
        session: None,
    };
    let mut images: Vec<Arc<Image>> = Vec::new();
    for found in found {
        // Nobody looks: an import tells how much of the archive it has.
        let stage = PullStage::default();
        let image = assemble(inner, &origin, found.manifest.clone(), (&mut holds, &stage)).await?;
        let id = image.id.clone();
        let mut names = found.names.into_iter().map(Some).collect::<Vec<_>>();
        if names.is_empty() {
            names.push(None);
        }
        let mut kept = Vec::new();
        for name in names {
            let digest = found.manifest.as_ref();
            let own = name
                .as_ref()
                .filter(|_| found.origin == ManifestOrigin::Archive);
            let arrival = Arrival {
                image: image.clone(),
                tag: name.as_ref().and_then(Name::tagged),
                repo_digest: own.map(|name| name.with_digest(digest)),
            };
            kept.push(inner.keep(arrival).await?);
        }
        images.retain(|image| image.id != id);
        images.extend(kept.pop());
    }
    Ok(images)
}

/// Copies every blob that an image of the archive needs into the store, held against collection.
fn read(
    inner: &Inner,
    path: PathBuf,
    reference: Option<Name>,
) -> Result<(Vec<Found>, Vec<Hold>), ImageError> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // Below the store's ingest folder, which is emptied at each start.
    let scratch = inner.config.root.join(format!("ingest/import-{number}"));
    let archive = Archive::open(&path, scratch, inner.config.limits)?;
    let mut holds = Vec::new();
    let mut found = match archive.json::<ImageIndex>("index.json")? {
        Some(index) => read_layout(inner, &archive, &index, &mut holds)?,
        None => match archive.json::<Vec<SavedImage>>("manifest.json")? {
            Some(saved) => read_saved(inner, &archive, saved, &mut holds)?,
            None => return Err(archive.bad("neither index.json nor manifest.json is in it")),
        },
    };
    if let Some(reference) = reference {
        match found.as_mut_slice() {
            [only] => only.names = vec![reference],
            _ => return Err(archive.bad("a name was given, but it does not hold one image")),
        }
    }
    Ok((found, holds))
}

/// The images of an OCI layout (OCI image-spec, image-layout.md).
fn read_layout(
    inner: &Inner,
    archive: &Archive,
    index: &ImageIndex,
    holds: &mut Vec<Hold>,
) -> Result<Vec<Found>, ImageError> {
    let mut by_name: Vec<(Option<Name>, Vec<Descriptor>)> = Vec::new();
    for descriptor in index.manifests() {
        let name = name_of(descriptor);
        match by_name.iter_mut().find(|(known, _)| *known == name) {
            Some((_, descriptors)) => descriptors.push(descriptor.clone()),
            None => by_name.push((name, vec![descriptor.clone()])),
        }
    }
    let mut found: Vec<Found> = Vec::new();
    for (name, descriptors) in by_name {
        let whole = manifest::digest_of(b"index.json").ok_or_else(|| archive.bad("no digest"))?;
        let manifest = manifest::select(&whole, &descriptors)?.digest().clone();
        if let Some(known) = found.iter_mut().find(|found| found.manifest == manifest) {
            known.names.extend(name);
            continue;
        }
        copy_image(inner, archive, &manifest, holds)?;
        found.push(Found {
            manifest,
            names: name.into_iter().collect(),
            origin: ManifestOrigin::Archive,
        });
    }
    Ok(found)
}

fn name_of(descriptor: &Descriptor) -> Option<Name> {
    let annotations = descriptor.annotations().as_ref()?;
    let full = annotations.get(IMAGE_NAME);
    // A bare tag names nothing without a repository.
    let other = annotations
        .get(REF_NAME)
        .filter(|name| name.contains(['/', ':']));
    Name::parse(full.or(other)?).ok()
}

/// Copies a manifest, what it names for this host, and so on down to the layers.
fn copy_image(
    inner: &Inner,
    archive: &Archive,
    named: &Digest,
    holds: &mut Vec<Hold>,
) -> Result<(), ImageError> {
    let mut digest = named.clone();
    for _ in 0..3 {
        let bytes = copy_blob(inner, archive, &digest, holds)?;
        match manifest::parse(&digest, &bytes)? {
            Document::Index(index) => {
                digest = manifest::select(&digest, index.manifests())?
                    .digest()
                    .clone();
            }
            Document::Manifest(manifest) => {
                copy_blob(inner, archive, manifest.config().digest(), holds)?;
                for layer in manifest.layers() {
                    holds.push(inner.state.hold(layer.digest()));
                    let name = blob_name(layer.digest());
                    if !inner.content.contains(layer.digest()) {
                        let file = archive.file(&name)?;
                        let file = file.ok_or_else(|| archive.bad("a layer is not in it"))?;
                        ingest(inner, archive, layer.digest(), file)?;
                    }
                }
                return Ok(());
            }
        }
    }
    Err(archive.bad("indexes are nested too deep"))
}

fn copy_blob(
    inner: &Inner,
    archive: &Archive,
    digest: &Digest,
    holds: &mut Vec<Hold>,
) -> Result<Vec<u8>, ImageError> {
    holds.push(inner.state.hold(digest));
    let bytes = archive.bytes(&blob_name(digest))?;
    let bytes = bytes.ok_or_else(|| archive.bad("a manifest or configuration is not in it"))?;
    inner.content.put(digest, &bytes)?;
    Ok(bytes)
}

pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.digest())
}

/// The images of a `docker save` archive. It has no OCI manifests, so one is made for each.
fn read_saved(
    inner: &Inner,
    archive: &Archive,
    saved: Vec<SavedImage>,
    holds: &mut Vec<Hold>,
) -> Result<Vec<Found>, ImageError> {
    let mut found = Vec::new();
    for image in saved {
        let bytes = archive.bytes(&image.config)?;
        let bytes = bytes.ok_or_else(|| archive.bad("a configuration is not in it"))?;
        let config = put(inner, archive, &bytes, holds)?;
        let parsed: ImageConfiguration = manifest::configuration(&config, &bytes)?;
        if parsed.rootfs().diff_ids().len() != image.layers.len() {
            return Err(
                archive.bad("manifest.json and a configuration have other numbers of layers")
            );
        }
        let mut layers = Vec::new();
        for name in &image.layers {
            layers.push(saved_layer(inner, archive, name, holds)?);
        }
        let made = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config,
                "size": bytes.len(),
            },
            "layers": layers,
        });
        let made = made.to_string();
        let manifest = put(inner, archive, made.as_bytes(), holds)?;
        let names = image.repo_tags.unwrap_or_default();
        found.push(Found {
            manifest,
            names: names
                .iter()
                .map(|name| Name::parse(name))
                .collect::<Result<_, _>>()?,
            origin: ManifestOrigin::Made,
        });
    }
    Ok(found)
}

/// Copies a layer of a `docker save` archive, which does not say its digest, and describes it.
fn saved_layer(
    inner: &Inner,
    archive: &Archive,
    name: &str,
    holds: &mut Vec<Hold>,
) -> Result<serde_json::Value, ImageError> {
    let open = || -> Result<File, ImageError> {
        let file = archive.file(name)?;
        file.ok_or_else(|| archive.bad("a layer is not in it"))
    };
    let mut hasher = Sha256::new();
    let mut size = 0_u64;
    copy(archive, open()?, |bytes| {
        hasher.update(bytes);
        size += bytes.len() as u64;
        Ok(())
    })?;
    let digest = hexadecimal(&hasher.finalize()).parse::<Digest>();
    let digest = digest.map_err(|_impossible| archive.bad("no digest"))?;
    holds.push(inner.state.hold(&digest));
    if !inner.content.contains(&digest) {
        ingest(inner, archive, &digest, open()?)?;
    }
    Ok(serde_json::json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": digest,
        "size": size,
    }))
}

fn put(
    inner: &Inner,
    archive: &Archive,
    bytes: &[u8],
    holds: &mut Vec<Hold>,
) -> Result<Digest, ImageError> {
    let digest = manifest::digest_of(bytes).ok_or_else(|| archive.bad("no digest"))?;
    holds.push(inner.state.hold(&digest));
    inner.content.put(&digest, bytes)?;
    Ok(digest)
}

fn ingest(inner: &Inner, archive: &Archive, digest: &Digest, file: File) -> Result<(), ImageError> {
    let mut ingest = inner.content.ingest(digest, None)?;
    copy(archive, file, |bytes| Ok(ingest.write(bytes)?))?;
    Ok(ingest.commit()?)
}

fn copy(
    archive: &Archive,
    mut file: File,
    mut sink: impl FnMut(&[u8]) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => sink(&buffer[..count])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_unreadable) => return Err(archive.bad("a file of it cannot be read")),
        }
    }
}

pub(super) fn hexadecimal(hash: &[u8]) -> String {
    hash.iter().fold(String::from("sha256:"), |text, byte| {
        format!("{text}{byte:02x}")
    })
}
