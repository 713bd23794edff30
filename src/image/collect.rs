//! Garbage collection: removing what no image, lease or running pull names. It may be interrupted anywhere: each removal
//! is one rename or unlink, and what is left is garbage of the next collection.

use oci_spec::image::Digest;

use super::images::Inner;

/// One thing that nobody needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Garbage {
    /// A blob.
    Blob(Digest),
    /// An unpacked layer, by its chain.
    Layer(Digest),
}

impl Inner {
    /// Removes blobs and layers that nobody needs. What cannot be removed is logged and stays for the next time.
    pub(super) fn collect(&self) {
        for garbage in self.garbage() {
            self.discard(&garbage);
        }
        self.collect_retired();
    }

    /// What nobody needs at the moment.
    pub(super) fn garbage(&self) -> Vec<Garbage> {
        let live = self.state.lock().live_without(&[]);
        let blobs = self.content.digests().unwrap_or_else(|error| {
            tracing::warn!(%error, "blobs cannot be collected");
            Vec::new()
        });
        let blobs = blobs.into_iter().map(Garbage::Blob);
        let layers = self.snapshots.chain_ids().into_iter().map(Garbage::Layer);
        blobs
            .chain(layers)
            .filter(|garbage| !live.contains(garbage.digest()))
            .collect()
    }

    /// Removes one thing, if still nobody needs it.
    pub(super) fn discard(&self, garbage: &Garbage) {
        // Looked at once more under the lock: a pull may have come to count on it.
        let table = self.state.lock();
        if table.is_live(garbage.digest()) {
            return;
        }
        match garbage {
            Garbage::Blob(digest) => {
                if let Err(error) = self.content.remove(digest) {
                    tracing::warn!(%digest, %error, "a blob stays");
                }
            }
            Garbage::Layer(chain_id) => {
                if let Err(error) = self.snapshots.remove_layer(chain_id) {
                    tracing::warn!(%chain_id, %error, "a layer stays");
                }
            }
        }
    }
}

impl Garbage {
    fn digest(&self) -> &Digest {
        match self {
            Self::Blob(digest) | Self::Layer(digest) => digest,
        }
    }
}
