//! Garbage collection: removing what no image, lease or running pull names. It may be interrupted anywhere.

use super::images::Inner;

impl Inner {
    /// Removes blobs and layers that nobody needs. What cannot be removed is logged and stays for the next time.
    pub(super) fn collect(&self) {
        let live = self.state.lock().live();
        let blobs = match self.content.digests() {
            Ok(blobs) => blobs,
            Err(error) => {
                tracing::warn!(%error, "blobs cannot be collected");
                Vec::new()
            }
        };
        for digest in blobs.iter().filter(|digest| !live.contains(*digest)) {
            // Looked at once more under the lock: a pull may have come to count on it.
            let table = self.state.lock();
            if !table.is_live(digest)
                && let Err(error) = self.content.remove(digest)
            {
                tracing::warn!(%digest, %error, "a blob stays");
            }
        }
        // Layers from the top down, which is also how a chain is of use while this is interrupted.
        for chain_id in self.snapshots.chain_ids() {
            if live.contains(&chain_id) {
                continue;
            }
            let table = self.state.lock();
            if !table.is_live(&chain_id)
                && let Err(error) = self.snapshots.remove_layer(&chain_id)
            {
                tracing::warn!(%chain_id, %error, "a layer stays");
            }
        }
    }
}
