//! RemoveContainer: kills what runs, and removes all traces but the log, which is the kubelet's.

use super::error::{PodError, Subject};
use super::procedure::{Change, Context, Failure, Outcome, SHIM_PATIENCE, persist_error, shim_of};
use super::resources::in_files;
use super::{files, stop_container};
use crate::persist;

/// The whole procedure. It can be repeated until nothing is left.
pub(super) async fn run(context: Context, id: String) -> Outcome {
    remove(&context, &id).await.map_err(Failure::leftovers)?;
    Ok(Change::ContainerGone)
}

/// Removes the container; also the undo of CreateContainer.
///
/// # Errors
/// The first step that failed; those after it were not tried.
pub(super) async fn remove(context: &Context, id: &str) -> Result<(), PodError> {
    end(context, id).await?;
    let parent = context.cgroup_parent();
    context
        .parts
        .cgroups
        .remove_container(&parent, context.id(), id)
        .await?;
    context.parts.images.release(id).await?;
    let directories = context.slot.directories.clone();
    let container = id.to_owned();
    in_files(context, "remove the bundle", move || {
        files::remove_directory(&directories.volumes(&container))?;
        files::remove_directory(&directories.bundle(&container))
    })
    .await?;
    // The identity goes last: until then recovery knows of the container.
    persist::remove(&context.slot.directories.container_record(id)).map_err(|error| {
        persist_error(
            Subject::Container(id.to_owned()),
            "remove the record",
            error,
        )
    })
}

/// Ends its processes, and makes the shim forget it.
async fn end(context: &Context, id: &str) -> Result<(), PodError> {
    let alive = context
        .slot
        .pod()
        .containers
        .get(id)
        .is_some_and(|container| container.phase.pid().is_some());
    if alive {
        stop_container::kill(context, id).await?;
    }
    if let Some(shim) = shim_of(context)
        && let Err(error) = shim.remove_container(id.to_owned(), SHIM_PATIENCE).await
    {
        // The shim may have died: its pod is being taken down then, and the cgroup is what counts.
        tracing::debug!(container = id, error = %super::error::chain(&error), "not forgotten by the shim");
        context
            .parts
            .cgroups
            .kill_container(&context.cgroup_parent(), context.id(), id, SHIM_PATIENCE)
            .await?;
    }
    Ok(())
}
