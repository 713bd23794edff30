//! Pruning: removing the images that nobody uses, when a person asks for it.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use super::images::Inner;
use super::{Image, ImageError};

/// Which images are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PruneOptions {
    /// Only those without a tag, or those with one too.
    pub scope: PruneScope,
    /// Only those whose record has not changed for so long: no pull has brought them, or given them a name.
    pub unchanged_for: Duration,
    /// Remove them, or only tell.
    pub mode: PruneMode,
}

/// Which of the images that nobody uses are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PruneScope {
    /// Those that have no tag (any more).
    #[default]
    Untagged,
    /// All.
    All,
}

/// Whether anything is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PruneMode {
    /// Yes.
    #[default]
    Remove,
    /// No: what would be is told.
    Tell,
}

/// What was, or would be, removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The images, as they were.
    pub images: Vec<Arc<Image>>,
    /// What their blobs and layers take on disk that no other image, container or pull needs.
    pub bytes: u64,
}

impl Inner {
    /// Removes images that no container has, neither as its own nor as a volume, and that are not pinned.
    pub(super) fn prune(&self, options: PruneOptions) -> Result<Pruned, ImageError> {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        let is_old = |image: &Image| {
            let age = self
                .changed_at(image)
                .and_then(|at| now.duration_since(at).ok());
            options.unchanged_for.is_zero() || age.is_some_and(|age| age >= options.unchanged_for)
        };
        let candidates: Vec<Arc<Image>> = {
            let table = self.state.lock();
            let images = table.images.values();
            let unused = images.filter(|image| !image.pinned && !table.is_in_use(image));
            unused
                .filter(|image| options.scope == PruneScope::All || image.repo_tags.is_empty())
                .cloned()
                .collect()
        };
        let images: Vec<_> = candidates
            .into_iter()
            .filter(|image| is_old(image))
            .collect();
        let bytes = self.reclaimable(&images);
        if options.mode == PruneMode::Remove {
            for image in &images {
                self.erase(image)?;
            }
            drop(writing);
            self.collect();
        }
        Ok(Pruned { images, bytes })
    }

    /// When the record of an image was written.
    fn changed_at(&self, image: &Image) -> Option<SystemTime> {
        let path = self.record_path(&image.id.parse().ok()?);
        std::fs::metadata(path).ok()?.modified().ok()
    }

    /// What only these images need.
    fn reclaimable(&self, images: &[Arc<Image>]) -> u64 {
        let others = self.state.lock().live_without(images);
        let mut gone: Vec<_> = images
            .iter()
            .flat_map(|image| image.blobs.iter().chain(&image.chain_ids))
            .filter(|digest| !others.contains(*digest))
            .collect();
        gone.sort_by_key(|digest| digest.digest());
        gone.dedup();
        let bytes = gone.into_iter().map(|digest| {
            let layer = self.snapshots.layer_usage(digest).map(|usage| usage.bytes);
            layer.unwrap_or_default() + self.content.allocated(digest)
        });
        bytes.sum()
    }
}
