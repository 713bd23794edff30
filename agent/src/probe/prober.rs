//! One task for each probe of a running container, and what they have found.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::act::{Action, Outcome, Place, act};
use super::counter::Counter;
use crate::pod_worker::{FailedProbe, Health};
use crate::status::{Events, Kind, Subject};

/// Which of a container's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    Startup,
    Readiness,
    Liveness,
}

impl Which {
    const ALL: [Self; 3] = [Self::Startup, Self::Readiness, Self::Liveness];

    fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// By id of the container.
type Key = (String, Which);

/// What the probes of a pod have found.
#[derive(Debug, Clone)]
struct Findings {
    verdicts: Arc<Mutex<BTreeMap<Key, bool>>>,
    /// Counts up with each change: tasks that wait for a startup probe look again.
    changes: watch::Sender<u64>,
    /// The pod's worker.
    wake: Arc<Notify>,
}

impl Findings {
    fn get(&self, id: &str, which: Which) -> Option<bool> {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        verdicts.get(&(id.to_owned(), which)).copied()
    }

    fn set(&self, id: &str, which: Which, verdict: bool) {
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = verdicts.insert((id.to_owned(), which), verdict);
        drop(verdicts);
        if before != Some(verdict) {
            self.changes.send_modify(|count| *count += 1);
            self.wake.notify_one();
        }
    }
}

/// A container that runs.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Where.
    pub(crate) place: Place,
    /// Since when.
    pub(crate) started_at: Timestamp,
    /// Before the agent was restarted it was started, and ready.
    pub(crate) known: Option<(bool, bool)>,
}

/// The probes of one pod.
#[derive(Debug)]
pub(crate) struct Probers {
    findings: Findings,
    events: Events,
    tasks: BTreeMap<Key, AbortHandle>,
}

impl Probers {
    /// None yet. `wake` is told when something changes.
    pub(crate) fn new(wake: Arc<Notify>, events: Events) -> Self {
        Self {
            findings: Findings {
                verdicts: Arc::default(),
                changes: watch::channel(0).0,
                wake,
            },
            events,
            tasks: BTreeMap::new(),
        }
    }

    /// Probes these containers and no others.
    pub(crate) fn follow(&mut self, pod: &Pod, targets: &[Target]) {
        let is_gone = |(id, _): &Key| !targets.iter().any(|it| it.place.container_id == *id);
        let gone: Vec<Key> = self
            .tasks
            .keys()
            .filter(|key| is_gone(key))
            .cloned()
            .collect();
        for key in gone {
            if let Some(task) = self.tasks.remove(&key) {
                task.abort();
            }
            let verdicts = &self.findings.verdicts;
            let mut verdicts = verdicts.lock().unwrap_or_else(PoisonError::into_inner);
            verdicts.remove(&key);
        }
        for target in targets {
            for which in Which::ALL {
                self.begin(pod, target, which);
            }
        }
    }

    fn begin(&mut self, pod: &Pod, target: &Target, which: Which) {
        let container = &target.place.container;
        let Some(probe) = which.of(container) else {
            return;
        };
        let key = (target.place.container_id.clone(), which);
        let Some(action) = Action::of_probe(probe) else {
            return;
        };
        if self.tasks.contains_key(&key) {
            return;
        }
        match (which, target.known) {
            (Which::Startup, Some((true, _))) => self.findings.set(&key.0, which, true),
            (Which::Readiness, Some((_, true))) => self.findings.set(&key.0, which, true),
            _ => {}
        }
        let asking = Asking {
            findings: self.findings.clone(),
            events: self.events.clone(),
            subject: Subject::container(pod, &container.name),
            target: target.clone(),
            which,
            probe: probe.clone(),
            action,
        };
        let task = tokio::spawn(asking.run());
        self.tasks.insert(key, task.abort_handle());
    }

    /// What is known of a container.
    pub(crate) fn health(&self, container: &Container, id: &str) -> Health {
        let verdict = |which: Which| match which.of(container) {
            Some(_) => self.findings.get(id, which),
            // Without a probe it is well.
            None => Some(true),
        };
        let startup = verdict(Which::Startup);
        Health {
            is_started: startup == Some(true),
            is_ready: verdict(Which::Readiness) == Some(true),
            failed: match (startup, verdict(Which::Liveness)) {
                (Some(false), _) => Some(FailedProbe::Startup),
                (_, Some(false)) => Some(FailedProbe::Liveness),
                _ => None,
            },
        }
    }

