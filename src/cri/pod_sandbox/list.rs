//! ListPodSandbox and StreamPodSandboxes.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::stream::{self, Answers};
use crate::cri::to_cri;
use crate::cri::wire::runtime::{
    ListPodSandboxRequest, ListPodSandboxResponse, PodSandbox, PodSandboxFilter,
    StreamPodSandboxesRequest, StreamPodSandboxesResponse,
};

pub(in crate::cri) fn list<P: PodService>(
    pods: &P,
    request: ListPodSandboxRequest,
) -> Result<ListPodSandboxResponse, Status> {
    let items = find(pods, request.filter)?;
    Ok(ListPodSandboxResponse { items })
}

pub(in crate::cri) fn stream<P: PodService>(
    pods: &P,
    request: StreamPodSandboxesRequest,
) -> Result<Answers<StreamPodSandboxesResponse>, Status> {
    let items = find(pods, request.filter)?;
    Ok(stream::answers(items, |pod_sandboxes| {
        StreamPodSandboxesResponse { pod_sandboxes }
    }))
}

fn find<P: PodService>(
    pods: &P,
    filter: Option<PodSandboxFilter>,
) -> Result<Vec<PodSandbox>, Status> {
    let filter = from_cri::sandbox_filter(filter)?;
    let views = pods.list_sandboxes(&filter);
    Ok(views.iter().map(to_cri::sandbox).collect())
}
