//! Layers in whose place others came, and the containers that may use their files still.
//!
//! Nothing of this is on disk: of two layers of one chain the later one counts, and after a restart every container
//! with a lease on the chain is taken for a user of the earlier one.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::images::Inner;
use crate::snapshot::Retired;

/// The containers of each.
#[derive(Debug, Default)]
pub(super) struct RetiredLayers {
    users: Mutex<HashMap<Retired, HashSet<String>>>,
}

impl Inner {
    /// Removes those whose last container is gone. Containers that have a lease when a layer is first seen here may use
    /// it: it is called right after one was replaced.
    pub(super) fn collect_retired(&self) {
        let layers = self.snapshots.retired();
        let mut users = self
            .retired
            .users
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        users.retain(|retired, _| layers.contains(retired));
        for retired in layers {
            let table = self.state.lock();
            let present = || {
                let leases = table.leases.iter();
                let uses =
                    leases.filter(|(_, leased)| leased.chain_ids.contains(&retired.chain_id));
                uses.map(|(container, _)| container.clone()).collect()
            };
            let containers = users.entry(retired.clone()).or_insert_with(present);
            containers.retain(|container| table.leases.contains_key(container));
            let is_used = !containers.is_empty();
            drop(table);
            if !is_used && let Err(error) = self.snapshots.remove_retired(&retired) {
                tracing::warn!(chain_id = %retired.chain_id, %error, "a replaced layer stays");
            }
        }
    }
}
