//! How a container begins and ends when it is the driver that says so. Pure but for the clock.

use std::path::PathBuf;
use std::sync::Arc;

use super::clock;
use super::container_state::{self, ContainerPhase};
use super::sandbox_state::{Container, ImageNames, Pod};
use crate::oci::ContainerConfig;

/// A container that is being made.
pub(super) fn new_container(id: &str, config: ContainerConfig) -> Container {
    Container {
        id: id.to_owned(),
        created_at: clock::now(),
        image: ImageNames::default(),
        log_path: PathBuf::new(),
        resources: config.resources.clone(),
        stop_signal: libc::SIGTERM,
        user: None,
        phase: ContainerPhase::Creating,
        removing: false,
        config: Arc::new(config),
    }
}

/// The program runs; or it has exited already, and the event came first.
pub(super) fn started(container: &mut Container, started_at: i64) {
    match &mut container.phase {
        ContainerPhase::Exited(exit) => exit.started_at = started_at,
        phase @ (ContainerPhase::Creating
        | ContainerPhase::Created { .. }
        | ContainerPhase::Starting { .. }
        | ContainerPhase::Running { .. }) => {
            let pid = phase.pid().unwrap_or_default();
            *phase = ContainerPhase::Running { pid, started_at };
        }
    }
}

/// Its processes are gone, and nobody reported how.
pub(super) fn end(container: &mut Container, message: &str) {
    if !container.phase.is_exited() {
        container.phase = ContainerPhase::Exited(container_state::Exit {
            code: 128 + libc::SIGKILL,
            reason: container_state::ERROR.to_owned(),
            message: message.to_owned(),
            finished_at: clock::now(),
            started_at: container.phase.started_at(),
        });
    }
}

/// The same of all containers.
pub(super) fn end_all(pod: &mut Pod, message: &str) {
    for container in pod.containers.values_mut() {
        if container.phase != ContainerPhase::Creating {
            end(container, message);
        }
    }
}
