//! StopPodSandbox: ends the pod's processes and gives back what it holds of the host. Its folders stay.

use super::procedure::{Change, Context, Failure, Left, Outcome};
use super::resources::{Held, RELEASED_BY_STOP, release_all};

/// The whole procedure. It can be repeated until nothing is left.
pub(super) async fn run(context: Context) -> Outcome {
    release_all(&context, &RELEASED_BY_STOP)
        .await
        .map_err(Failure::leftovers)?;
    // Nothing of the pod is in it: the removal waits for it, the stop does not.
    let left = match release_all(&context, &[Held::ShimCgroup]).await {
        Ok(()) => Left::Nothing,
        Err(_logged) => Left::Leftovers,
    };
    Ok(Change::SandboxStopped(left))
}
