//! The image side as the rest of Carpel sees it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use oci_spec::image::Digest;
use tokio::sync::Semaphore;

use super::busy::Busy;
use super::error::Failure;
use super::flight::{Flight, Flights, wait};
use super::layers::{Downloads, refused};
use super::progress::{LayerProgress, LayerStage, PullStage};
use super::pull::{Arrival, pull};
use super::reference::{Name, matches};
use super::retired::RetiredLayers;
use super::state::State;
use super::verify::{self, Summary, VerifyEvent, VerifyRequest};
use super::{
    AppliedPolicy, Export, Image, ImageDetails, ImageError, ImagesConfig, ImportOptions,
    PruneOptions, Pruned, RegistryAuth, details, export, import, signature,
};
use crate::content::Content;
use crate::persist::{self, Durability};
use crate::registry::{Depth, Explanation, Registry};
use crate::snapshot::{ChainId, Snapshots, Usage, measure};

/// All images of this node; cheap to clone.
#[derive(Debug, Clone)]
pub struct Images {
    pub(super) inner: Arc<Inner>,
}

/// A pull that is under way, one's own or joined. It goes on if this is dropped.
#[derive(Debug)]
pub struct Pulling {
    flight: Flight<Arc<Image>, PullStage>,
}

impl Pulling {
    /// Waits for the end of the pull; may be asked again.
    ///
    /// # Errors
    /// See [`ImageError::kind`].
    pub async fn finished(&self) -> Result<Arc<Image>, ImageError> {
        wait(self.flight.outcome.clone()).await
    }

    /// How far each layer is, bottom first; none until the manifest is here.
    #[must_use]
    pub fn progress(&self) -> Vec<LayerProgress> {
        self.flight.stage.progress()
    }
}

/// What a file system holds for us (CRI api.proto, FilesystemUsage).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesystemUsage {
    /// Images: a folder on the file system that holds them.
    pub image_mountpoint: PathBuf,
    /// Images: blobs, unpacked layers, records, what is on its way in or out, as `du` counts their folders.
    pub image: Usage,
    /// Containers: a folder on the file system that holds them.
    pub container_mountpoint: PathBuf,
    /// Containers: all writable layers, as `du` counts them.
    pub container: Usage,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: ImagesConfig,
    pub(super) content: Content,
    pub(super) snapshots: Snapshots,
    pub(super) registry: Registry,
    pub(super) state: State,
    pub(super) layers: Flights<ChainId, (), LayerStage>,
    pub(super) downloads: Downloads,
    pub(super) permits: Arc<Semaphore>,
    pulls: Flights<(String, Option<RegistryAuth>), Arc<Image>, PullStage>,
    /// Held while records change, which takes a disk's time; the table is locked only to swap what is in memory.
    pub(super) writing: Mutex<()>,
    /// Containers that use layers in whose place others came.
    pub(super) retired: RetiredLayers,
    /// One verification at a time: another one waits.
    verifying: tokio::sync::Mutex<()>,
    /// How many pulls and imports are under way.
    pub(super) busy: AtomicUsize,
}

