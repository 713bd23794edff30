//! What listeners have been told of a pod, and what is new since. Pure.
//!
//! Everyone hears of each container `Created`, `Started` (if it was), `Stopped`, `Deleted`, in this order and once; of the
//! sandbox the same, before and after its containers.

use std::collections::BTreeMap;

use super::container_state::ContainerPhase;
use super::events::News;
use super::sandbox_state::{Container, Pod, SandboxPhase};
use super::view::EventKind;

/// What has been told.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Told {
    sandbox: Option<Stage>,
    containers: BTreeMap<String, Stage>,
}

/// The last that was told of someone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Created,
    Started,
    Stopped,
}

impl Told {
    /// All that there is to tell of this pod has been told.
    pub(super) fn all_of(pod: &Pod) -> Self {
        let told = |container: &Container| match container.phase {
            ContainerPhase::Creating => None,
            ContainerPhase::Created { .. } | ContainerPhase::Starting { .. } => {
                Some(Stage::Created)
            }
            ContainerPhase::Running { .. } => Some(Stage::Started),
            ContainerPhase::Exited(_) => Some(Stage::Stopped),
        };
        Self {
            sandbox: match pod.phase {
                SandboxPhase::Creating => None,
                SandboxPhase::Ready | SandboxPhase::Stopping | SandboxPhase::Removing => {
                    Some(Stage::Started)
                }
                SandboxPhase::InfraLost | SandboxPhase::Stopped { .. } => Some(Stage::Stopped),
            },
            containers: pod
                .containers
                .values()
                .filter_map(|container| Some((container.id.clone(), told(container)?)))
                .collect(),
        }
    }

    /// What has to be told now; it counts as told from here on. The exit of a container that `is_starting` comes later:
    /// whether it was started is not known yet.
    pub(super) fn news(&mut self, pod: &Pod, is_starting: impl Fn(&str) -> bool) -> Vec<News> {
        let mut news = Vec::new();
        let sandbox = match pod.phase {
            SandboxPhase::Creating => None,
            SandboxPhase::Ready => Some(Stage::Started),
            SandboxPhase::InfraLost | SandboxPhase::Stopped { .. } => Some(Stage::Stopped),
            // Until its last process is gone.
            SandboxPhase::Stopping | SandboxPhase::Removing => self.sandbox,
        };
        if let Some(now) = sandbox
            && self.sandbox.is_none()
        {
            self.sandbox = Some(Stage::Created);
            news.push((pod.id.clone(), EventKind::Created));
            if now == Stage::Started {
                self.sandbox = Some(now);
                news.push((pod.id.clone(), EventKind::Started));
            }
        }
        for container in pod.containers.values() {
            if let Some((now, was_started)) = stage(container, &is_starting) {
                let told = self.containers.get(&container.id).copied();
                let steps = steps(told, now, was_started);
                news.extend(steps.map(|kind| (container.id.clone(), kind)));
                self.containers
                    .insert(container.id.clone(), told.map_or(now, |told| told.max(now)));
            }
        }
        self.containers.retain(|id, told| {
            let is_here = pod.containers.contains_key(id);
            if !is_here {
                if *told == Stage::Started {
                    news.push((id.clone(), EventKind::Stopped));
                }
                news.push((id.clone(), EventKind::Deleted));
            }
            is_here
        });
        if let Some(Stage::Stopped) = sandbox
            && self.sandbox < Some(Stage::Stopped)
        {
            self.sandbox = Some(Stage::Stopped);
            news.push((pod.id.clone(), EventKind::Stopped));
        }
        news
    }

    /// The sandbox is no more, after all news of it.
    pub(super) fn sandbox_gone(&mut self, pod: &Pod) -> Vec<News> {
        match self.sandbox.take() {
            Some(_) => vec![(pod.id.clone(), EventKind::Deleted)],
            None => Vec::new(),
        }
    }
}

/// Where a container is, and whether its program ever ran; `None` if it is not to be seen yet.
fn stage(container: &Container, is_starting: impl Fn(&str) -> bool) -> Option<(Stage, bool)> {
    match &container.phase {
        ContainerPhase::Creating => None,
        ContainerPhase::Created { .. } | ContainerPhase::Starting { .. } => {
            Some((Stage::Created, false))
        }
        ContainerPhase::Running { .. } => Some((Stage::Started, true)),
        ContainerPhase::Exited(_) if is_starting(&container.id) => Some((Stage::Created, false)),
        ContainerPhase::Exited(exit) => Some((Stage::Stopped, exit.started_at != 0)),
    }
}

/// The events between two stages.
fn steps(told: Option<Stage>, now: Stage, was_started: bool) -> impl Iterator<Item = EventKind> {
    [
        (Stage::Created, EventKind::Created),
        (Stage::Started, EventKind::Started),
        (Stage::Stopped, EventKind::Stopped),
    ]
    .into_iter()
    .filter(move |(stage, _)| told < Some(*stage) && *stage <= now)
    .filter(move |(stage, _)| *stage != Stage::Started || was_started)
    .map(|(_, kind)| kind)
}
