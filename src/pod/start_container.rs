//! StartContainer: releases the waiting first process, which becomes the container's program.

use std::time::Duration;

use super::container_state::nanoseconds;
use super::error::Subject;
use super::procedure::{Change, Context, Failure, Outcome, shim_error};

/// execve of a program on a network file system may take its time.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// The whole procedure. On failure the driver records the container as exited with StartError.
pub(super) async fn run(context: Context, id: String) -> Outcome {
    let shim = context.slot.shim().map_err(Failure::clean)?;
    let started = shim
        .start_container(id.clone(), START_PATIENCE)
        .await
        .map_err(|error| {
            Failure::clean(shim_error(
                Subject::Container(id.clone()),
                "start its program",
                error,
            ))
        })?;
    Ok(Change::ContainerStarted {
        started_at: nanoseconds(started.started_at_nanoseconds),
    })
}
