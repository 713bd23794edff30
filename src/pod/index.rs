//! All pods of the node by key and id, and the reservation of keys. Held for moments only, never across a wait.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::error::{PodError, PodErrorKind, Subject};
use super::host_ports;
use super::sandbox_state::{Pod, SandboxPhase};
use super::slot::PodSlot;
use crate::oci::{SandboxConfig, SandboxMetadata};

/// All pods.
#[derive(Debug, Default)]
pub(super) struct Index {
    tables: RwLock<Tables>,
    lost_log_lines: AtomicU64,
}

#[derive(Debug, Default)]
struct Tables {
    sandboxes: BTreeMap<String, Arc<PodSlot>>,
    keys: HashMap<SandboxMetadata, String>,
    containers: BTreeMap<String, Arc<PodSlot>>,
}

/// What became of a reservation.
#[derive(Debug)]
pub(super) enum Reservation {
    /// The key was free.
    New,
    /// The same sandbox is here or being made.
    Same(Arc<PodSlot>),
}

impl Index {
    /// Lines of output that could not be written were heard of.
    pub(super) fn add_lost_log_lines(&self, lines: u64) {
        self.lost_log_lines.fetch_add(lines, Ordering::Relaxed);
    }

    /// All of them, since this daemon was started, of all containers.
    pub(super) fn lost_log_lines(&self) -> u64 {
        self.lost_log_lines.load(Ordering::Relaxed)
    }

    /// Adds a sandbox under its key, unless the key is taken.
    ///
    /// # Errors
    /// `AlreadyExists` if it is taken by a sandbox of another configuration, or by one that is stopped;
    /// `FailedPrecondition` if another sandbox has one of its host ports.
    pub(super) fn reserve(
        &self,
        slot: &Arc<PodSlot>,
        config: &SandboxConfig,
        runtime_handler: &str,
    ) -> Result<Reservation, PodError> {
        let mut tables = self.write();
        if let Some(existing) = tables
            .keys
            .get(&config.metadata)
            .and_then(|id| tables.sandboxes.get(id))
        {
            let pod = existing.pod();
            let same = *pod.config == *config && pod.runtime_handler == runtime_handler;
            let alive = matches!(pod.phase, SandboxPhase::Creating | SandboxPhase::Ready);
            if same && alive {
                return Ok(Reservation::Same(Arc::clone(existing)));
            }
            return Err(taken(&pod, same));
        }
        let pods: Vec<Arc<Pod>> = tables.sandboxes.values().map(|slot| slot.pod()).collect();
        host_ports::check_free(&slot.id, config, pods.iter().map(AsRef::as_ref))?;
        tables.keys.insert(config.metadata.clone(), slot.id.clone());
        tables.sandboxes.insert(slot.id.clone(), Arc::clone(slot));
        Ok(Reservation::New)
    }

    /// Adds a sandbox that recovery has found, with its containers.
    pub(super) fn adopt(&self, slot: &Arc<PodSlot>) {
        let pod = slot.pod();
        let mut tables = self.write();
        tables
            .keys
            .insert(pod.config.metadata.clone(), slot.id.clone());
        for id in pod.containers.keys() {
            tables.containers.insert(id.clone(), Arc::clone(slot));
        }
        tables.sandboxes.insert(slot.id.clone(), Arc::clone(slot));
    }

    /// Adds a container.
    pub(super) fn add_container(&self, id: &str, slot: &Arc<PodSlot>) {
        self.write()
            .containers
            .insert(id.to_owned(), Arc::clone(slot));
    }

    /// Forgets a container.
    pub(super) fn remove_container(&self, id: &str) {
        self.write().containers.remove(id);
    }

    /// Forgets a sandbox, its key and its containers.
    pub(super) fn remove_sandbox(&self, pod: &Pod) {
        let mut tables = self.write();
        tables.sandboxes.remove(&pod.id);
        if tables.keys.get(&pod.config.metadata) == Some(&pod.id) {
            tables.keys.remove(&pod.config.metadata);
        }
        for id in pod.containers.keys() {
            tables.containers.remove(id);
        }
    }

    /// The sandbox of that id or unambiguous prefix.
    pub(super) fn sandbox(&self, id: &str) -> Option<Arc<PodSlot>> {
        unambiguous(&self.read().sandboxes, id).map(|(_, slot)| Arc::clone(slot))
    }

    /// The container of that id or unambiguous prefix: its whole id and its pod.
    pub(super) fn container(&self, id: &str) -> Option<(String, Arc<PodSlot>)> {
        unambiguous(&self.read().containers, id)
            .map(|(whole, slot)| (whole.clone(), Arc::clone(slot)))
    }

    /// All sandboxes.
    pub(super) fn all(&self) -> Vec<Arc<PodSlot>> {
        self.read().sandboxes.values().cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unambiguous<'table, T>(
    table: &'table BTreeMap<String, T>,
    id: &str,
) -> Option<(&'table String, &'table T)> {
    if id.is_empty() {
        return None;
    }
    if let Some(exact) = table.get_key_value(id) {
        return Some(exact);
    }
    let mut matching = table
        .range::<str, _>((Bound::Included(id), Bound::Unbounded))
        .take_while(|(whole, _)| whole.starts_with(id));
    let first = matching.next()?;
    matching.next().is_none().then_some(first)
}

fn taken(pod: &Pod, same: bool) -> PodError {
    let metadata = &pod.config.metadata;
    let why = if same {
        "which is not ready any more: remove it, or raise the attempt"
    } else {
        "with another configuration"
    };
    PodError::new(
        PodErrorKind::AlreadyExists,
        Subject::Sandbox(pod.id.clone()),
        format!(
            "the pod name {:?}, namespace {:?}, uid {:?}, attempt {}, is taken by this sandbox, {why}",
            metadata.name, metadata.namespace, metadata.uid, metadata.attempt
        ),
    )
}
