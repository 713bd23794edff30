//! Exporting images: one tar archive that is an OCI layout and, by its `manifest.json`, what `docker load` reads. OCI
//! artifacts are in the layout only.
//!
//! The same images give the same bytes: blobs are sorted, and times and owners are zero. Blobs go out as they are kept,
//! compressed, and are hashed once more on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use oci_spec::image::Digest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::error::Failure;
use super::images::Inner;
use super::import::{IMAGE_NAME, REF_NAME, blob_name, hexadecimal};
use super::manifest::{self, Document};
use super::pull::DOCUMENT_BYTES_MAX;
use super::reference::Name;
use super::state::Hold;
use super::{Image, ImageError, ImageKind};
use crate::content::ContentError;

/// The unit of the format.
const BLOCK_BYTES: u64 = 512;

/// Bytes handed over at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// An archive that is about to be written; its blobs are held against collection while it exists.
#[derive(Debug)]
pub struct Export {
    inner: Arc<Inner>,
    parts: Vec<Part>,
    _holds: Vec<Hold>,
}

#[derive(Debug)]
struct Part {
    name: String,
    size: u64,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Folder,
    Text(Vec<u8>),
    Blob(Digest),
}

/// What is collected for the archive.
struct Plan<'a> {
    inner: &'a Inner,
    holds: Vec<Hold>,
    blobs: BTreeMap<String, (Digest, u64)>,
    /// Of `index.json`.
    manifests: Vec<Value>,
    /// Of `manifest.json`, by the digest of the configuration.
    saved: BTreeMap<String, Saved>,
}

/// An image of `manifest.json`.
struct Saved {
    tags: BTreeSet<String>,
    layers: Vec<String>,
}

/// An image under one of its names, or under none.
struct Entry {
    name: Option<Name>,
    /// What the name stands for: a manifest, or an index.
    head: Digest,
}

/// Looks up what `references` name. One with a tag or digest is exported under that name, one by id under all names
/// that it has. Blocks.
pub(super) fn plan(inner: &Arc<Inner>, references: &[String]) -> Result<Export, ImageError> {
    let mut plan = Plan {
        inner,
        holds: Vec::new(),
        blobs: BTreeMap::new(),
        manifests: Vec::new(),
        saved: BTreeMap::new(),
    };
    for reference in references {
        let found = inner.state.lock().find(reference).cloned();
        let image = found.ok_or_else(|| Failure::NotFound {
            reference: reference.clone(),
        })?;
        // First held, then looked at.
        let holds = image.blobs.iter().map(|blob| inner.state.hold(blob));
        plan.holds.extend(holds);
        for entry in entries(&image, reference) {
            plan.add(&image, &entry)?;
        }
    }
    let holds = std::mem::take(&mut plan.holds);
    Ok(Export {
        inner: Arc::clone(inner),
        parts: plan.parts(),
        _holds: holds,
    })
}

/// Under which names an image is exported.
fn entries(image: &Image, reference: &str) -> Vec<Entry> {
    let parse = |name: &String| Name::parse(name).ok();
    let named = Name::parse(reference).ok().filter(|name| {
        let canonical = name.canonical();
        image.repo_tags.contains(&canonical) || image.repo_digests.contains(&canonical)
    });
    let digests: Vec<Name> = image.repo_digests.iter().filter_map(parse).collect();
    if let Some(name) = named {
        let head = head(image, &digests, &name);
        return vec![Entry {
            name: Some(name),
            head,
        }];
    }
    let mut entries: Vec<Entry> = image
        .repo_tags
        .iter()
        .filter_map(parse)
        .map(|name| Entry {
            head: head(image, &digests, &name),
            name: Some(name),
        })
        .collect();
    for name in &digests {
        let head = head(image, &digests, name);
        let is_told = entries.iter().any(|entry| {
            let repository = entry.name.as_ref().map(Name::repository);
            entry.head == head && repository == Some(name.repository())
        });
        if !is_told {
            entries.push(Entry {
                name: Some(name.clone()),
                head,
            });
        }
    }
    if entries.is_empty() {
        entries.push(Entry {
            name: None,
            head: image.manifest_digest.clone(),
        });
    }
    entries
}

