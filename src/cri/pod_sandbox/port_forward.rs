//! PortForward: the URL of connections into a sandbox.

use tonic::Status;

use crate::cri::from_cri::{self, InvalidField};
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::streams::StreamUrls;
use crate::cri::wire::runtime::{PortForwardRequest, PortForwardResponse};
use crate::pod::StreamRequest;

pub(in crate::cri) fn port_forward<P: PodService>(
    pods: &P,
    urls: &dyn StreamUrls,
    request: PortForwardRequest,
) -> Result<PortForwardResponse, Status> {
    let id = from_cri::required_text(request.pod_sandbox_id, "pod_sandbox_id")?;
    let port = |number: &i32| {
        let port = u16::try_from(*number).ok().filter(|port| *port > 0);
        port.ok_or_else(|| InvalidField::new("port", format!("{number} is no port")))
    };
    let ports = request.port.iter().map(port).collect::<Result<_, _>>()?;
    let forwarded = pods
        .check_port_forward(&id)
        .and_then(|sandbox_id| urls.url_of(StreamRequest::PortForward { sandbox_id, ports }));
    match forwarded {
        Ok(url) => Ok(PortForwardResponse { url }),
        Err(error) => Err(status::of_pod(&error)),
    }
}
