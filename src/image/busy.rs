//! Knowing when nothing is pulled or imported any more, and giving memory back then.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::images::Inner;

/// A pull or an import that is under way. After the last one memory goes back to the kernel: a pull takes several
/// times what the daemon needs when it does nothing.
#[derive(Debug)]
pub(super) struct Busy(Arc<Inner>);

impl Busy {
    pub(super) fn begin(inner: &Arc<Inner>) -> Self {
        inner.busy.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(inner))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Some milliseconds on a thread that may block; nobody waits for it. Outside of a runtime there is no hurry.
        if self.0.busy.fetch_sub(1, Ordering::Relaxed) == 1
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn_blocking(carpel_linux::memory::give_back);
        }
    }
}
