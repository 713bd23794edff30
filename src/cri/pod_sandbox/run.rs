//! RunPodSandbox.

use tonic::Status;

use crate::cri::from_cri::{self, InvalidField};
use crate::cri::pods::PodService;
use crate::cri::runtime::RUNTIME_HANDLERS;
use crate::cri::status;
use crate::cri::wire::runtime::{RunPodSandboxRequest, RunPodSandboxResponse};

pub(in crate::cri) async fn run<P: PodService>(
    pods: &P,
    request: RunPodSandboxRequest,
) -> Result<RunPodSandboxResponse, Status> {
    let handler = request.runtime_handler;
    if !RUNTIME_HANDLERS.contains(&handler.as_str()) {
        let problem = format!("there is no runtime handler {handler:?}");
        return Err(InvalidField::new("runtime_handler", problem).into());
    }
    let config = from_cri::sandbox_config(request.config)?;
    match pods.run_sandbox(config, &handler).await {
        Ok(pod_sandbox_id) => Ok(RunPodSandboxResponse { pod_sandbox_id }),
        Err(error) => Err(status::of_pod(&error)),
    }
}
