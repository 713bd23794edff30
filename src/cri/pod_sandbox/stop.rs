//! StopPodSandbox.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::wire::runtime::{StopPodSandboxRequest, StopPodSandboxResponse};

pub(in crate::cri) async fn stop<P: PodService>(
    pods: &P,
    request: StopPodSandboxRequest,
) -> Result<StopPodSandboxResponse, Status> {
    let id = from_cri::required_text(request.pod_sandbox_id, "pod_sandbox_id")?;
    match pods.stop_sandbox(&id).await {
        Ok(()) => Ok(StopPodSandboxResponse {}),
        Err(error) => Err(status::of_pod(&error)),
    }
}
