//! RemovePodSandbox.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::wire::runtime::{RemovePodSandboxRequest, RemovePodSandboxResponse};

pub(in crate::cri) async fn remove<P: PodService>(
    pods: &P,
    request: RemovePodSandboxRequest,
) -> Result<RemovePodSandboxResponse, Status> {
    let id = from_cri::required_text(request.pod_sandbox_id, "pod_sandbox_id")?;
    match pods.remove_sandbox(&id).await {
        Ok(()) => Ok(RemovePodSandboxResponse {}),
        Err(error) => Err(status::of_pod(&error)),
    }
}
