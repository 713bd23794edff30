//! Leases: a container keeps the layers it runs on and those of its volumes, whatever happens to the images.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::Failure;
use super::images::Inner;
use super::state::Leased;
use super::{Image, ImageError};
use crate::persist::{self, Durability};
use crate::snapshot::ChainId;

/// `leases/<container id>.json`; `docs/state-on-disk.md` describes it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Lease {
    pub(super) version: u32,
    pub(super) container_id: String,
    #[serde(default)]
    pub(super) image_ids: Vec<String>,
    pub(super) chain_ids: Vec<ChainId>,
}

/// The version of [`Lease`] that is written and read.
pub(super) const LEASE_VERSION: u32 = 1;

impl Inner {
    /// Leases survive the daemon, not a power cut, like the containers that have them: after one, no container runs.
    pub(super) fn lease(&self, images: &[&Image], container_id: &str) -> Result<(), ImageError> {
        let path = self.lease_path(container_id)?;
        // In memory first: from here on no collection takes the layers.
        let image_ids: Vec<String> = images.iter().map(|image| image.id.clone()).collect();
        let mut chain_ids: Vec<ChainId> = Vec::new();
        for chain_id in images.iter().flat_map(|image| &image.chain_ids) {
            if !chain_ids.contains(chain_id) {
                chain_ids.push(chain_id.clone());
            }
        }
        let leased = Leased {
            image_ids: image_ids.clone(),
            chain_ids: chain_ids.clone(),
        };
        self.state
            .lock()
            .leases
            .insert(container_id.to_owned(), leased);
        let lease = Lease {
            version: LEASE_VERSION,
            container_id: container_id.to_owned(),
            image_ids,
            chain_ids,
        };
        let written = persist::write_json(&path, &lease, Durability::Rename);
        written.map_err(|source| {
            self.state.lock().leases.remove(container_id);
            let container_id = container_id.to_owned();
            Failure::Lease {
                container_id,
                source,
            }
        })?;
        // An image may have been removed, and its layers collected, since the caller found it.
        let is_gone = |chain_id: &ChainId| self.snapshots.layer(chain_id).is_none();
        match images
            .iter()
            .find(|image| image.chain_ids.iter().any(is_gone))
        {
            None => Ok(()),
            Some(image) => {
                self.release(container_id)?;
                let reference = image.id.clone();
                Err(Failure::NotFound { reference }.into())
            }
        }
    }

    /// Whether the lease was there.
    pub(super) fn release(&self, container_id: &str) -> Result<bool, ImageError> {
        let path = self.lease_path(container_id)?;
        persist::remove(&path).map_err(|source| Failure::Lease {
            container_id: container_id.to_owned(),
            source,
        })?;
        Ok(self.state.lock().leases.remove(container_id).is_some())
    }

    fn lease_path(&self, container_id: &str) -> Result<PathBuf, ImageError> {
        let is_name = !container_id.is_empty()
            && container_id.len() <= 200
            && container_id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        match is_name {
            true => Ok(self.leases_folder().join(format!("{container_id}.json"))),
            false => Err(Failure::BadContainerId {
                container_id: container_id.to_owned(),
            }
            .into()),
        }
    }
}
