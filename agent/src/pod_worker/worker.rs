//! The task of one pod: look → decide → act → tell, again whenever something changes or is due.
//!
//! It ends when the pod is gone, for good: containers, sandbox, volumes and object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::act::Done;
use super::admission;
use super::backoff::BackOffs;
use super::decide::{self, Situation, container_of};
use super::look::{Ended, look};
use super::node::Node;
use super::observed::{Observed, State};
use super::trouble::Trouble;
use crate::manifest::{Key, Kind as ObjectKind};
use crate::probe::{Place, Probers, Target};
use crate::status::{Kind, StatusInputs, Subject, Verdict, Waiting, is_terminal, pod_status};
use crate::store;

/// Without any news it looks again: news may get lost.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// While the runtime does not answer.
const RUNTIME_AWAY: Duration = Duration::from_secs(1);

/// What a worker is doing at the moment, beside looking.
#[derive(Debug, Default)]
pub(super) struct Busy {
    /// By container.
    pub(super) containers: BTreeSet<String>,
    /// Those of them that are being started.
    pub(super) starting: BTreeSet<String>,
    /// With the sandbox, or with all of the pod.
    pub(super) pod: bool,
    /// Containers that are being removed, by id.
    pub(super) removing: BTreeSet<String>,
}

/// The worker of one pod.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) node: Arc<Node>,
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) wake: Arc<Notify>,
    /// What was told last.
    pub(super) status: PodStatus,
    pub(super) waiting: BTreeMap<String, Waiting>,
    pub(super) backoffs: BackOffs,
    /// By image.
    pub(super) pulls: BackOffs,
    /// What was said when a container's image was pulled last.
    pub(super) pull_messages: BTreeMap<String, String>,
    /// Containers, and the sandbox under [`SANDBOX`], that are not begun before then.
    pub(super) not_before: BTreeMap<String, Timestamp>,
    pub(super) busy: Busy,
    pub(super) tasks: JoinSet<Done>,
    pub(super) probers: Probers,
    pub(super) verdict: Option<Verdict>,
    pub(super) ended: Ended,
    /// The sandbox that was stopped.
    pub(super) stopped_sandbox: Option<String>,
    /// With which grace period the pod is being ended.
    pub(super) ending_grace: Option<Duration>,
    /// When the volumes were looked after, and for which object.
    pub(super) refreshed: Option<(Timestamp, Option<String>)>,
    /// An object of the namespace has changed.
    pub(super) is_stale: Arc<std::sync::atomic::AtomicBool>,
}

/// The sandbox among the names of containers, which have no slash.
pub(super) const SANDBOX: &str = "/sandbox";

/// Does it go on?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Look again at the latest then.
    At(Timestamp),
    /// Nothing of the pod is left.
    Gone,
}

/// What the supervisor holds of a worker.
#[derive(Debug, Clone)]
pub(super) struct Strings {
    /// Look again.
    pub(super) wake: Arc<Notify>,
    /// Files of volumes may say something else now.
    pub(super) is_stale: Arc<std::sync::atomic::AtomicBool>,
}

impl Worker {
    pub(super) fn new(node: Arc<Node>, key: Key, uid: String, strings: Strings) -> Self {
        let probers = Probers::new(strings.wake.clone(), node.events.clone());
        Self {
            node,
            key,
            uid,
            wake: strings.wake,
            status: PodStatus::default(),
            waiting: BTreeMap::new(),
            backoffs: BackOffs::default(),
            pulls: BackOffs::default(),
            pull_messages: BTreeMap::new(),
            not_before: BTreeMap::new(),
            busy: Busy::default(),
            tasks: JoinSet::new(),
            probers,
            verdict: None,
            ended: Ended::default(),
            stopped_sandbox: None,
            ending_grace: None,
            refreshed: None,
            is_stale: strings.is_stale,
        }
    }

