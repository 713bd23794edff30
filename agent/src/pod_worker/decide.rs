//! What has to be done for a pod, from what it should be and what it is: kubelet, `computePodActions`.
//!
//! Pure: no time but the one given, no call of anything. `worker.rs` does what comes out.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::backoff::{self, BackOffs};
use super::observed::{Observed, Record, State};
use super::restart::{self, begins_again};
use crate::runtime::{container_hash, sandbox_hash};

/// What a container's probes have said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Health {
    /// The startup probe has succeeded, or there is none.
    pub(crate) is_started: bool,
    /// The readiness probe has succeeded, or there is none.
    pub(crate) is_ready: bool,
    /// Which probe wants the container to be killed.
    pub(crate) failed: Option<FailedProbe>,
}

/// A probe that ends a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailedProbe {
    /// Liveness.
    Liveness,
    /// Startup.
    Startup,
}

/// What is known when it is decided.
pub(crate) struct Situation<'a> {
    /// What should be.
    pub(crate) pod: &'a Pod,
    /// What is.
    pub(crate) observed: &'a Observed,
    /// What the probes say of a container, by its id.
    pub(crate) health: &'a dyn Fn(&Container, &str) -> Health,
    /// Containers (by name) that something is being done with.
    pub(crate) busy: &'a BTreeSet<String>,
    /// Which containers failed before.
    pub(crate) backoffs: &'a BackOffs,
    /// Now.
    pub(crate) now: Timestamp,
}

/// A container that has to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kill {
    /// Its name.
    pub(crate) name: String,
    /// Its id.
    pub(crate) id: String,
    /// Why, for the event.
    pub(crate) message: String,
    /// The probe that wants it.
    pub(crate) probe: Option<FailedProbe>,
}

/// A container that waits after having failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delayed {
    /// Its name.
    pub(crate) name: String,
    /// Until then.
    pub(crate) until: Timestamp,
    /// What is said of it.
    pub(crate) message: String,
}

/// What has to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Everything of the pod has to end: all containers, then the sandbox.
    pub(crate) kill_pod: bool,
    /// A new sandbox is needed, with this attempt, once the old one has ended.
    pub(crate) create_sandbox: Option<u32>,
    /// Containers that begin, by name.
    pub(crate) start: Vec<String>,
    /// Containers that end.
    pub(crate) kill: Vec<Kill>,
    /// Containers that will begin later.
    pub(crate) delayed: Vec<Delayed>,
}

/// Is this init container a sidecar, which goes on beside the others?
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The container of that name in the manifest.
pub(crate) fn container_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    let mut all = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers);
    all.find(|container| container.name == name)
}

/// Decides.
pub(crate) fn decide(situation: &Situation<'_>) -> Plan {
    let Some(spec) = &situation.pod.spec else {
        return Plan::default();
    };
    let decision = Decision { situation, spec };
    let wanted_hash = sandbox_hash(situation.pod);
    match &situation.observed.sandbox {
        Some(sandbox) if sandbox.is_ready && sandbox.hash == wanted_hash => decision.go_on(),
        sandbox => {
            let is_changed = sandbox.as_ref().is_some_and(|it| it.hash != wanted_hash);
            let attempt = sandbox.as_ref().map_or(0, |it| it.attempt + 1);
            decision.begin_anew(attempt, is_changed)
        }
    }
}

struct Decision<'a> {
    situation: &'a Situation<'a>,
    spec: &'a PodSpec,
}