    /// Stops all.
    pub(crate) fn stop(&mut self) {
        for (_, task) in std::mem::take(&mut self.tasks) {
            task.abort();
        }
    }
}

impl Drop for Probers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A probe that is asked again and again.
struct Asking {
    findings: Findings,
    events: Events,
    subject: Subject,
    target: Target,
    which: Which,
    probe: Probe,
    action: Action,
}

impl Asking {
    async fn run(self) {
        let id = self.target.place.container_id.clone();
        let seconds = |value: Option<i32>, default: u64| {
            let given = value.and_then(|value| u64::try_from(value).ok());
            Duration::from_secs(given.unwrap_or(default))
        };
        self.wait_until_started(&id).await;
        tokio::time::sleep(self.delay_left()).await;
        let mut counter = Counter::new(self.probe.success_threshold, self.probe.failure_threshold);
        let period = seconds(self.probe.period_seconds, 10).max(Duration::from_secs(1));
        let timeout = seconds(self.probe.timeout_seconds, 1).max(Duration::from_secs(1));
        let mut clock = tokio::time::interval(period);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let (is_well, text) = act(&self.target.place, &self.action, timeout).await;
            if !is_well {
                let message = format!("{} probe failed: {text}", self.which.name());
                self.events
                    .record(&self.subject, Kind::Warning, "Unhealthy", &message);
            }
            let outcome = match is_well {
                true => Outcome::Success,
                false => Outcome::Failure,
            };
            let Some(verdict) = counter.take(outcome) else {
                continue;
            };
            self.findings.set(&id, self.which, verdict);
            // A startup probe has done its work; after a failure the container is killed.
            let is_over = match self.which {
                Which::Startup => true,
                Which::Liveness => !verdict,
                Which::Readiness => false,
            };
            if is_over {
                return;
            }
        }
    }

    /// The others wait for the startup probe; it itself does not begin again once it has succeeded.
    async fn wait_until_started(&self, id: &str) {
        let mut changes = self.findings.changes.subscribe();
        if self.which == Which::Startup {
            if self.findings.get(id, Which::Startup) == Some(true) {
                std::future::pending::<()>().await;
            }
            return;
        }
        if self.target.place.container.startup_probe.is_none() {
            return;
        }
        while self.findings.get(id, Which::Startup) != Some(true) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Of initialDelaySeconds, which count from the container's start.
    fn delay_left(&self) -> Duration {
        let delay = self.probe.initial_delay_seconds.unwrap_or(0);
        let delay = Duration::from_secs(u64::try_from(delay).unwrap_or(0));
        let ran = Timestamp::now().duration_since(self.target.started_at);
        let ran = Duration::try_from(ran).unwrap_or_default();
        delay.saturating_sub(ran)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Runtime;
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    use serde_json::json;

    fn target(port: u16) -> Target {
        let probe = |threshold: i32| {
            json!({
                "tcpSocket": { "port": IntOrString::Int(port.into()) },
                "periodSeconds": 1, "failureThreshold": threshold,
            })
        };
        Target {
            place: Place {
                runtime: Runtime::at(std::path::Path::new("/nowhere")),
                container_id: "id".to_owned(),
                container: serde_json::from_value(json!({
                    "name": "c", "startupProbe": probe(3), "livenessProbe": probe(1),
                }))
                .unwrap(),
                pod_ip: "127.0.0.1".to_owned(),
            },
            started_at: Timestamp::now(),
            known: None,
        }
    }

    async fn wait_for(mut holds: impl FnMut() -> bool) {
        let all = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn liveness_begins_after_startup_and_its_failure_is_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = target(listener.local_addr().unwrap().port());
        let container = target.place.container.clone();
        let wake = Arc::new(Notify::new());
        let events = Events::new("node");
        let mut probers = Probers::new(wake.clone(), events.clone());
        assert!(!probers.health(&container, "id").is_started);
        probers.follow(&Pod::default(), std::slice::from_ref(&target));
        wait_for(|| probers.health(&container, "id").is_started).await;
        wake.notified().await;
        assert_eq!(probers.health(&container, "id").failed, None);
        drop(listener);
        wait_for(|| probers.health(&container, "id").failed == Some(FailedProbe::Liveness)).await;
        let said = events.list(None).remove(0);
        assert_eq!(said.reason.as_deref(), Some("Unhealthy"));
        assert!(
            said.message
                .unwrap()
                .starts_with("Liveness probe failed: dial tcp")
        );
        // Another container under this name begins anew.
        probers.follow(&Pod::default(), &[]);
        assert!(!probers.health(&container, "id").is_started);
    }
}
