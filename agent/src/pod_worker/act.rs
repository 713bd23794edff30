//! What a worker begins, and what becomes of it. Everything that takes time is a task of its own.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus, Probe};

use super::container::Start;
use super::decide::{FailedProbe, Kill, Plan, container_of};
use super::end::{self, Ending, PodEnding};
use super::observed::{Observed, Sandbox, State};
use super::sandbox;
use super::trouble::{Retry, Trouble};
use super::worker::{SANDBOX, Worker, after};
use crate::status::{Kind, Subject};

/// What the manifest names may come; and then the supervisor wakes the worker anyway.
const SOON: Duration = Duration::from_secs(5);

/// The runtime could not start it.
const RUN_ERROR: &str = "RunContainerError";

/// Between the first failure of a pull and the back-off, so that both can be seen.
const AFTER_PULL: Duration = Duration::from_secs(2);

/// A task has ended.
#[derive(Debug)]
pub(super) enum Done {
    /// The sandbox was made, or not.
    Sandbox(Result<(), Trouble>),
    /// A container was started, or not.
    Started {
        /// Its name.
        name: String,
        /// Its image.
        image: String,
        /// What came of it.
        result: Result<(), Trouble>,
    },
    /// A container was ended.
    Killed {
        /// Its name.
        name: String,
    },
    /// Containers that nobody asks for are gone.
    Removed {
        /// Their ids.
        ids: Vec<String>,
    },
    /// All of the pod was ended.
    Ended {
        /// Its newest sandbox.
        sandbox: Option<String>,
    },
}

impl Worker {
    /// Begins what was decided.
    pub(super) fn perform(&mut self, pod: &Arc<Pod>, observed: &Observed, plan: Plan) {
        if self.busy.pod {
            return;
        }
        if plan.kill_pod && self.must_end(observed) {
            let grace = grace_of(pod);
            self.end_pod(pod, observed, grace);
            return;
        }
        if let Some(attempt) = plan.create_sandbox {
            self.create_sandbox(pod, attempt);
            return;
        }
        for kill in plan.kill {
            self.kill(pod, observed, kill);
        }
        for delayed in plan.delayed {
            let message = format!(
                "Back-off restarting failed container {} in pod {}",
                delayed.name,
                shown(pod)
            );
            let trouble = Trouble::new(
                "CrashLoopBackOff",
                delayed.message,
                Retry::At(delayed.until),
            );
            let subject = Subject::container(pod, &delayed.name);
            let is_new = self
                .waiting
                .get(&delayed.name)
                .is_none_or(|it| it.reason != trouble.reason || it.message != trouble.message);
            if is_new {
                self.node
                    .events
                    .record(&subject, Kind::Warning, "BackOff", &message);
            }
            self.wait(&delayed.name, &trouble);
            self.not_before.insert(delayed.name, delayed.until);
        }
        let Some(sandbox) = observed.ready_sandbox() else {
            return;
        };
        for name in plan.start {
            if let Some(container) = container_of(pod, &name) {
                self.start(pod, observed, sandbox, container.clone());
            }
        }
        self.tidy(observed);
    }

    /// Something of it runs, or its sandbox was not stopped yet.
    pub(super) fn must_end(&self, observed: &Observed) -> bool {
        let sandbox = observed.sandbox.as_ref();
        let is_stopped = match sandbox {
            Some(sandbox) => {
                !sandbox.is_ready && self.stopped_sandbox.as_ref() == Some(&sandbox.id)
            }
            None => true,
        };
        !is_stopped || observed.alive().next().is_some()
    }

    /// Ends everything that runs.
    pub(super) fn end_pod(&mut self, pod: &Arc<Pod>, observed: &Observed, grace: Duration) {
        let ending = PodEnding::of(pod, observed, grace);
        let sandbox = observed.sandbox.as_ref().map(|it| it.id.clone());
        let node = self.node.clone();
        self.busy.pod = true;
        self.tasks.spawn(async move {
            ending.run(node).await;
            Done::Ended { sandbox }
        });
    }

