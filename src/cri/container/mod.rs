//! The calls on containers, one file each: request → domain → answer.

pub(super) mod attach;
pub(super) mod create;
pub(super) mod events;
pub(super) mod exec;
pub(super) mod exec_sync;
pub(super) mod list;
pub(super) mod remove;
pub(super) mod reopen_log;
pub(super) mod start;
pub(super) mod statistics;
pub(super) mod status;
pub(super) mod stop;
pub(super) mod update_resources;

use tonic::{Code, Status};

use super::pods::PodService;
use super::status as errors;
use crate::pod::ContainerState;

/// The whole id of a container that runs.
fn require_running<P: PodService>(pods: &P, id: &str) -> Result<String, Status> {
    let view = pods
        .container_status(id)
        .map_err(|error| errors::of_pod(&error))?;
    if view.state == ContainerState::Running {
        Ok(view.id)
    } else {
        let text = format!("container {}: the container is not running", view.id);
        Err(Status::new(Code::FailedPrecondition, text))
    }
}
