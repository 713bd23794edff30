//! UpdatePodSandboxResources.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::wire::runtime::{
    LinuxContainerResources, UpdatePodSandboxResourcesRequest, UpdatePodSandboxResourcesResponse,
};
use crate::oci::PodResources;

pub(in crate::cri) async fn update_resources<P: PodService>(
    pods: &P,
    request: UpdatePodSandboxResourcesRequest,
) -> Result<UpdatePodSandboxResourcesResponse, Status> {
    let id = from_cri::required_text(request.pod_sandbox_id, "pod_sandbox_id")?;
    let checked = |resources: Option<LinuxContainerResources>, field| {
        resources
            .map(|resources| from_cri::linux_resources(resources, field))
            .transpose()
    };
    let resources = PodResources {
        overhead: checked(request.overhead, "overhead")?,
        resources: checked(request.resources, "resources")?,
    };
    match pods.update_sandbox_resources(&id, resources).await {
        Ok(()) => Ok(UpdatePodSandboxResourcesResponse {}),
        Err(error) => Err(status::of_pod(&error)),
    }
}
