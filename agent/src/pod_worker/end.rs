//! Ends containers, pods, and what is left of them: preStop hooks, grace periods, the order of sidecars.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::decide::{container_of, is_sidecar};
use super::node::Node;
use super::observed::{Observed, State};
use crate::probe::{Action, Place, run_hook};
use crate::runtime::RuntimeError;
use crate::status::{Kind, Subject};

/// Whatever a hook has used of it, a container gets so long: kubelet, `minimumGracePeriodInSeconds`.
const GRACE_MIN: Duration = Duration::from_secs(2);

/// A container to be ended.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// Of this pod; what is known of it if it is not there any more.
    pub(super) pod: Arc<Pod>,
    /// Its name.
    pub(super) name: String,
    /// Its id.
    pub(super) id: String,
    /// It has been started: hooks can run.
    pub(super) is_running: bool,
    /// The pod's address.
    pub(super) pod_ip: String,
    /// How long it may take.
    pub(super) grace: Duration,
    /// What the event says.
    pub(super) message: String,
}

impl Ending {
    fn container(&self) -> Option<&Container> {
        container_of(&self.pod, &self.name)
    }

    /// Ends it.
    pub(super) async fn run(self, node: Arc<Node>) -> Result<(), RuntimeError> {
        let subject = Subject::container(&self.pod, &self.name);
        if self.is_running {
            node.events
                .record(&subject, Kind::Normal, "Killing", &self.message);
        }
        let start = Instant::now();
        if self.is_running && !self.grace.is_zero() {
            self.pre_stop(&node, &subject).await;
        }
        let left = match self.grace.is_zero() {
            true => Duration::ZERO,
            false => self.grace.saturating_sub(start.elapsed()).max(GRACE_MIN),
        };
        node.runtime.stop_container(&self.id, left).await
    }

    async fn pre_stop(&self, node: &Node, subject: &Subject) {
        let container = self.container().cloned();
        let lifecycle = container.as_ref().and_then(|it| it.lifecycle.as_ref());
        let hook = lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let Some(action) = hook.and_then(Action::of_hook) else {
            return;
        };
        let place = Place {
            runtime: node.runtime.clone(),
            container_id: self.id.clone(),
            container: container.unwrap_or_default(),
            pod_ip: self.pod_ip.clone(),
        };
        let hook = run_hook(&place, &action, self.grace);
        let failed = match tokio::time::timeout(self.grace, hook).await {
            Ok(Ok(())) => return,
            Ok(Err(message)) => message,
            Err(_) => "it did not end within the grace period".to_owned(),
        };
        tracing::warn!(container = self.name, message = failed, "preStop hook");
        node.events.record(
            subject,
            Kind::Warning,
            "FailedPreStopHook",
            "PreStopHook failed",
        );
    }
}

/// Everything of a pod that runs.
#[derive(Debug, Clone)]
pub(super) struct PodEnding {
    containers: Vec<Ending>,
    sandboxes: Vec<String>,
}

impl PodEnding {
    /// Of what the runtime has.
    pub(super) fn of(pod: &Arc<Pod>, observed: &Observed, grace: Duration) -> Self {
        let sandbox = observed.sandbox.as_ref();
        let pod_ip = sandbox.and_then(|it| it.ips.first().cloned());
        let containers = observed.alive().map(|(name, record)| Ending {
            pod: pod.clone(),
            name: name.to_owned(),
            id: record.id.clone(),
            is_running: record.state == State::Running,
            pod_ip: pod_ip.clone().unwrap_or_default(),
            grace,
            message: format!("Stopping container {name}"),
        });
        let newest = sandbox.map(|it| it.id.clone());
        let older = observed.older_sandboxes.iter().cloned();
        Self {
            containers: containers.collect(),
            sandboxes: newest.into_iter().chain(older).collect(),
        }
    }

    /// Containers at once, then sidecars in the reverse of their order, then the sandboxes. What fails does not keep the
    /// rest: the worker looks again.
    pub(super) async fn run(self, node: Arc<Node>) {
        let start = Instant::now();
        let is_side = |ending: &Ending| {
            let spec = ending.pod.spec.as_ref();
            let mut init = spec
                .into_iter()
                .flat_map(|it| it.init_containers.iter().flatten());
            init.any(|it| it.name == ending.name && is_sidecar(it))
        };
        let (mut sidecars, main): (Vec<Ending>, Vec<Ending>) =
            self.containers.into_iter().partition(is_side);
        join_all(main.into_iter().map(|it| end(&node, it))).await;
        let order = |ending: &Ending| {
            let spec = ending.pod.spec.as_ref();
            let init = spec.and_then(|spec| spec.init_containers.as_ref());
            init.and_then(|init| init.iter().position(|it| it.name == ending.name))
        };
        sidecars.sort_by_key(order);
        for mut sidecar in sidecars.into_iter().rev() {
            if !sidecar.grace.is_zero() {
                sidecar.grace = sidecar.grace.saturating_sub(start.elapsed()).max(GRACE_MIN);
            }
            end(&node, sidecar).await;
        }
        for id in self.sandboxes {
            if let Err(error) = node.runtime.stop_sandbox(&id).await {
                tracing::warn!(sandbox = id, %error, "stop a sandbox");
            }
        }
    }
}

async fn end(node: &Arc<Node>, ending: Ending) {
    let id = ending.id.clone();
    if let Err(error) = ending.run(node.clone()).await {
        tracing::warn!(container = id, %error, "stop a container");
    }
}

/// Removes a container, running or not.
pub(super) async fn remove(node: &Node, id: &str) {
    if let Err(error) = node.runtime.stop_container(id, Duration::ZERO).await {
        tracing::debug!(container = id, %error, "stop a container that is removed");
    }
    if let Err(error) = node.runtime.remove_container(id).await {
        tracing::warn!(container = id, %error, "remove a container");
    }
}
