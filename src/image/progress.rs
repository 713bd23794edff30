//! How far a pull is: what everyone who waits for it can look at, and what nobody pays for who does not.
//!
//! The work itself only stores where it is (one byte a layer); the bytes are counted for readers of the blob anyway.
//! Whoever wants to show progress samples it as often as there is something to see.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci_spec::image::Digest;
use tokio::sync::watch;

use crate::content::Spool;
use crate::layer::OpenLayer;
use crate::snapshot::Staging;

/// Where one layer of a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// For its turn.
    Waiting,
    /// Bytes come in, and are unpacked as they do.
    Downloading,
    /// All bytes are here.
    Unpacking,
    /// Unpacked, and durable.
    Done,
}

/// How far one layer of a pull is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerProgress {
    /// Of the blob.
    pub digest: Digest,
    /// Where it is.
    pub state: LayerState,
    /// Bytes of the blob that are here.
    pub received_bytes: u64,
    /// Bytes of the blob.
    pub size_bytes: u64,
}

/// How far the work on one layer is; shared by all pulls that need it.
#[derive(Debug, Default)]
pub(super) struct LayerStage {
    step: AtomicU8,
    download: Mutex<Option<Spool>>,
    settled: watch::Sender<Option<Settled>>,
}

/// A layer that is whole, though not durable yet: those above it can inherit from it.
#[derive(Debug, Clone)]
pub(super) struct Settled {
    pub(super) directory: OpenLayer,
    /// Keeps the files for as long as somebody may look at them, even if the commit fails.
    pub(super) staging: Arc<Staging>,
}

const BEGUN: u8 = 1;
const DONE: u8 = 2;

impl LayerStage {
    /// The blob was in the store already, or comes in through this spool.
    pub(super) fn begin(&self, download: Option<&Spool>) {
        // A second one comes if the first was another pull's, and failed.
        *self.lock() = download.cloned();
        self.step.store(BEGUN, Ordering::Relaxed);
    }

    /// Whole, but not durable yet.
    pub(super) fn settle(&self, settled: Settled) {
        self.settled.send_replace(Some(settled));
    }

    /// Unpacked, and durable: it is found in the store now.
    pub(super) fn finish(&self) {
        self.step.store(DONE, Ordering::Relaxed);
        self.settled.send_replace(None);
    }

    /// What it is between [`LayerStage::settle`] and [`LayerStage::finish`].
    pub(super) fn settled(&self) -> watch::Receiver<Option<Settled>> {
        self.settled.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Spool>> {
        self.download.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self, digest: &Digest, size_bytes: u64) -> LayerProgress {
        let step = self.step.load(Ordering::Relaxed);
        let received = self.lock().as_ref().map(Spool::written);
        let received_bytes = match step {
            DONE => size_bytes,
            BEGUN => received.unwrap_or(size_bytes),
            _ => 0,
        };
        LayerProgress {
            digest: digest.clone(),
            state: match step {
                DONE => LayerState::Done,
                BEGUN if received_bytes < size_bytes => LayerState::Downloading,
                BEGUN => LayerState::Unpacking,
                _ => LayerState::Waiting,
            },
            received_bytes,
            size_bytes,
        }
    }
}

/// How far one pull is; shared by all that joined it.
#[derive(Debug, Default)]
pub(super) struct PullStage {
    layers: Mutex<Vec<(Digest, u64, Arc<LayerStage>)>>,
}

impl PullStage {
    /// The layers are known: digest, size and work of each. Work that is begun anew replaces what failed.
    pub(super) fn set(&self, layers: Vec<(Digest, u64, Arc<LayerStage>)>) {
        *self.layers.lock().unwrap_or_else(PoisonError::into_inner) = layers;
    }

    /// Bottom first; empty until the manifest is here.
    pub(super) fn progress(&self) -> Vec<LayerProgress> {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers
            .iter()
            .map(|(digest, size_bytes, stage)| stage.progress(digest, *size_bytes))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_waits_begins_and_is_done() {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let stage = Arc::new(LayerStage::default());
        let pull = PullStage::default();
        assert_eq!(pull.progress(), []);
        pull.set(vec![(digest, 9, Arc::clone(&stage))]);
        let now = || {
            let layer = pull.progress().remove(0);
            (layer.state, layer.received_bytes)
        };
        assert_eq!(now(), (LayerState::Waiting, 0));
        // From the store: nothing is downloaded.
        stage.begin(None);
        assert_eq!(now(), (LayerState::Unpacking, 9));
        stage.finish();
        assert_eq!(now(), (LayerState::Done, 9));
    }
}
