//! The cheap part of a verification, once a boot: what was written last before the machine went down.
//!
//! Everything is synced before it is visible, so after a power cut only whole things should be there. A disk that lies
//! about its cache is caught here where it costs nothing: by lengths and numbers of files, no byte is read. SIGKILL of
//! the daemon is no reason for it: what a process has written stays in the page cache.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::ImageError;
use super::super::error::Failure;
use super::super::images::Inner;
use super::layers;
use crate::persist::{self, Durability};

/// What was written so long before the last thing is looked at: many times what the kernel keeps dirty pages
/// (vm.dirty_expire_centisecs, 30 s).
const RECENT: Duration = Duration::from_secs(600);

/// random(4): changes with each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// `store.json`; `docs/state-on-disk.md` describes it.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// The boot in which the store was opened last.
    boot_id: String,
}

const RECORD_VERSION: u32 = 1;

impl Inner {
    /// Whether the machine was started anew since the store was opened last.
    pub(in super::super) fn is_after_boot(&self) -> bool {
        match persist::read_json::<Record>(&self.store_path()) {
            Ok(Some(record)) => Some(record.boot_id) != boot_id(),
            // None was written yet; or it was torn, which is a reason to look.
            Ok(None) | Err(_) => true,
        }
    }

    /// Removes layers that were unpacked last and lack files. Their images are forgotten when records are read next.
    pub(in super::super) fn discard_incomplete_layers(&self) -> Result<(), ImageError> {
        Ok(self.snapshots.discard_incomplete(RECENT)?)
    }

    /// Removes blobs of another length than their manifest says, and forgets images whose manifest is of no use.
    pub(in super::super) fn check_blobs_after_boot(&self) -> Result<(), ImageError> {
        let images: Vec<_> = self.state.lock().images.values().cloned().collect();
        for image in images {
            let layers = match layers::of_image(self, &image) {
                Ok(layers) => layers,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        image = image.id,
                        error,
                        "an image without its manifest is forgotten"
                    );
                    self.forget(&image.id)?;
                    continue;
                }
            };
            for layer in layers {
                let size = self.content.size(&layer.blob);
                if size.is_some_and(|size| size != layer.size) {
                    tracing::warn!(digest = %layer.blob, size, expected = layer.size, "a blob of another length is removed");
                    self.content.remove(&layer.blob)?;
                }
            }
        }
        Ok(())
    }

    /// Until the next boot nothing of this is needed.
    pub(in super::super) fn remember_boot(&self) -> Result<(), ImageError> {
        let Some(boot_id) = boot_id() else {
            return Ok(());
        };
        let record = Record {
            version: RECORD_VERSION,
            boot_id,
        };
        let path = self.store_path();
        let written = persist::write_json(&path, &record, Durability::Rename);
        written.map_err(|source| Failure::Record {
            id: "store".to_owned(),
            source,
        })?;
        Ok(())
    }

    fn store_path(&self) -> PathBuf {
        self.config.root.join("store.json")
    }
}

fn boot_id() -> Option<String> {
    let text = fs::read_to_string(BOOT_ID).ok()?;
    Some(text.trim().to_owned())
}
