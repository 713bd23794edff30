//! Getting the layers of an image: blobs that stream in, unpacked while they do.
//!
//! ```text
//! registry ─chunks→ writer thread: hash, file ─page cache→ unpacker thread: inflate, hash, untar → staging → commit
//! ```
//!
//! Layers of one image run at the same time, bounded over all pulls; only the last step of each, inheriting from the
//! layers below, waits until the one below is whole. They are committed in any order, those that are ready together by
//! one sync.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use oci_spec::image::Digest;
use tokio::sync::{mpsc, watch};

use super::error::Failure;
use super::flight::{Flight, Outcome, Role, wait};
use super::images::Inner;
use super::manifest::{Form, Layer};
use super::progress::{LayerStage, PullStage, Settled};
use super::{ErrorKind, ImageError, artifact};
use crate::content::{self, Ingest, Spool};
use crate::layer::{self, LayerError, Limits, OpenLayer};
use crate::registry::{RegistryError, Session};
use crate::snapshot::{ChainId, SnapshotError, Staging};

/// Chunks between the connection and the writer: about 256 KiB with hyper's buffers.
const CHUNKS_IN_FLIGHT: usize = 16;

/// Where the blobs of an image come from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// What the user asked for, for messages.
    pub(super) reference: String,
    /// The registry; `None` if all blobs are in the store already, as in an import.
    pub(super) session: Option<Session>,
}

/// Blobs that are being downloaded.
#[derive(Debug, Default)]
pub(super) struct Downloads {
    running: Mutex<HashMap<Digest, Download>>,
}

#[derive(Debug, Clone)]
struct Download {
    spool: Spool,
    outcome: watch::Receiver<Outcome<()>>,
}

/// A blob to unpack.
enum Feed {
    Present(File),
    Following(Download),
}