impl Images {
    /// Opens the store below `config.root`, reads its records, and removes what no record names. Blocks.
    ///
    /// # Errors
    /// If a folder cannot be made or read. A record that cannot be used is logged and its image forgotten.
    pub fn open(config: ImagesConfig) -> Result<Self, ImageError> {
        let inner = Inner {
            content: Content::open(&config.root)?,
            snapshots: Snapshots::open(&config.root)?,
            registry: Registry::new(config.registry()),
            state: State::default(),
            layers: Flights::default(),
            downloads: Downloads::default(),
            permits: Arc::new(Semaphore::new(config.max_concurrent_downloads.max(1))),
            pulls: Flights::default(),
            writing: Mutex::new(()),
            retired: RetiredLayers::default(),
            verifying: tokio::sync::Mutex::new(()),
            busy: AtomicUsize::new(0),
            config,
        };
        for path in [inner.images_folder(), inner.leases_folder()] {
            fs::create_dir_all(&path).map_err(|source| Failure::Folder {
                step: "make",
                path,
                source,
            })?;
        }
        let is_after_boot = inner.is_after_boot();
        if is_after_boot {
            inner.discard_incomplete_layers()?;
        }
        inner.load_images()?;
        inner.load_leases()?;
        if is_after_boot {
            inner.check_blobs_after_boot()?;
            inner.remember_boot()?;
        }
        inner.collect();
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Pulls an image, or joins the pull of the same reference with the same credentials. If the caller gives up, the
    /// pull goes on. A reference that is here already is asked for again, and only what changed is fetched.
    ///
    /// # Errors
    /// See [`ImageError::kind`].
    pub async fn pull(
        &self,
        reference: &str,
        auth: Option<RegistryAuth>,
    ) -> Result<Arc<Image>, ImageError> {
        self.begin_pull(reference, auth)?.finished().await
    }

    /// The same without waiting. Call within a tokio runtime.
    ///
    /// # Errors
    /// `InvalidReference`.
    pub fn begin_pull(
        &self,
        reference: &str,
        auth: Option<RegistryAuth>,
    ) -> Result<Pulling, ImageError> {
        let name = Name::parse(reference)?;
        let key = (name.canonical(), auth.clone());
        let inner = Arc::clone(&self.inner);
        let work = |stage: Arc<PullStage>| async move {
            let _busy = Busy::begin(&inner);
            pull(Arc::clone(&inner), name, auth, &stage).await
        };
        let (flight, _role) = self.inner.pulls.enter(key, work);
        Ok(Pulling { flight })
    }

    /// Says where an image would be pulled from.
    ///
    /// # Errors
    /// `InvalidReference`, or `Configuration` for broken rules or auth files.
    pub async fn explain(&self, reference: &str, depth: Depth) -> Result<Explanation, ImageError> {
        let name = Name::parse(reference)?;
        let explanation = self.inner.registry.explain(name.reference(), depth).await;
        explanation.map_err(|source| refused(&name.canonical(), source))
    }

    /// What the signature policy asks of images of this name; `None` without a policy.
    ///
    /// # Errors
    /// `InvalidReference`, and `Configuration` if the policy cannot be used.
    pub fn policy_of(&self, reference: &str) -> Result<Option<AppliedPolicy>, ImageError> {
        let name = Name::parse(reference)?;
        signature::applied(self.inner.config.signature_policy.as_deref(), &name)
    }

    /// Imports the images of an OCI layout (folder or archive) or of a `docker save` archive, compressed or not.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `Corrupt` if it is none of these, `InvalidReference` for a bad name.
    pub async fn import(
        &self,
        archive: PathBuf,
        options: ImportOptions,
    ) -> Result<Vec<Arc<Image>>, ImageError> {
        let _busy = Busy::begin(&self.inner);
        import::import(&self.inner, archive, options).await
    }

    /// Prepares an archive of images, each with the name that it is asked for by, or with all its names if that is an id.
    ///
    /// # Errors
    /// `NotFound` for an image that is not here, `Corrupt` or `Io` if its manifest cannot be read.
    pub async fn export(&self, references: Vec<String>) -> Result<Export, ImageError> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || export::plan(&inner, &references)).await?
    }

    /// What the manifest of an image says of its layers.
    ///
    /// # Errors
    /// `Corrupt` or `Io` if the manifest cannot be read any more.
    pub async fn details(&self, image: Arc<Image>) -> Result<ImageDetails, ImageError> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || details::read(&inner, &image)).await?
    }

    /// Checks records, blobs and unpacked layers, and repairs them if asked. `events` gets what is found while it goes
    /// on; when nobody listens any more it stops after the present step.
    ///
    /// # Errors
    /// `NotFound` if a reference names no image, `Io` if the store cannot be listed. What is broken is no error.
    pub async fn verify(
        &self,
        request: VerifyRequest,
        events: tokio::sync::mpsc::Sender<VerifyEvent>,
    ) -> Result<Summary, ImageError> {
        let _one = self.inner.verifying.lock().await;
        let summary = verify::verify(&self.inner, request, events).await;
        // What was removed meanwhile was held.
        self.collect_later();
        summary
    }

    /// All images, sorted by id.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Image>> {
        self.inner.state.lock().images.values().cloned().collect()
    }

    /// The image with this id (with or without `sha256:`, or an unambiguous beginning of at least four digits), tag
    /// or digest.
    #[must_use]
    pub fn find(&self, reference: &str) -> Option<Arc<Image>> {
        self.inner.state.lock().find(reference).cloned()
    }

    /// Removes an image with all its names; one that is not here is fine. Disk space is freed after the call, and
    /// layers that a container uses stay until its lease ends.
    ///
    /// # Errors
    /// `Io` if the record cannot be removed.
    pub async fn remove(&self, reference: &str) -> Result<(), ImageError> {
        let (inner, reference) = (Arc::clone(&self.inner), reference.to_owned());
        let removed = tokio::task::spawn_blocking(move || inner.forget(&reference)).await??;
        if removed {
            self.collect_later();
        }
        Ok(())
    }

    /// Removes images that no container uses and that are not pinned; blobs and layers go with them before the call
    /// returns, but for the files of the layers, which take their time.
    ///
    /// # Errors
    /// `Io` if a record cannot be removed; those before it are gone.
    pub async fn prune(&self, options: PruneOptions) -> Result<Pruned, ImageError> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || inner.prune(options)).await?
    }

    /// Keeps the layers of images for a container, also if the images are removed: its own, and those that are mounted
    /// as volumes. A second lease of one container replaces the first.
    ///
    /// # Errors
    /// `NotFound` if one of them was removed since it was found, `Io` if the lease cannot be written.
    pub fn lease(&self, images: &[&Image], container_id: &str) -> Result<(), ImageError> {
        self.inner.lease(images, container_id)
    }

    /// Ends the lease of a container; one that has none is fine. Call within a tokio runtime.
    ///
    /// # Errors
    /// `Io` if the lease cannot be removed.
    pub fn release(&self, container_id: &str) -> Result<(), ImageError> {
        if self.inner.release(container_id)? {
            self.collect_later();
        }
        Ok(())
    }

    /// The containers that have a lease: recovery releases those of containers that are gone.
    #[must_use]
    pub fn leased_containers(&self) -> Vec<String> {
        self.inner.state.lock().leases.keys().cloned().collect()
    }

    /// The snapshots, for preparing a container's root.
    #[must_use]
    pub fn snapshots(&self) -> &Snapshots {
        &self.inner.snapshots
    }

    /// What images and containers take on disk. Reads folders, and walks writable layers of which nothing is known: call
    /// it on a thread that may block.
    ///
    /// # Errors
    /// `Io` if a folder cannot be read.
    pub fn filesystem_usage(&self) -> Result<FilesystemUsage, ImageError> {
        let snapshots = &self.inner.snapshots;
        let mut image = snapshots.usage()?;
        for folder in ["blobs", "ingest", "images", "leases"] {
            let path = self.inner.config.root.join(folder);
            image += measure(&path).map_err(|source| Failure::Folder {
                step: "measure",
                path,
                source,
            })?;
        }
        Ok(FilesystemUsage {
            image_mountpoint: snapshots.layers_folder().to_owned(),
            image,
            container_mountpoint: snapshots.containers_folder().to_owned(),
            container: snapshots.containers_usage()?,
        })
    }

    /// Nobody waits for a collection; what it leaves, the next one takes.
    fn collect_later(&self) {
        let inner = Arc::clone(&self.inner);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || inner.collect()));
        }
    }
}

