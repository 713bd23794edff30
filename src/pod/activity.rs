//! What the domain does at one moment, for the daemon's own figures.

use std::time::Instant;

use super::slot::PodSlot;
use super::view::{ContainerState, SandboxState};

/// What is there and what runs.
#[derive(Debug, Clone, Default)]
pub struct Activity {
    /// The state of each sandbox.
    pub sandboxes: Vec<SandboxState>,
    /// The state of each container.
    pub containers: Vec<ContainerState>,
    /// Shims that are connected.
    pub shims: usize,
    /// Procedures and their steps.
    pub stages: Vec<RunningStage>,
    /// Lines that containers wrote and that could not be logged, since this daemon's start.
    pub lost_log_lines: u64,
    /// Who listens to events.
    pub event_clients: usize,
}

impl Activity {
    /// Counts a pod in.
    pub(super) fn add(&mut self, slot: &PodSlot) {
        let pod = slot.pod();
        self.sandboxes.push(pod.view().state);
        let containers = pod.containers.values();
        self.containers
            .extend(containers.map(|container| container.phase.state()));
        self.shims += usize::from(slot.shim().is_ok());
        let stages = slot.stages.running().into_iter();
        self.stages.extend(stages.map(|(name, since)| RunningStage {
            sandbox_id: pod.id.clone(),
            name,
            since,
        }));
    }
}

/// A procedure or a step of one that runs.
#[derive(Debug, Clone)]
pub struct RunningStage {
    /// For which sandbox.
    pub sandbox_id: String,
    /// What.
    pub name: &'static str,
    /// Since when.
    pub since: Instant,
}
