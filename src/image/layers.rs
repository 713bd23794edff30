//! Getting the layers of an image: blobs that stream in, unpacked while they do.
//!
//! ```text
//! registry ─chunks→ writer thread: hash, file ─page cache→ unpacker thread: inflate, hash, untar → staging → commit
//! ```
//!
//! Layers of one image run at the same time, bounded over all pulls; only the last step of each, inheriting from the
//! layers below and committing, waits for the one below.

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
use super::progress::{LayerStage, PullStage};
use super::{ErrorKind, ImageError, artifact};
use crate::content::{self, Ingest, Spool};
use crate::layer::{self, LayerError, Limits};
use crate::registry::{RegistryError, Session};
use crate::snapshot::ChainId;

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
    match try_layers(inner, origin, layers, stage).await {
        // A mirror sent wrong bytes and is not asked again: what it was asked for is fetched elsewhere.
        (_, Err(error)) if is_worth_another_host(origin, &error) => {
            Box::pin(ensure_layers(inner, origin, layers, stage)).await
        }
        // Another pull failed, maybe by its credentials; or what it had made was collected before we held it.
        (Role::Joined, outcome) if outcome.is_err() || !are_unpacked(inner, layers) => {
            try_layers(inner, origin, layers, stage).await.1
        }
        (_, outcome) => outcome,
    }
}

/// Ends, because a session distrusts each host once and never the last one.
fn is_worth_another_host(origin: &Origin, error: &ImageError) -> bool {
    let session = origin.session.as_ref();
    error.kind() == ErrorKind::Corrupt && session.is_some_and(Session::has_turned_away)
}

fn are_unpacked(inner: &Inner, layers: &[Layer]) -> bool {
    layers
        .iter()
        .all(|layer| inner.snapshots.layer(&layer.chain_id).is_some())
}

/// The role is `Joined` if any layer was somebody else's work.
async fn try_layers(
    inner: &Arc<Inner>,
    origin: &Origin,
    layers: &[Layer],
    stage: &PullStage,
) -> (Role, Result<(), ImageError>) {
    let mut role = Role::Began;
    let mut flights: Vec<Flight<(), LayerStage>> = Vec::new();
    let mut below: Vec<ChainId> = Vec::new();
    for layer in layers {
        let previous = flights.last().map(|flight| flight.outcome.clone());
        let work = |stage: Arc<LayerStage>| {
            let (inner, origin, layer) = (Arc::clone(inner), origin.clone(), layer.clone());
            let below = (below.clone(), previous);
            async move {
                let outcome = ensure_layer(inner, origin, layer, below, &stage).await;
                if outcome.is_ok() {
                    stage.finish();
                }
                outcome
            }
        };
        let (flight, own) = inner.layers.enter(layer.chain_id.clone(), work);
        if own == Role::Joined {
            role = own;
        }
        flights.push(flight);
        below.push(layer.chain_id.clone());
    }
    let of_layer = |(layer, flight): (&Layer, &Flight<(), LayerStage>)| {
        (layer.blob.clone(), layer.size, Arc::clone(&flight.stage))
    };
    stage.set(layers.iter().zip(&flights).map(of_layer).collect());
    // The lowest layer that failed says why: those above it may only have waited for it.
    for flight in flights {
        if let Err(error) = wait(flight.outcome).await {
            return (role, Err(error));
        }
    }
    (role, Ok(()))
}

async fn ensure_layer(
    inner: Arc<Inner>,
    origin: Origin,
    layer: Layer,
    (below, previous): (Vec<ChainId>, Option<watch::Receiver<Outcome<()>>>),
    stage: &LayerStage,
) -> Result<(), ImageError> {
    if inner.snapshots.layer(&layer.chain_id).is_some() {
        return Ok(());
    }
    // The semaphore is never closed.
    let permit = Arc::clone(&inner.permits).acquire_owned().await.ok();
    let feed = feed(&inner, &origin, &layer)?;
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
        let layer = layer.clone();
        let target = staging.path().to_owned();
        let limits = inner.config.limits;
        move || {
            let reader: Box<dyn Read + Send> = match feed {
                Feed::Present(file) => Box::new(file),
                Feed::Following(download) => Box::new(download.spool.reader()),
            };
            unpack_blob(&layer, reader, &target, limits)
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
    drop(permit);
    if let Some(previous) = previous {
        wait(previous).await?;
    }
    tokio::task::spawn_blocking(move || {
        let snapshots = &inner.snapshots;
        let lower: Vec<_> = below
            .iter()
            .rev()
            .filter_map(|chain_id| snapshots.layer(chain_id))
            .collect();
        layer::inherit(staging.path(), &implied, &lower).map_err(|source| Failure::Layer {
            digest: layer.blob.clone(),
            source,
        })?;
        staging.commit()?;
        Ok(())
    })
    .await?
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
fn feed(inner: &Arc<Inner>, origin: &Origin, layer: &Layer) -> Result<Feed, ImageError> {
    let mut running = inner.downloads.lock();
    if let Some(download) = running.get(&layer.blob) {
        return Ok(Feed::Following(download.clone()));
    }
    let session = match &origin.session {
        Some(session) if !inner.content.contains(&layer.blob) => session,
        _ => return Ok(Feed::Present(inner.content.open_blob(&layer.blob)?)),
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
    Ok(Feed::Following(download))
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
