//! Exec: the URL of a command with its streams.

use tonic::Status;

use super::require_running;
use crate::cri::from_cri::{self, InvalidField};
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::streams::{StreamUrls, wanted};
use crate::cri::wire::runtime::{ExecRequest, ExecResponse};
use crate::pod::{StreamRequest, WantedStreams};

pub(in crate::cri) fn exec<P: PodService>(
    pods: &P,
    urls: &dyn StreamUrls,
    request: ExecRequest,
) -> Result<ExecResponse, Status> {
    let id = from_cri::required_text(request.container_id, "container_id")?;
    if request.cmd.is_empty() {
        return Err(InvalidField::new("cmd", "missing").into());
    }
    if request.cmd.iter().any(|word| word.contains('\0')) {
        return Err(InvalidField::new("cmd", "contains a NUL byte").into());
    }
    let wanted = wanted(WantedStreams {
        stdin: request.stdin,
        stdout: request.stdout,
        stderr: request.stderr,
        terminal: request.tty,
    })?;
    let container_id = require_running(pods, &id)?;
    let request = StreamRequest::Exec {
        container_id,
        arguments: request.cmd,
        wanted,
    };
    match urls.url_of(request) {
        Ok(url) => Ok(ExecResponse { url }),
        Err(error) => Err(status::of_pod(&error)),
    }
}