/// What a name stands for. Which digest a tag had is not kept, but a repository has one digest of an image, unless the
/// image came by several indexes; then its manifest is the least that is certain.
fn head(image: &Image, digests: &[Name], name: &Name) -> Digest {
    let own = name.digest().map(str::to_owned).or_else(|| {
        let mut of_repository = digests
            .iter()
            .filter(|other| other.repository() == name.repository());
        match (of_repository.next(), of_repository.next()) {
            (Some(only), None) => only.digest().map(str::to_owned),
            _ => None,
        }
    });
    own.and_then(|digest| digest.parse().ok())
        .filter(|digest| image.blobs.contains(digest))
        .unwrap_or_else(|| image.manifest_digest.clone())
}

impl Plan<'_> {
    fn add(&mut self, image: &Image, entry: &Entry) -> Result<(), ImageError> {
        let mut digest = entry.head.clone();
        for _ in 0..3 {
            let bytes = self.inner.content.read(&digest, DOCUMENT_BYTES_MAX)?;
            self.add_blob(&digest)?;
            let document = manifest::parse(&digest, &bytes)?;
            if digest == entry.head {
                self.manifests
                    .push(descriptor(entry, &document, bytes.len()));
            }
            match document {
                Document::Index(index) => {
                    digest = manifest::select(&digest, index.manifests())?
                        .digest()
                        .clone();
                }
                Document::Manifest(manifest) => {
                    self.add_blob(manifest.config().digest())?;
                    let mut layers = Vec::new();
                    for layer in manifest.layers() {
                        self.add_blob(layer.digest())?;
                        layers.push(blob_name(layer.digest()));
                    }
                    // Docker's format has images only: with no configuration an artifact could not be loaded.
                    if image.kind == ImageKind::Artifact {
                        return Ok(());
                    }
                    let saved = self.saved.entry(image.id.clone()).or_insert(Saved {
                        tags: BTreeSet::new(),
                        layers,
                    });
                    saved
                        .tags
                        .extend(entry.name.as_ref().and_then(Name::tagged));
                    return Ok(());
                }
            }
        }
        Err(Failure::Unusable {
            what: "index",
            digest,
            problem: "indexes are nested too deep",
        }
        .into())
    }

    fn add_blob(&mut self, digest: &Digest) -> Result<(), ImageError> {
        let file = self.inner.content.open_blob(digest)?;
        let status = file.metadata().map_err(|source| ContentError::Read {
            digest: digest.clone(),
            source,
        })?;
        let blob = (digest.clone(), status.len());
        self.blobs.insert(blob_name(digest), blob);
        Ok(())
    }

    /// All files in their order: those that tell what this is first.
    fn parts(self) -> Vec<Part> {
        let text = |name: &str, value: Value| {
            let bytes = value.to_string().into_bytes();
            Part {
                name: name.to_owned(),
                size: bytes.len() as u64,
                data: Data::Text(bytes),
            }
        };
        let folder = |name: &str| Part {
            name: name.to_owned(),
            size: 0,
            data: Data::Folder,
        };
        let saved: Vec<Value> = self
            .saved
            .iter()
            .map(|(id, saved)| {
                let (_, config) = id.split_once(':').unwrap_or_default();
                json!({
                    "Config": format!("blobs/sha256/{config}"),
                    "RepoTags": saved.tags,
                    "Layers": saved.layers,
                })
            })
            .collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": self.manifests,
        });
        let mut parts = vec![
            text("oci-layout", json!({"imageLayoutVersion": "1.0.0"})),
            text("index.json", index),
        ];
        if !saved.is_empty() {
            parts.push(text("manifest.json", Value::Array(saved)));
        }
        parts.extend([folder("blobs/"), folder("blobs/sha256/")]);
        parts.extend(self.blobs.into_iter().map(|(name, (digest, size))| Part {
            name,
            size,
            data: Data::Blob(digest),
        }));
        parts
    }
}

