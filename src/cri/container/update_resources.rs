//! UpdateContainerResources.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::wire::runtime::{
    UpdateContainerResourcesRequest, UpdateContainerResourcesResponse,
};

/// The request's annotations are for plug-ins, of which there are none: they are not read.
pub(in crate::cri) async fn update_resources<P: PodService>(
    pods: &P,
    request: UpdateContainerResourcesRequest,
) -> Result<UpdateContainerResourcesResponse, Status> {
    let id = from_cri::required_text(request.container_id, "container_id")?;
    let resources = from_cri::required(request.linux, "linux")?;
    let resources = from_cri::linux_resources(resources, "linux")?;
    match pods.update_resources(&id, resources).await {
        Ok(()) => Ok(UpdateContainerResourcesResponse {}),
        Err(error) => Err(status::of_pod(&error)),
    }
}
