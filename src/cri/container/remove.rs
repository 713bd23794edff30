//! RemoveContainer.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::wire::runtime::{RemoveContainerRequest, RemoveContainerResponse};

pub(in crate::cri) async fn remove<P: PodService>(
    pods: &P,
    request: RemoveContainerRequest,
) -> Result<RemoveContainerResponse, Status> {
    let id = from_cri::required_text(request.container_id, "container_id")?;
    match pods.remove_container(&id).await {
        Ok(()) => Ok(RemoveContainerResponse {}),
        Err(error) => Err(status::of_pod(&error)),
    }
}