/// An entry of `index.json`, with the annotations that containerd writes.
fn descriptor(entry: &Entry, document: &Document, size: usize) -> Value {
    let (of_docker, own) = match document {
        Document::Index(index) => (
            "application/vnd.oci.image.index.v1+json",
            index.media_type(),
        ),
        Document::Manifest(manifest) => (
            "application/vnd.oci.image.manifest.v1+json",
            manifest.media_type(),
        ),
    };
    let media_type = own
        .as_ref()
        .map_or_else(|| of_docker.to_owned(), ToString::to_string);
    let mut descriptor = json!({
        "mediaType": media_type,
        "digest": entry.head,
        "size": size,
    });
    if let Some(name) = &entry.name {
        let tag = name.reference().tag().filter(|_| name.digest().is_none());
        let short = tag.or(name.digest()).unwrap_or_default();
        descriptor["annotations"] = json!({IMAGE_NAME: name.canonical(), REF_NAME: short});
    }
    descriptor
}

impl Export {
    /// The length of the archive in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        let parts = self.parts.iter();
        let length: u64 = parts
            .map(|part| BLOCK_BYTES + part.size.next_multiple_of(BLOCK_BYTES))
            .sum();
        length + 2 * BLOCK_BYTES
    }

    /// Hands the archive over piece by piece, until `sink` wants no more. Blocks.
    ///
    /// # Errors
    /// `Io` or `Corrupt` if a blob cannot be read or is not what it was; what came out before is worth nothing then.
    pub fn write(self, mut sink: impl FnMut(Bytes) -> ControlFlow<()>) -> Result<(), ImageError> {
        for part in &self.parts {
            let is_wanted = sink(header(part)?).is_continue() && self.data(part, &mut sink)?;
            if !is_wanted {
                return Ok(());
            }
        }
        // Whether the last piece is wanted changes nothing any more.
        let _end = sink(zeros(2 * BLOCK_BYTES));
        Ok(())
    }

    /// Whether more is wanted.
    fn data(
        &self,
        part: &Part,
        sink: &mut impl FnMut(Bytes) -> ControlFlow<()>,
    ) -> Result<bool, ImageError> {
        let is_wanted = match &part.data {
            Data::Folder => return Ok(true),
            Data::Text(text) => sink(Bytes::copy_from_slice(text)).is_continue(),
            Data::Blob(digest) => self.blob(digest, part.size, sink)?,
        };
        let padding = part.size.next_multiple_of(BLOCK_BYTES) - part.size;
        Ok(is_wanted && (padding == 0 || sink(zeros(padding)).is_continue()))
    }

    fn blob(
        &self,
        digest: &Digest,
        size: u64,
        sink: &mut impl FnMut(Bytes) -> ControlFlow<()>,
    ) -> Result<bool, ImageError> {
        let unreadable = |source| ContentError::Read {
            digest: digest.clone(),
            source,
        };
        let mut file = self.inner.content.open_blob(digest)?;
        let mut hasher = Sha256::new();
        let mut left = size;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let mut chunk = vec![0; length];
            file.read_exact(&mut chunk).map_err(unreadable)?;
            hasher.update(&chunk);
            left -= length as u64;
            if sink(chunk.into()).is_break() {
                return Ok(false);
            }
        }
        let found = hexadecimal(&hasher.finalize());
        if found != digest.as_ref() {
            let digest = digest.clone();
            return Err(ContentError::WrongDigest { digest, found }.into());
        }
        Ok(true)
    }
}

fn header(part: &Part) -> Result<Bytes, ImageError> {
    let mut header = tar::Header::new_gnu();
    let (kind, mode) = match part.data {
        Data::Folder => (tar::EntryType::Directory, 0o755),
        Data::Text(_) | Data::Blob(_) => (tar::EntryType::Regular, 0o444),
    };
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(part.size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let too_long = |source: io::Error| Failure::Folder {
        step: "name in an archive",
        path: part.name.clone().into(),
        source,
    };
    header.set_path(&part.name).map_err(too_long)?;
    header.set_cksum();
    Ok(Bytes::copy_from_slice(header.as_bytes()))
}

fn zeros(count: u64) -> Bytes {
    Bytes::from_static(&[0; 1024]).slice(..usize::try_from(count).unwrap_or(0).min(1024))
}
