//! UpdatePodSandboxResources: the kubelet has changed the pod's cgroup already, and tells.
//!
//! The values are for information only and nothing in Carpel depends on them, so they are checked and not kept.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::wire::runtime::{
    UpdatePodSandboxResourcesRequest, UpdatePodSandboxResourcesResponse,
};

pub(in crate::cri) fn update_resources<P: PodService>(
    pods: &P,
    request: UpdatePodSandboxResourcesRequest,
) -> Result<UpdatePodSandboxResourcesResponse, Status> {
    let id = from_cri::required_text(request.pod_sandbox_id, "pod_sandbox_id")?;
    for (field, resources) in [
        ("overhead", request.overhead),
        ("resources", request.resources),
    ] {
        resources
            .map(|resources| from_cri::linux_resources(resources, field))
            .transpose()?;
    }
    pods.pod_snapshot(&id)
        .map_err(|error| status::of_pod(&error))?;
    Ok(UpdatePodSandboxResourcesResponse {})
}
