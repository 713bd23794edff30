//! ReopenContainerLog.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::wire::runtime::{ReopenContainerLogRequest, ReopenContainerLogResponse};

pub(in crate::cri) async fn reopen_log<P: PodService>(
    pods: &P,
    request: ReopenContainerLogRequest,
) -> Result<ReopenContainerLogResponse, Status> {
    let id = from_cri::required_text(request.container_id, "container_id")?;
    match pods.reopen_log(&id).await {
        Ok(()) => Ok(ReopenContainerLogResponse {}),
        Err(error) => Err(status::of_pod(&error)),
    }
}
