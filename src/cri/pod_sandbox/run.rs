//! RunPodSandbox.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::wire::runtime::{RunPodSandboxRequest, RunPodSandboxResponse};

pub(in crate::cri) async fn run<P: PodService>(
    pods: &P,
    request: RunPodSandboxRequest,
) -> Result<RunPodSandboxResponse, Status> {
    let config = from_cri::sandbox_config(request.config)?;
    match pods.run_sandbox(config, &request.runtime_handler).await {
        Ok(pod_sandbox_id) => Ok(RunPodSandboxResponse { pod_sandbox_id }),
        Err(error) => Err(status::of_pod(&error)),
    }
}
