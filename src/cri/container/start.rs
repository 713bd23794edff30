//! StartContainer.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::wire::runtime::{StartContainerRequest, StartContainerResponse};

pub(in crate::cri) async fn start<P: PodService>(
    pods: &P,
    request: StartContainerRequest,
) -> Result<StartContainerResponse, Status> {
    let id = from_cri::required_text(request.container_id, "container_id")?;
    match pods.start_container(&id).await {
        Ok(()) => Ok(StartContainerResponse {}),
        Err(error) => Err(status::of_pod(&error)),
    }
}
