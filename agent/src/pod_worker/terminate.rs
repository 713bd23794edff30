//! The end of a pod: of one that has run its course, whose dead containers stay for whoever asks, and of one that is
//! deleted, of which nothing stays. Both are done in steps that can be begun again at any point.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::act::grace_of;
use super::files;
use super::observed::Observed;
use super::worker::{Next, Worker, after};

/// When a step has failed.
const AGAIN: Duration = Duration::from_secs(2);

impl Worker {
    /// The pod has succeeded or failed: what still runs of it is ended.
    pub(super) fn wind_down(&mut self, pod: &Arc<Pod>, observed: &Observed) {
        if !self.busy.pod && self.must_end(observed) {
            self.end_pod(pod, observed, grace_of(pod));
        }
    }

    /// The pod is deleted: everything of it is ended and removed, its object at last.
    pub(super) async fn terminate(
        &mut self,
        pod: &Arc<Pod>,
        observed: &Observed,
        grace: Duration,
    ) -> Next {
        let is_shorter = self.ending_grace.is_none_or(|before| grace < before);
        if is_shorter {
            // Whatever is being done with it does not count any more; what is asked for now ends it.
            self.tasks.abort_all();
            while self.tasks.join_next().await.is_some() {}
            self.busy = Default::default();
            self.ending_grace = Some(grace);
            // What was being made may be there only now.
            if self.must_end(observed) {
                self.end_pod(pod, observed, grace);
            }
            return Next::At(after(Duration::from_millis(100)));
        }
        if self.busy.pod {
            return Next::At(after(AGAIN));
        }
        if self.must_end(observed) {
            self.end_pod(pod, observed, grace);
            return Next::At(after(AGAIN));
        }
        match self.remove_all(pod, observed).await {
            Ok(()) => Next::Gone,
            Err(error) => {
                tracing::warn!(pod = %self.key, %error, "remove a pod");
                Next::At(after(AGAIN))
            }
        }
    }

    async fn remove_all(
        &mut self,
        pod: &Pod,
        observed: &Observed,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let newest = observed.sandbox.iter().map(|it| &it.id);
        for id in newest.chain(&observed.older_sandboxes) {
            self.node.runtime.remove_sandbox(id).await?;
        }
        let node = self.node.clone();
        let uid = self.uid.clone();
        tokio::task::spawn_blocking(move || node.volumes.teardown(&uid)).await??;
        files::remove(&self.node.pod_directory(&self.uid))?;
        let logs = format!("{}_{}_{}", self.key.namespace, self.key.name, self.uid);
        files::remove(&self.node.logs_directory.join(logs))?;
        self.node.user_ranges.give_back(&self.uid);
        if pod.metadata.uid.as_deref() == Some(&*self.uid) {
            self.node.store.delete(&self.key)?;
        }
        Ok(())
    }
}