    fn create_sandbox(&mut self, pod: &Arc<Pod>, attempt: u32) {
        let now = Timestamp::now();
        if self
            .not_before
            .get(SANDBOX)
            .is_some_and(|until| *until > now)
        {
            return;
        }
        let (node, pod) = (self.node.clone(), pod.clone());
        self.busy.pod = true;
        self.tasks
            .spawn(async move { Done::Sandbox(sandbox::start(&node, &pod, attempt).await) });
    }

    fn kill(&mut self, pod: &Arc<Pod>, observed: &Observed, kill: Kill) {
        let container = container_of(pod, &kill.name);
        let own = match kill.probe {
            Some(FailedProbe::Liveness) => container.and_then(|it| it.liveness_probe.as_ref()),
            Some(FailedProbe::Startup) => container.and_then(|it| it.startup_probe.as_ref()),
            None => None,
        };
        let sandbox = observed.sandbox.as_ref();
        let ending = Ending {
            pod: pod.clone(),
            name: kill.name.clone(),
            id: kill.id,
            is_running: true,
            pod_ip: sandbox
                .and_then(|it| it.ips.first().cloned())
                .unwrap_or_default(),
            grace: own
                .and_then(grace_of_probe)
                .unwrap_or_else(|| grace_of(pod)),
            message: kill.message,
        };
        let (node, name) = (self.node.clone(), kill.name);
        self.busy.containers.insert(name.clone());
        self.tasks.spawn(async move {
            if let Err(error) = ending.run(node).await {
                tracing::warn!(container = name, %error, "stop a container");
            }
            Done::Killed { name }
        });
    }

    fn start(
        &mut self,
        pod: &Arc<Pod>,
        observed: &Observed,
        sandbox: &Sandbox,
        container: Container,
    ) {
        let now = Timestamp::now();
        let name = container.name.clone();
        let latest = observed.latest(&name);
        // One that could not be started has been counted when that was told.
        let is_counted = self
            .waiting
            .get(&name)
            .is_some_and(|it| it.reason == RUN_ERROR);
        let ended = latest.filter(|latest| latest.state == State::Exited && !is_counted);
        if let Some(latest) = ended {
            self.backoffs.next(&name, latest.finished_at, now);
        }
        let start = Start {
            pod: pod.clone(),
            sandbox: sandbox.clone(),
            attempt: attempt(observed, &self.status, &name),
            unfinished: latest
                .filter(|latest| matches!(latest.state, State::Created | State::Unknown))
                .map(|latest| latest.id.clone()),
            pulls: self.pulls.clone(),
            last_failure: self.pull_messages.get(&name).cloned(),
            container,
        };
        let image = start.container.image.clone().unwrap_or_default();
        let node = self.node.clone();
        self.not_before.remove(&name);
        self.busy.containers.insert(name.clone());
        self.busy.starting.insert(name.clone());
        self.tasks.spawn(async move {
            let result = start.run(node).await;
            Done::Started {
                name,
                image,
                result,
            }
        });
    }

    /// Removes what nobody asks for any more: containers before the last but one, sandboxes without such containers.
    fn tidy(&mut self, observed: &Observed) {
        let is_free = |id: &&String| !self.busy.removing.contains(*id);
        let ids: Vec<String> = observed.surplus.iter().filter(is_free).cloned().collect();
        let is_needed = |sandbox: &String| {
            let mut latest = observed.containers.values().map(|it| &it.latest);
            latest.any(|latest| latest.sandbox_id == *sandbox)
        };
        let sandboxes = observed.older_sandboxes.iter();
        let sandboxes: Vec<String> = sandboxes
            .filter(is_free)
            .filter(|id| !is_needed(id))
            .cloned()
            .collect();
        if ids.is_empty() && sandboxes.is_empty() {
            return;
        }
        let all: Vec<String> = ids.iter().chain(&sandboxes).cloned().collect();
        self.busy.removing.extend(all.clone());
        let node = self.node.clone();
        self.tasks.spawn(async move {
            for id in &ids {
                end::remove(&node, id).await;
            }
            for id in &sandboxes {
                if let Err(error) = node.runtime.remove_sandbox(id).await {
                    tracing::warn!(sandbox = id, %error, "remove an old sandbox");
                }
            }
            Done::Removed { ids: all }
        });
    }