impl Decision<'_> {
    fn policy(&self) -> &str {
        self.spec.restart_policy.as_deref().unwrap_or("Always")
    }

    /// Without a sandbox that can be used.
    fn begin_anew(&self, attempt: u32, is_changed: bool) -> Plan {
        let observed = self.situation.observed;
        let mut plan = Plan {
            kill_pod: observed.sandbox.is_some(),
            ..Plan::default()
        };
        let has_run = !observed.containers.is_empty();
        if self.policy() == "Never" && attempt > 0 && has_run && !is_changed {
            return plan;
        }
        let is_done = |container: &Container| {
            let latest = observed.latest(&container.name);
            restart::policy(self.spec, container) == "OnFailure"
                && latest.is_some_and(|it| it.state == State::Exited && it.exit_code == 0)
        };
        let all_done = self.spec.containers.iter().all(is_done);
        if all_done && !is_changed {
            return plan;
        }
        plan.create_sandbox = Some(attempt);
        plan
    }

    /// In a sandbox that can be used.
    fn go_on(&self) -> Plan {
        let mut plan = Plan::default();
        let is_initialized = self.initialize(&mut plan);
        if plan.kill_pod || !is_initialized {
            return plan;
        }
        let mut kept = 0;
        for container in &self.spec.containers {
            if self.keep_or_change(container, &mut plan) {
                kept += 1;
            }
        }
        if kept == 0 && plan.start.is_empty() && plan.delayed.is_empty() && plan.kill.is_empty() {
            // Sidecars do not keep a pod alive.
            plan.kill_pod = true;
        }
        plan
    }

    /// Runs init containers one after the other; true when the others may begin.
    fn initialize(&self, plan: &mut Plan) -> bool {
        let observed = self.situation.observed;
        // They ran once in this sandbox: only sidecars are looked after.
        let was_initialized = self
            .spec
            .containers
            .iter()
            .any(|container| observed.current(&container.name).is_some());
        for container in self.spec.init_containers.iter().flatten() {
            let is_done = match is_sidecar(container) {
                true => self.look_after_sidecar(container, plan),
                false if was_initialized => true,
                false => self.run_init(container, plan),
            };
            if plan.kill_pod {
                return false;
            }
            if !is_done && !was_initialized {
                return false;
            }
        }
        true
    }

    /// True when it runs and has started, postStart included.
    fn look_after_sidecar(&self, container: &Container, plan: &mut Plan) -> bool {
        let current = self.situation.observed.current(&container.name);
        match current {
            Some(record) if record.state == State::Running => {
                let is_kept = self.keep_or_kill(container, record, plan);
                let is_busy = self.situation.busy.contains(&container.name);
                let is_started = (self.situation.health)(container, &record.id).is_started;
                is_kept && !is_busy && is_started
            }
            _ => {
                self.start(container, plan);
                false
            }
        }
    }

    /// True when it has succeeded.
    fn run_init(&self, container: &Container, plan: &mut Plan) -> bool {
        match self.situation.observed.current(&container.name) {
            Some(record) if record.state == State::Running => false,
            Some(record) if record.state == State::Exited && record.exit_code == 0 => true,
            Some(record)
                if record.state == State::Exited
                    && !begins_again(self.spec, container, record.exit_code) =>
            {
                plan.kill_pod = true;
                false
            }
            _ => {
                self.start(container, plan);
                false
            }
        }
    }

    /// True when the container goes on, or something is being done with it.
    fn keep_or_change(&self, container: &Container, plan: &mut Plan) -> bool {
        if self.situation.busy.contains(&container.name) {
            return true;
        }
        match self.situation.observed.current(&container.name) {
            Some(record) if record.state == State::Running => {
                self.keep_or_kill(container, record, plan)
            }
            _ => {
                if self.is_restarted(container) {
                    self.start(container, plan);
                }
                false
            }
        }
    }

    /// True when it goes on. One that was killed is started again when it has ended.
    fn keep_or_kill(&self, container: &Container, record: &Record, plan: &mut Plan) -> bool {
        if self.situation.busy.contains(&container.name) {
            return true;
        }
        let name = &container.name;
        // It has no exit code yet that rules could speak of.
        let will_restart = restart::policy(self.spec, container) != "Never";
        let health = (self.situation.health)(container, &record.id);
        let (why, probe) = match health.failed {
            _ if record.hash != container_hash(container) => {
                (format!("Container {name} definition changed"), None)
            }
            Some(probe @ FailedProbe::Liveness) => (
                format!("Container {name} failed liveness probe"),
                Some(probe),
            ),
            Some(probe @ FailedProbe::Startup) => (
                format!("Container {name} failed startup probe"),
                Some(probe),
            ),
            None => return true,
        };
        let message = match will_restart || probe.is_none() {
            true => format!("{why}, will be restarted"),
            false => why,
        };
        plan.kill.push(Kill {
            name: name.clone(),
            id: record.id.clone(),
            message,
            probe,
        });
        false
    }

    /// kubelet, `ShouldContainerBeRestarted`.
    fn is_restarted(&self, container: &Container) -> bool {
        // What ended in a sandbox before this one counts too.
        let Some(record) = self.situation.observed.latest(&container.name) else {
            return true;
        };
        if record.state != State::Exited || record.hash != container_hash(container) {
            return true;
        }
        begins_again(self.spec, container, record.exit_code)
    }

    /// Starts it now, or when it has waited long enough.
    fn start(&self, container: &Container, plan: &mut Plan) {
        let situation = self.situation;
        if situation.busy.contains(&container.name) {
            return;
        }
        let latest = situation.observed.latest(&container.name);
        // Only one that has ended by itself waits; one that was changed begins at once.
        let ended = latest
            .filter(|it| it.state == State::Exited && it.hash == container_hash(container))
            .map(|it| it.finished_at);
        let until =
            ended.and_then(|at| situation.backoffs.until(&container.name, at, situation.now));
        match until {
            None => plan.start.push(container.name.clone()),
            Some(until) => plan.delayed.push(Delayed {
                name: container.name.clone(),
                until,
                message: self.delay_message(container),
            }),
        }
    }

    fn delay_message(&self, container: &Container) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let metadata = &self.situation.pod.metadata;
        format!(
            "back-off {} restarting failed container={} pod={}_{}({})",
            backoff::shown(self.situation.backoffs.wait(&container.name)),
            container.name,
            text(&metadata.name),
            text(&metadata.namespace),
            text(&metadata.uid)
        )
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
