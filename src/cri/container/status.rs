//! ContainerStatus.

use std::collections::BTreeMap;

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::to_cri;
use crate::cri::wire::runtime::{ContainerStatusRequest, ContainerStatusResponse};

pub(in crate::cri) fn status<P: PodService>(
    pods: &P,
    request: ContainerStatusRequest,
) -> Result<ContainerStatusResponse, Status> {
    let id = from_cri::required_text(request.container_id, "container_id")?;
    let view = pods
        .container_status(&id)
        .map_err(|error| status::of_pod(&error))?;
    Ok(ContainerStatusResponse {
        status: Some(to_cri::container_status(&view)),
        info: match request.verbose {
            true => to_cri::container_info(&view),
            false => BTreeMap::new(),
        },
    })
}
