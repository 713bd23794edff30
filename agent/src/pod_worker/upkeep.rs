//! What a running pod needs beside its containers: volumes that follow their sources, tokens that do not expire, its
//! deadline, and the limits of its scratch space.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::node::Node;
use super::observed::Observed;
use super::sandbox::said;
use super::trouble::CONFIG_ERROR;
use super::worker::{SANDBOX, Worker, after};
use crate::status::{Kind, Subject, Verdict};

/// How often files and limits are looked at: a token is rotated at 80 % of its life, which is 10 minutes at least.
const PERIOD: Duration = Duration::from_secs(10);

impl Worker {
    /// Looks after it; when to look again.
    pub(super) async fn keep_up(&mut self, pod: &Arc<Pod>, observed: &Observed) -> Timestamp {
        let is_stale = self.is_stale.swap(false, Ordering::AcqRel);
        if is_stale {
            self.retry_what_was_missing();
        }
        if self.verdict.is_none() {
            self.verdict = self.deadline(pod);
        }
        let now = Timestamp::now();
        let version = pod.metadata.annotations.clone().into_iter().flatten();
        let labels = pod.metadata.labels.clone().into_iter().flatten();
        let told = format!("{:?}", version.chain(labels).collect::<Vec<_>>());
        let is_due = match &self.refreshed {
            Some((at, before)) => {
                let since = Duration::try_from(now.duration_since(*at)).unwrap_or_default();
                since >= PERIOD || before.as_ref() != Some(&told)
            }
            None => true,
        };
        if observed.ready_sandbox().is_some() && (is_due || is_stale) {
            self.refreshed = Some((now, Some(told)));
            self.refresh(pod, observed).await;
        }
        let deadline = self.deadline_at(pod);
        deadline.map_or_else(|| after(PERIOD), |at| at.min(after(PERIOD)))
    }

    /// An object of the namespace has changed: what waited for one need not wait longer.
    fn retry_what_was_missing(&mut self) {
        let waiting = &self.waiting;
        self.not_before.retain(|name, _| {
            let reason = waiting.get(name).map(|it| &*it.reason);
            name != SANDBOX && reason != Some(CONFIG_ERROR)
        });
    }

    async fn refresh(&mut self, pod: &Arc<Pod>, observed: &Observed) {
        let ips = observed.sandbox.as_ref().map(|it| it.ips.clone());
        let (node, of) = (self.node.clone(), pod.clone());
        let refreshed =
            tokio::task::spawn_blocking(move || refresh(&node, &of, &ips.unwrap_or_default()));
        match refreshed.await {
            Ok(Ok(over)) => {
                if self.verdict.is_none() {
                    self.verdict = over;
                }
            }
            Ok(Err(message)) => {
                let subject = Subject::pod(pod);
                self.node
                    .events
                    .record(&subject, Kind::Warning, "FailedMount", &message);
            }
            Err(error) => tracing::error!(pod = %self.key, %error, "refresh volumes"),
        }
        if let Some(verdict) = &self.verdict {
            let subject = Subject::pod(pod);
            self.node
                .events
                .record(&subject, Kind::Warning, &verdict.reason, &verdict.message);
        }
    }

    fn deadline_at(&self, pod: &Pod) -> Option<Timestamp> {
        let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
        let start = self.status.start_time.as_ref()?.0;
        let seconds = u64::try_from(seconds).ok()?;
        start.checked_add(Duration::from_secs(seconds)).ok()
    }

    fn deadline(&self, pod: &Pod) -> Option<Verdict> {
        let at = self.deadline_at(pod)?;
        (at <= Timestamp::now()).then(|| Verdict {
            reason: "DeadlineExceeded".to_owned(),
            message: "Pod was active on the node longer than the specified deadline".to_owned(),
        })
    }
}

/// Rewrites what changed; whether scratch space is used beyond its limit.
fn refresh(node: &Node, pod: &Pod, ips: &[String]) -> Result<Option<Verdict>, String> {
    let facts = node.facts(ips);
    node.volumes
        .refresh(pod, &facts)
        .map_err(|error| said(&error))?;
    let over = node.volumes.exceeded(pod).map_err(|error| said(&error))?;
    Ok(over.map(|over| Verdict {
        reason: "Evicted".to_owned(),
        message: format!(
            "Usage of EmptyDir volume {:?} exceeds the limit {:?}. ",
            over.volume, over.limit
        ),
    }))
}
