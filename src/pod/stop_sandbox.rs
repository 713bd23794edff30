//! StopPodSandbox: ends the pod's processes and gives back what it holds of the host. Its folders stay.

use super::procedure::{Change, Context, Failure, Outcome};
use super::resources::{RELEASED_BY_STOP, release_all};

/// The whole procedure. It can be repeated until nothing is left.
pub(super) async fn run(context: Context) -> Outcome {
    match release_all(&context, &RELEASED_BY_STOP).await {
        Ok(()) => Ok(Change::SandboxStopped),
        Err(error) => Err(Failure::leftovers(error)),
    }
}
