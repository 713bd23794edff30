//! CreateContainer.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::wire::runtime::{CreateContainerRequest, CreateContainerResponse};

/// `sandbox_config` is not read: the sandbox's own record is the truth, also for a client that forgot what it sent.
pub(in crate::cri) async fn create<P: PodService>(
    pods: &P,
    request: CreateContainerRequest,
) -> Result<CreateContainerResponse, Status> {
    let sandbox_id = from_cri::required_text(request.pod_sandbox_id, "pod_sandbox_id")?;
    let config = from_cri::container_config(request.config)?;
    match pods.create_container(&sandbox_id, config).await {
        Ok(container_id) => Ok(CreateContainerResponse { container_id }),
        Err(error) => Err(status::of_pod(&error)),
    }
}
