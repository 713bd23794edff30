//! ExecSync.

use std::time::Duration;

use tonic::Status;

use crate::cri::from_cri::{self, InvalidField};
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::wire::runtime::{ExecSyncRequest, ExecSyncResponse};
use crate::pod::ExecCommand;

pub(in crate::cri) async fn exec_sync<P: PodService>(
    pods: &P,
    request: ExecSyncRequest,
) -> Result<ExecSyncResponse, Status> {
    let id = from_cri::required_text(request.container_id, "container_id")?;
    if request.cmd.is_empty() {
        return Err(InvalidField::new("cmd", "missing").into());
    }
    if request.cmd.iter().any(|word| word.contains('\0')) {
        return Err(InvalidField::new("cmd", "contains a NUL byte").into());
    }
    let seconds = u64::try_from(request.timeout).map_err(|_negative| {
        InvalidField::new("timeout", format!("{} is negative", request.timeout))
    })?;
    let command = ExecCommand {
        arguments: request.cmd,
        timeout: (seconds > 0).then(|| Duration::from_secs(seconds)),
    };
    match pods.exec_sync(&id, command).await {
        Ok(output) => Ok(ExecSyncResponse {
            stdout: output.stdout.into(),
            stderr: output.stderr.into(),
            exit_code: output.exit_code,
        }),
        Err(error) => Err(status::of_pod(&error)),
    }
}