impl Inner {
    pub(super) fn images_folder(&self) -> PathBuf {
        self.config.root.join("images")
    }

    pub(super) fn leases_folder(&self) -> PathBuf {
        self.config.root.join("leases")
    }

    /// Puts a small blob into the store.
    pub(super) async fn put(
        self: &Arc<Self>,
        digest: &Digest,
        bytes: Vec<u8>,
    ) -> Result<(), ImageError> {
        let (inner, digest) = (Arc::clone(self), digest.clone());
        Ok(tokio::task::spawn_blocking(move || inner.content.put(&digest, &bytes)).await??)
    }

    /// Records an image that is whole, under its new names beside those it has; a tag moves here from any other.
    pub(super) async fn keep(self: &Arc<Self>, arrival: Arrival) -> Result<Arc<Image>, ImageError> {
        let inner = Arc::clone(self);
        tokio::task::spawn_blocking(move || inner.keep_now(arrival)).await?
    }

    pub(super) fn keep_now(&self, arrival: Arrival) -> Result<Arc<Image>, ImageError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut image = arrival.image;
        let images = self.state.lock().images.clone();
        if let Some(known) = images.get(&image.id) {
            image.repo_tags.clone_from(&known.repo_tags);
            image.repo_digests.clone_from(&known.repo_digests);
            // The same image may have come under another manifest before.
            image.blobs.extend(known.blobs.iter().cloned());
            image.blobs.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
            image.blobs.dedup();
        }
        image.repo_digests.extend(arrival.repo_digest);
        image.repo_tags.extend(arrival.tag.clone());
        for names in [&mut image.repo_tags, &mut image.repo_digests] {
            names.sort();
            names.dedup();
        }
        // The loser first: after a crash in between the tag names nothing, and never two images.
        if let Some(tag) = &arrival.tag {
            let has_it =
                |other: &&Arc<Image>| other.id != image.id && other.repo_tags.contains(tag);
            for loser in images.values().filter(has_it) {
                let mut loser = Image::clone(loser);
                loser.repo_tags.retain(|name| name != tag);
                self.write(loser)?;
            }
        }
        self.write(image)
    }

    /// Writes a record and swaps the image in memory.
    pub(super) fn write(&self, mut image: Image) -> Result<Arc<Image>, ImageError> {
        image.pinned = self.is_pinned(&image);
        let broken = || Failure::NotFound {
            reference: image.id.clone(),
        };
        let id: Digest = image.id.parse().map_err(|_impossible| broken())?;
        let path = self.record_path(&id);
        persist::write_json(&path, &image.record(id), Durability::Synced).map_err(|source| {
            Failure::Record {
                id: image.id.clone(),
                source,
            }
        })?;
        let image = Arc::new(image);
        self.state
            .lock()
            .images
            .insert(image.id.clone(), Arc::clone(&image));
        Ok(image)
    }

    /// Whether there was such an image.
    pub(super) fn forget(&self, reference: &str) -> Result<bool, ImageError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(image) = self.state.lock().find(reference).cloned() else {
            return Ok(false);
        };
        self.erase(&image)?;
        Ok(true)
    }

    /// Removes the record of an image, and the image from memory. The caller holds `writing`.
    pub(super) fn erase(&self, image: &Image) -> Result<(), ImageError> {
        let id = image.id.parse().ok();
        if let Some(path) = id.map(|id: Digest| self.record_path(&id)) {
            persist::remove(&path).map_err(|source| Failure::Record {
                id: image.id.clone(),
                source,
            })?;
        }
        self.state.lock().images.remove(&image.id);
        Ok(())
    }

    pub(super) fn record_path(&self, id: &Digest) -> PathBuf {
        self.images_folder().join(format!("{}.json", id.digest()))
    }

    pub(super) fn is_pinned(&self, image: &Image) -> bool {
        let is_match = |name: &String| {
            let mut patterns = self.config.pinned.iter();
            patterns.any(|pattern| matches(pattern, name))
        };
        image
            .repo_tags
            .iter()
            .chain(&image.repo_digests)
            .any(is_match)
    }
}