    /// A task has ended.
    pub(super) fn take(&mut self, done: Done) {
        match done {
            Done::Sandbox(result) => {
                self.busy.pod = false;
                self.take_sandbox(result);
            }
            Done::Started {
                name,
                image,
                result,
            } => {
                self.busy.containers.remove(&name);
                self.busy.starting.remove(&name);
                match result {
                    Ok(()) => {
                        self.waiting.remove(&name);
                        self.pull_messages.remove(&name);
                        self.pulls.forget(&image);
                    }
                    Err(trouble) => self.take_trouble(&name, &image, &trouble),
                }
            }
            Done::Killed { name } => {
                self.busy.containers.remove(&name);
            }
            Done::Removed { ids } => {
                for id in ids {
                    self.busy.removing.remove(&id);
                }
            }
            Done::Ended { sandbox } => {
                self.busy.pod = false;
                self.stopped_sandbox = sandbox;
            }
        }
    }

    fn take_sandbox(&mut self, result: Result<(), Trouble>) {
        let now = Timestamp::now();
        let Err(trouble) = result else {
            self.backoffs.forget(SANDBOX);
            self.not_before.remove(SANDBOX);
            return;
        };
        let until = match trouble.retry {
            Retry::BackOff => {
                self.backoffs.next(SANDBOX, now, now);
                after(self.backoffs.wait(SANDBOX))
            }
            Retry::At(at) => at,
            Retry::Soon | Retry::AsPolicy => after(SOON),
        };
        self.not_before.insert(SANDBOX.to_owned(), until);
    }

    fn take_trouble(&mut self, name: &str, image: &str, trouble: &Trouble) {
        let now = Timestamp::now();
        self.wait(name, trouble);
        let until = match trouble.retry {
            _ if trouble.reason == "ErrImagePull" => {
                self.pulls.next(image, now, now);
                self.pull_messages
                    .insert(name.to_owned(), trouble.message.clone());
                after(AFTER_PULL)
            }
            Retry::BackOff => {
                self.backoffs.next(name, now, now);
                after(self.backoffs.wait(name))
            }
            Retry::Soon => after(SOON),
            Retry::At(at) => at,
            Retry::AsPolicy => return,
        };
        self.not_before.insert(name.to_owned(), until);
    }
}

/// How often it was restarted: what the runtime knows, or what was told before a reboot.
fn attempt(observed: &Observed, status: &PodStatus, name: &str) -> u32 {
    let next = |attempt: u32| attempt.saturating_add(1);
    if let Some(latest) = observed.latest(name) {
        // One that never ran is made again.
        return match latest.state {
            State::Created => latest.attempt,
            _ => next(latest.attempt),
        };
    }
    let init = status.init_container_statuses.iter().flatten();
    let mut all = init.chain(status.container_statuses.iter().flatten());
    let told = all.find(|status| status.name == name && status.container_id.is_some());
    told.map_or(0, |told| {
        next(u32::try_from(told.restart_count).unwrap_or(0))
    })
}

/// The pod's own grace period.
pub(super) fn grace_of(pod: &Pod) -> Duration {
    let spec = pod.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.termination_grace_period_seconds);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(seconds.unwrap_or(30))
}

fn grace_of_probe(probe: &Probe) -> Option<Duration> {
    let seconds = u64::try_from(probe.termination_grace_period_seconds?).ok()?;
    Some(Duration::from_secs(seconds))
}

/// `name_namespace(uid)`
fn shown(pod: &Pod) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let metadata = &pod.metadata;
    format!(
        "{}_{}({})",
        text(&metadata.name),
        text(&metadata.namespace),
        text(&metadata.uid)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod_worker::observed::tests::made;
    use serde_json::json;

    #[test]
    fn restarts_are_counted_on_after_a_reboot() {
        let status: PodStatus = serde_json::from_value(json!({ "containerStatuses": [{
            "name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 4,
            "containerID": "carpel://x",
        }] }))
        .unwrap();
        assert_eq!(attempt(&Observed::default(), &status, "main"), 5);
        assert_eq!(attempt(&Observed::default(), &status, "new"), 0);
        let of = |state| Observed::new(Vec::new(), vec![("main".to_owned(), made("s", 2, state))]);
        assert_eq!(attempt(&of(State::Exited), &status, "main"), 3);
        assert_eq!(attempt(&of(State::Created), &status, "main"), 2);
    }
}