    /// Until the pod is gone.
    pub(super) async fn run(mut self) {
        if let Some(pod) = self.pod() {
            self.status = pod.status.clone().unwrap_or_default();
            self.adopt_verdict();
        }
        loop {
            let next = self.step().await;
            let Next::At(at) = next else {
                self.probers.stop();
                return;
            };
            let left = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
            let wake = self.wake.clone();
            tokio::select! {
                () = wake.notified() => {}
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.take(done),
                    Err(error) => tracing::error!(pod = %self.key, %error, "a task of a pod"),
                },
                () = tokio::time::sleep(left.min(LOOK_AGAIN)) => {}
            }
        }
    }

    /// The pod, if it is still the one of this worker.
    pub(super) fn pod(&self) -> Option<Arc<Pod>> {
        let pod = self.node.store.pod(&self.key.namespace, &self.key.name)?;
        (pod.metadata.uid.as_deref() == Some(&*self.uid)).then(|| Arc::new(pod))
    }

    /// A deadline or an eviction of an earlier run stands.
    fn adopt_verdict(&mut self) {
        if is_terminal(&self.status)
            && let (Some(reason), Some(message)) = (&self.status.reason, &self.status.message)
        {
            self.verdict = Some(Verdict {
                reason: reason.clone(),
                message: message.clone(),
            });
        }
    }

    /// Once around.
    async fn step(&mut self) -> Next {
        let pod = self.pod();
        let observed = match look(&self.node, &self.uid, pod.as_deref(), &mut self.ended).await {
            Ok(observed) => observed,
            Err(error) => {
                tracing::debug!(pod = %self.key, %error, "the runtime does not answer");
                return Next::At(after(RUNTIME_AWAY));
            }
        };
        let Some(pod) = pod else {
            // Its object is gone without us: what is left of it goes too.
            return self
                .terminate(&Arc::default(), &observed, Duration::ZERO)
                .await;
        };
        self.follow_probes(&pod, &observed);
        if pod.metadata.deletion_timestamp.is_some() {
            let grace = pod.metadata.deletion_grace_period_seconds;
            let grace = grace
                .and_then(|grace| u64::try_from(grace).ok())
                .unwrap_or(0);
            self.publish(&pod, &observed, None).await;
            return self
                .terminate(&pod, &observed, Duration::from_secs(grace))
                .await;
        }
        if let Some(mismatch) = self.node.mismatch(&pod) {
            return self.refuse(&pod, &observed, &mismatch).await;
        }
        self.schedule(&pod);
        self.admit(&pod);
        if self.has_ended(&pod) {
            self.wind_down(&pod, &observed);
            self.publish(&pod, &observed, None).await;
            return Next::At(after(LOOK_AGAIN));
        }
        let due = self.keep_up(&pod, &observed).await;
        let soonest = match self.verdict {
            Some(_) => after(LOOK_AGAIN),
            None => self.proceed(&pod, &observed),
        };
        self.publish(&pod, &observed, None).await;
        if self.has_ended(&pod) {
            self.wind_down(&pod, &observed);
        }
        Next::At(soonest.min(due))
    }

    /// Nothing of it will run again. A changed manifest begins it anew.
    fn has_ended(&mut self, pod: &Pod) -> bool {
        if !is_terminal(&self.status) {
            return false;
        }
        if self.status.observed_generation == pod.metadata.generation {
            return true;
        }
        self.status = PodStatus::default();
        self.verdict = None;
        self.stopped_sandbox = None;
        self.waiting.clear();
        false
    }

    /// A kubelet's part before anything else.
    fn admit(&mut self, pod: &Pod) {
        if self.verdict.is_some() || is_terminal(&self.status) {
            return;
        }
        self.verdict = admission::reject(pod);
        if let Some(verdict) = &self.verdict {
            let subject = Subject::pod(pod);
            let message = verdict.message.trim_start_matches("Pod was rejected: ");
            self.node
                .events
                .record(&subject, Kind::Warning, &verdict.reason, message);
        }
    }

    /// The scheduler's part, which is small on one node.
    fn schedule(&mut self, pod: &Pod) {
        if self.status.start_time.is_none() && self.status.conditions.is_none() {
            let message = format!(
                "Successfully assigned {}/{} to {}",
                self.key.namespace, self.key.name, self.node.name
            );
            let subject = Subject::pod(pod);
            self.node
                .events
                .record(&subject, Kind::Normal, "Scheduled", &message);
        }
    }

    /// It belongs to another node.
    async fn refuse(&mut self, pod: &Arc<Pod>, observed: &Observed, why: &str) -> Next {
        let subject = Subject::pod(pod);
        self.node
            .events
            .record(&subject, Kind::Warning, "FailedScheduling", why);
        // It may have run before its manifest was changed.
        self.wind_down(pod, observed);
        self.publish(pod, observed, Some(why)).await;
        Next::At(after(Duration::from_secs(300)))
    }

    /// Decides, and begins what comes out; when to look again.
    fn proceed(&mut self, pod: &Arc<Pod>, observed: &Observed) -> Timestamp {
        let now = Timestamp::now();
        let mut held = self.busy.containers.clone();
        let later = self.not_before.iter().filter(|(_, until)| **until > now);
        held.extend(later.map(|(name, _)| name.clone()));
        let plan = decide::decide(&Situation {
            pod,
            observed,
            health: &|container, id| self.probers.health(container, id),
            busy: &held,
            backoffs: &self.backoffs,
            now,
        });
        self.perform(pod, observed, plan);
        let delays = self.not_before.values().filter(|until| **until > now);
        delays.min().copied().unwrap_or_else(|| after(LOOK_AGAIN))
    }

    /// Probes what runs, and nothing else.
    fn follow_probes(&mut self, pod: &Arc<Pod>, observed: &Observed) {
        let pod_ip = match pod.spec.as_ref().and_then(|spec| spec.host_network) {
            Some(true) => self.node.host_ip_texts().first().cloned(),
            _ => observed
                .sandbox
                .as_ref()
                .and_then(|it| it.ips.first().cloned()),
        };
        let running = observed.containers.iter().filter(|(name, history)| {
            history.latest.state == State::Running && !self.busy.containers.contains(*name)
        });
        let targets: Vec<Target> = running
            .filter_map(|(name, history)| {
                let record = &history.latest;
                Some(Target {
                    place: Place {
                        runtime: self.node.runtime.clone(),
                        container_id: record.id.clone(),
                        container: container_of(pod, name)?.clone(),
                        pod_ip: pod_ip.clone().unwrap_or_default(),
                    },
                    started_at: record.started_at,
                    known: self.known_health(&record.id),
                })
            })
            .collect();
        self.probers.follow(pod, &targets);
    }

    /// What was told of a container before: probes of an adopted one do not begin with a doubt.
    fn known_health(&self, id: &str) -> Option<(bool, bool)> {
        let init = self.status.init_container_statuses.iter().flatten();
        let all = init.chain(self.status.container_statuses.iter().flatten());
        let mut all = all.filter(|status| {
            let full = status.container_id.as_deref().unwrap_or_default();
            !id.is_empty() && full.ends_with(id)
        });
        let status = all.next()?;
        Some((status.started == Some(true), status.ready))
    }

    /// Tells, if there is anything new to tell.
    pub(super) async fn publish(&mut self, pod: &Pod, observed: &Observed, mismatch: Option<&str>) {
        let runtime_name = self.node.runtime_name().await;
        let status = pod_status(&StatusInputs {
            pod,
            observed,
            previous: &self.status,
            health: &|container, id| self.probers.health(container, id),
            waiting: &self.waiting,
            starting: &|name| self.busy.starting.contains(name),
            verdict: self.verdict.as_ref(),
            unschedulable: mismatch,
            host_ips: &self.node.host_ip_texts(),
            runtime_name: &runtime_name,
            now: Timestamp::now(),
        });
        if status == self.status && pod.status.is_some() {
            return;
        }
        let kept = self
            .node
            .store
            .put_status(&self.key, &self.uid, status.clone());
        match kept {
            Ok(_) => self.status = status,
            Err(error) => tracing::warn!(pod = %self.key, %error, "keep the status of a pod"),
        }
    }

    /// Why a container does not run.
    pub(super) fn wait(&mut self, name: &str, trouble: &Trouble) {
        let waiting = Waiting {
            reason: trouble.reason.to_owned(),
            message: trouble.message.clone(),
        };
        self.waiting.insert(name.to_owned(), waiting);
    }
}

/// From now on.
pub(super) fn after(duration: Duration) -> Timestamp {
    let now = Timestamp::now();
    now.checked_add(duration).unwrap_or(now)
}

/// The key of a pod's object.
pub(super) fn pod_key(namespace: &str, name: &str) -> Key {
    store::key(ObjectKind::Pod, namespace, name)
}
