//! PodSandboxStatus.

use std::collections::BTreeMap;

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::to_cri;
use crate::cri::wire::runtime::{PodSandboxStatusRequest, PodSandboxStatusResponse};

pub(in crate::cri) fn status<P: PodService>(
    pods: &P,
    request: PodSandboxStatusRequest,
) -> Result<PodSandboxStatusResponse, Status> {
    let id = from_cri::required_text(request.pod_sandbox_id, "pod_sandbox_id")?;
    let pod = pods
        .pod_snapshot(&id)
        .map_err(|error| status::of_pod(&error))?;
    Ok(PodSandboxStatusResponse {
        status: Some(to_cri::sandbox_status(&pod.sandbox)),
        info: match request.verbose {
            true => to_cri::sandbox_info(&pod.sandbox),
            false => BTreeMap::new(),
        },
        // Both are for the kubelet's evented PLEG, which compares the time with that of events.
        containers_statuses: pod
            .containers
            .iter()
            .map(to_cri::container_status)
            .collect(),
        timestamp: pod.timestamp,
    })
}
