//! Attach: the URL of a container's own streams.

use tonic::Status;

use super::require_running;
use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::streams::{StreamUrls, wanted};
use crate::cri::wire::runtime::{AttachRequest, AttachResponse};
use crate::pod::{StreamRequest, WantedStreams};

pub(in crate::cri) fn attach<P: PodService>(
    pods: &P,
    urls: &dyn StreamUrls,
    request: AttachRequest,
) -> Result<AttachResponse, Status> {
    let id = from_cri::required_text(request.container_id, "container_id")?;
    let wanted = wanted(WantedStreams {
        stdin: request.stdin,
        stdout: request.stdout,
        stderr: request.stderr,
        terminal: request.tty,
    })?;
    let container_id = require_running(pods, &id)?;
    let request = StreamRequest::Attach {
        container_id,
        wanted,
    };
    match urls.url_of(request) {
        Ok(url) => Ok(AttachResponse { url }),
        Err(error) => Err(status::of_pod(&error)),
    }
}