impl Downloads {
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Download>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until all layers of an image are unpacked and committed; `stage` tells meanwhile how far they are.
pub(super) async fn ensure_layers(
    inner: &Arc<Inner>,
    origin: &Origin,
    layers: &[Layer],
    stage: &PullStage,
) -> Result<(), ImageError> {
    loop {
        match try_layers(inner, origin, layers, stage).await {
            // What another pull had made was collected before we held it.
            (Role::Joined, Ok(())) if !are_whole(inner, layers) => {}
            (_, Ok(())) => return Ok(()),
            // Another pull failed, maybe by its credentials, or a layer of an earlier one that is ending still. Each of
            // them has left the table when it is heard of, so that the next attempt is ours, or another one's again.
            (Role::Joined, Err(error)) => {
                tracing::debug!(reference = origin.reference, %error, "the pull that was joined failed");
            }
            // A mirror sent wrong bytes and is not asked again: what it was asked for is fetched elsewhere.
            (Role::Began, Err(error)) if is_worth_another_host(origin, &error) => {}
            (Role::Began, Err(error)) => return Err(error),
        }
    }
}

/// Ends, because a session distrusts each host once and never the last one.
fn is_worth_another_host(origin: &Origin, error: &ImageError) -> bool {
    let session = origin.session.as_ref();
    error.kind() == ErrorKind::Corrupt && session.is_some_and(Session::has_turned_away)
}

fn are_whole(inner: &Inner, layers: &[Layer]) -> bool {
    layers.iter().all(|layer| {
        inner.snapshots.layer(&layer.chain_id).is_some() && inner.content.contains(&layer.blob)
    })
}

/// The role is that of the layer that failed; without one, `Joined` if any layer was somebody else's work.
async fn try_layers(
    inner: &Arc<Inner>,
    origin: &Origin,
    layers: &[Layer],
    stage: &PullStage,
) -> (Role, Result<(), ImageError>) {
    let mut flights: Vec<(Flight<(), LayerStage>, Role)> = Vec::new();
    for layer in layers {
        let work = |stage: Arc<LayerStage>| {
            let (inner, origin, layer) = (Arc::clone(inner), origin.clone(), layer.clone());
            let below = layers
                .iter()
                .zip(&flights)
                .map(|(layer, (flight, _))| Below {
                    chain_id: layer.chain_id.clone(),
                    flight: flight.clone(),
                });
            let below: Vec<Below> = below.collect();
            async move {
                let outcome = ensure_layer(inner, origin, layer, below, &stage).await;
                if outcome.is_ok() {
                    stage.finish();
                }
                outcome
            }
        };
        flights.push(inner.layers.enter(layer.chain_id.clone(), work));
    }
    let of_layer = |(layer, (flight, _)): (&Layer, &(Flight<(), LayerStage>, Role))| {
        (layer.blob.clone(), layer.size, Arc::clone(&flight.stage))
    };
    stage.set(layers.iter().zip(&flights).map(of_layer).collect());
    let mut role = Role::Began;
    // The lowest layer that failed says why: those above it may only have waited for it.
    for (flight, own) in flights {
        if let Err(error) = wait(flight.outcome).await {
            return (own, Err(error));
        }
        if own == Role::Joined {
            role = own;
        }
    }
    (role, Ok(()))
}

async fn ensure_layer(
    inner: Arc<Inner>,
    origin: Origin,
    layer: Layer,
    below: Vec<Below>,
    stage: &Arc<LayerStage>,
) -> Result<(), ImageError> {
    if inner.snapshots.layer(&layer.chain_id).is_some() {
        return ensure_blob(&inner, &origin, &layer).await;
    }
    let (staging, implied) = loop {
        match unpacked(&inner, &origin, &layer, stage).await {
            // Another image's download of the same blob failed, which says nothing about ours.
            (Role::Joined, Err(error)) => {
                tracing::debug!(blob = %layer.blob, %error, "the download that was joined failed");
            }
            (_, outcome) => break outcome?,
        }
    };
    // Each of them: one may be of a pull that has ended, and settled, and one below it of this pull, and not yet.
    for below in &below {
        below.is_settled().await?;
    }
    let stage = Arc::clone(stage);
    let last_steps = move || {
        let broken = |source| Failure::Layer {
            digest: layer.blob.clone(),
            source,
        };
        let mut lower = Vec::new();
        // Lower layers stay where they are while this one looks at them, whatever becomes of them.
        let mut held = Vec::new();
        for below in below.iter().rev() {
            let (directory, staging) = below.open(&inner)?;
            lower.push(directory);
            held.push(staging);
        }
        let directory = OpenLayer::open(staging.path()).map_err(broken)?;
        layer::inherit_from(&directory, &implied, &lower).map_err(broken)?;
        drop((lower, held, below));
        let staging = Arc::new(staging);
        stage.settle(Settled {
            directory,
            staging: Arc::clone(&staging),
        });
        staging.commit()?;
        Ok(())
    };
    tokio::task::spawn_blocking(last_steps).await?
}

/// Gets the blob of a layer that is here already, as a container has it: the image's record will name both.
async fn ensure_blob(inner: &Arc<Inner>, origin: &Origin, layer: &Layer) -> Result<(), ImageError> {
    let _permit = Arc::clone(&inner.permits).acquire_owned().await.ok();
    loop {
        let (download, role) = match feed(inner, origin, layer)? {
            (Feed::Present(_), _) => return Ok(()),
            (Feed::Following(download), role) => (download, role),
        };
        match (wait(download.outcome).await, role) {
            (Err(error), Role::Joined) => {
                tracing::debug!(blob = %layer.blob, %error, "the download that was joined failed");
            }
            (outcome, _) => return outcome,
        }
    }
}

/// A layer with all its files, compared with its digests, that still has to inherit; and the directories that do. The
/// role is `Joined` if its blob was somebody else's download.
async fn unpacked(
    inner: &Arc<Inner>,
    origin: &Origin,
    layer: &Layer,
    stage: &LayerStage,
) -> (Role, Result<(Staging, Vec<PathBuf>), ImageError>) {
    // The semaphore is never closed.
    let _permit = Arc::clone(&inner.permits).acquire_owned().await.ok();
    let (feed, role) = match feed(inner, origin, layer) {
        Ok(found) => found,
        Err(error) => return (Role::Began, Err(error)),
    };
    let unpack = async {
        let staging = inner.snapshots.stage(&layer.chain_id)?;
        let outcome = match &feed {
            Feed::Present(_) => {
                stage.begin(None);
                None
            }
            Feed::Following(download) => {
                stage.begin(Some(&download.spool));
                Some(download.outcome.clone())
            }
        };
        let unpacking = tokio::task::spawn_blocking({
            let (layer, limits) = (layer.clone(), inner.config.limits);
            let target = staging.path().to_owned();
            move || match feed {
                Feed::Present(file) => unpack_blob(&layer, file, &target, limits),
                Feed::Following(download) => {
                    unpack_blob(&layer, download.spool.reader(), &target, limits)
                }
            }
        });
        let implied = unpacking.await?;
        // If the download failed, that is the reason, and the unpacker only noticed.
        if let Some(outcome) = outcome {
            wait(outcome).await?;
        }
        let implied = implied.map_err(|source| Failure::Layer {
            digest: layer.blob.clone(),
            source,
        })?;
        Ok((staging, implied))
    };
    (role, unpack.await)
}

/// A layer below another one, which may be under way still.
struct Below {
    chain_id: ChainId,
    flight: Flight<(), LayerStage>,
}

impl Below {
    /// Waits until it can be inherited from.
    async fn is_settled(&self) -> Result<(), ImageError> {
        let mut settled = self.flight.stage.settled();
        tokio::select! {
            // The sender is in the stage, which is here.
            _ = settled.wait_for(Option::is_some) => Ok(()),
            outcome = wait(self.flight.outcome.clone()) => outcome,
        }
    }

