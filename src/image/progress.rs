//! How far a pull is: what everyone who waits for it can look at, and what nobody pays for who does not.
//!
//! The work itself only stores where it is (one byte a layer); the bytes are counted for readers of the blob anyway.
//! Whoever wants to show progress samples it as often as there is something to see.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use oci_spec::image::Digest;

use crate::content::Spool;

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
    download: OnceLock<Spool>,
}

const BEGUN: u8 = 1;
const DONE: u8 = 2;

impl LayerStage {
    /// The blob was in the store already, or comes in through this spool.
    pub(super) fn begin(&self, download: Option<&Spool>) {
        if let Some(spool) = download {
            // A second download of one layer does not happen: its work begins once.
            self.download.get_or_init(|| spool.clone());
        }
        self.step.store(BEGUN, Ordering::Relaxed);
    }

    /// Unpacked, and durable.
    pub(super) fn finish(&self) {
        self.step.store(DONE, Ordering::Relaxed);
    }

    fn progress(&self, digest: &Digest, size_bytes: u64) -> LayerProgress {
        let step = self.step.load(Ordering::Relaxed);
        let received = self.download.get().map(Spool::written);
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
