//! What is known of all images, in memory: by id, with names, leases and what pulls hold.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci_spec::image::Digest;

use super::Image;
use super::reference::Name;
use crate::snapshot::ChainId;

/// The shortest prefix of an id that is looked up as one.
const SHORT_ID_LENGTH_MIN: usize = 4;

/// The state, with one writer at a time; cheap to clone. The lock is never held across a wait.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    shared: Arc<Mutex<Table>>,
}

/// The state itself.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) images: BTreeMap<String, Arc<Image>>,
    /// What each container needs.
    pub(super) leases: HashMap<String, Leased>,
    /// Blobs and layers that running pulls count on, with how many do.
    holds: HashMap<Digest, usize>,
}

/// What one container needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Leased {
    /// Its own image and those of its volumes, by id; empty in leases that an older Carpel wrote.
    pub(super) image_ids: Vec<String>,
    /// All their layers.
    pub(super) chain_ids: Vec<ChainId>,
}

/// Keeps one blob or layer from being collected while it exists.
#[derive(Debug)]
pub(super) struct Hold {
    state: State,
    digest: Digest,
}

impl State {
    pub(super) fn lock(&self) -> MutexGuard<'_, Table> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a blob or layer. Look whether it is there after this call, not before.
    pub(super) fn hold(&self, digest: &Digest) -> Hold {
        *self.lock().holds.entry(digest.clone()).or_default() += 1;
        Hold {
            state: self.clone(),
            digest: digest.clone(),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut table = self.state.lock();
        if let Some(count) = table.holds.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                table.holds.remove(&self.digest);
            }
        }
    }
}

impl Table {
    /// The image with this id, tag, digest or unambiguous short id.
    pub(super) fn find(&self, reference: &str) -> Option<&Arc<Image>> {
        let hexadecimal = reference.strip_prefix("sha256:").unwrap_or(reference);
        if let Some(image) = self.images.get(&format!("sha256:{hexadecimal}")) {
            return Some(image);
        }
        if let Ok(name) = Name::parse(reference) {
            let canonical = name.canonical();
            let is_named = |image: &&Arc<Image>| {
                image.repo_tags.contains(&canonical) || image.repo_digests.contains(&canonical)
            };
            if let Some(image) = self.images.values().find(is_named) {
                return Some(image);
            }
        }
        self.find_by_prefix(hexadecimal)
    }

    fn find_by_prefix(&self, hexadecimal: &str) -> Option<&Arc<Image>> {
        let is_prefix = hexadecimal.len() >= SHORT_ID_LENGTH_MIN
            && hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_prefix {
            return None;
        }
        let prefix = format!("sha256:{hexadecimal}");
        let mut found = self
            .images
            .range(prefix.clone()..)
            .take_while(|(id, _)| id.starts_with(&prefix));
        match (found.next(), found.next()) {
            (Some((_, image)), None) => Some(image),
            _ => None,
        }
    }

    /// Does a container have this image, as its own or as a volume?
    pub(super) fn is_in_use(&self, image: &Image) -> bool {
        self.leases.values().any(|lease| {
            lease.image_ids.contains(&image.id)
                // Whose it was is not known: it may have been this one's.
                || (lease.image_ids.is_empty()
                    && image.chain_ids.iter().all(|one| lease.chain_ids.contains(one)))
        })
    }

    /// Everything that must stay, also when these images are gone.
    pub(super) fn live_without(&self, gone: &[Arc<Image>]) -> HashSet<Digest> {
        let is_kept = |image: &&Arc<Image>| gone.iter().all(|gone| gone.id != image.id);
        let of_images = self
            .images
            .values()
            .filter(is_kept)
            .flat_map(|image| image.blobs.iter().chain(&image.chain_ids));
        let of_leases = self.leases.values().flat_map(|lease| &lease.chain_ids);
        of_images
            .chain(of_leases)
            .chain(self.holds.keys())
            .cloned()
            .collect()
    }

    /// Whether one thing must stay: for the moment of removing it.
    pub(super) fn is_live(&self, digest: &Digest) -> bool {
        self.holds.contains_key(digest)
            || self
                .leases
                .values()
                .any(|lease| lease.chain_ids.contains(digest))
            || self
                .images
                .values()
                .any(|image| image.blobs.contains(digest) || image.chain_ids.contains(digest))
    }
}