    /// Its directory, and what keeps that. One that was removed meanwhile, after the pull that had asked for both had
    /// failed, is an error: what is above it would get other owners and modes than it should.
    fn open(&self, inner: &Inner) -> Result<(OpenLayer, Option<Arc<Staging>>), ImageError> {
        if let Some(settled) = &*self.flight.stage.settled().borrow() {
            let staging = Arc::clone(&settled.staging);
            return Ok((settled.directory.clone(), Some(staging)));
        }
        let missing = || SnapshotError::Missing {
            chain_id: self.chain_id.clone(),
        };
        let path = inner.snapshots.layer(&self.chain_id).ok_or_else(missing)?;
        let opened = OpenLayer::open(&path).map_err(|source| Failure::Layer {
            digest: self.chain_id.clone(),
            source,
        })?;
        Ok((opened, None))
    }
}

/// Makes of a blob what becomes of it below `target`; gives the directories that are implied only.
pub(super) fn unpack_blob(
    layer: &Layer,
    blob: impl Read + Send,
    target: &Path,
    limits: Limits,
) -> Result<Vec<PathBuf>, LayerError> {
    match &layer.form {
        Form::Archive => layer::unpack(blob, target, layer.diff_id.as_ref(), limits)
            .map(|unpacked| unpacked.implied),
        Form::File(name) => artifact::write_file(blob, target, name)
            .map(|()| Vec::new())
            .map_err(|source| LayerError::Target {
                path: target.join(name),
                source,
            }),
    }
}

/// The blob of a layer: from the store, from a download that is under way, or from one that begins now.
fn feed(inner: &Arc<Inner>, origin: &Origin, layer: &Layer) -> Result<(Feed, Role), ImageError> {
    let mut running = inner.downloads.lock();
    if let Some(download) = running.get(&layer.blob) {
        return Ok((Feed::Following(download.clone()), Role::Joined));
    }
    let session = match &origin.session {
        Some(session) if !inner.content.contains(&layer.blob) => session,
        _ => {
            let blob = inner.content.open_blob(&layer.blob)?;
            return Ok((Feed::Present(blob), Role::Began));
        }
    };
    let ingest = inner.content.ingest(&layer.blob, Some(layer.size))?;
    let (sender, outcome) = watch::channel(None);
    let download = Download {
        spool: ingest.spool(),
        outcome,
    };
    running.insert(layer.blob.clone(), download.clone());
    // The task ends with its download, which has deadlines of its own.
    tokio::spawn({
        let (inner, layer, origin) = (Arc::clone(inner), layer.clone(), origin.clone());
        let stream = session.blob(&layer.blob, Some(layer.size));
        async move {
            let outcome = receive(stream, ingest, &origin.reference).await;
            inner.downloads.lock().remove(&layer.blob);
            sender.send_replace(Some(outcome));
        }
    });
    Ok((Feed::Following(download), Role::Began))
}

/// Writes a stream into the store.
async fn receive(
    mut stream: crate::registry::BlobStream,
    mut ingest: Ingest,
    reference: &str,
) -> Result<(), ImageError> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(CHUNKS_IN_FLIGHT);
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(bytes) = receiver.blocking_recv() {
            ingest.write(&bytes)?;
        }
        Ok::<_, ImageError>(ingest)
    });
    let received = loop {
        match stream.chunk().await {
            Ok(Some(bytes)) => {
                // The writer stopped, and says why below.
                if sender.send(bytes).await.is_err() {
                    break Ok(());
                }
            }
            Ok(None) => break Ok(()),
            Err(source) => break Err(refused(reference, source)),
        }
    };
    drop(sender);
    let ingest = writer.await??;
    received?;
    let committed = tokio::task::spawn_blocking(move || ingest.commit()).await?;
    committed.map_err(|error| {
        if error.kind() == content::ErrorKind::Corrupt {
            stream.distrust();
        }
        error.into()
    })
}

pub(super) fn refused(reference: &str, source: RegistryError) -> ImageError {
    let reference = reference.to_owned();
    Failure::Registry { reference, source }.into()
}
