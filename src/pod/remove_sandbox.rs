//! RemovePodSandbox: stops the sandbox if it is not, waits until its network is gone, and removes all traces of it.

use super::procedure::{Change, Context, Failure, Outcome};
use super::resources::{Held, RELEASED_BY_STOP, release, release_all};

/// The whole procedure. It can be repeated until nothing is left.
pub(super) async fn run(context: Context) -> Outcome {
    remove(&context).await.map_err(Failure::leftovers)?;
    Ok(Change::SandboxGone)
}

async fn remove(context: &Context) -> Result<(), super::error::PodError> {
    release_all(context, &RELEASED_BY_STOP).await?;
    let pod = context.slot.pod();
    if !pod.has_host_network() {
        context.parts.networks.wait_released(context.id()).await?;
    }
    release(context, Held::ShimCgroup).await?;
    for container in pod.containers.keys() {
        context.parts.images.release(container).await?;
    }
    // The identity goes last: until then recovery knows of the sandbox.
    release(context, Held::Directories).await
}
