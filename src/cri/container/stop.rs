//! StopContainer.

use std::time::Duration;

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::wire::runtime::{StopContainerRequest, StopContainerResponse};

/// A negative timeout is an immediate SIGKILL, as 0 is: so containerd takes it.
pub(in crate::cri) async fn stop<P: PodService>(
    pods: &P,
    request: StopContainerRequest,
) -> Result<StopContainerResponse, Status> {
    let id = from_cri::required_text(request.container_id, "container_id")?;
    let timeout = Duration::from_secs(request.timeout.try_into().unwrap_or(0));
    match pods.stop_container(&id, timeout).await {
        Ok(()) => Ok(StopContainerResponse {}),
        Err(error) => Err(status::of_pod(&error)),
    }
}
