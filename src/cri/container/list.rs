//! ListContainers and StreamContainers.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::stream::{self, Answers};
use crate::cri::to_cri;
use crate::cri::wire::runtime::{
    Container, ContainerFilter, ListContainersRequest, ListContainersResponse,
    StreamContainersRequest, StreamContainersResponse,
};

pub(in crate::cri) fn list<P: PodService>(
    pods: &P,
    request: ListContainersRequest,
) -> Result<ListContainersResponse, Status> {
    let containers = find(pods, request.filter)?;
    Ok(ListContainersResponse { containers })
}

pub(in crate::cri) fn stream<P: PodService>(
    pods: &P,
    request: StreamContainersRequest,
) -> Result<Answers<StreamContainersResponse>, Status> {
    let items = find(pods, request.filter)?;
    Ok(stream::answers(items, |containers| {
        StreamContainersResponse { containers }
    }))
}

fn find<P: PodService>(
    pods: &P,
    filter: Option<ContainerFilter>,
) -> Result<Vec<Container>, Status> {
    let filter = from_cri::container_filter(filter)?;
    let views = pods.list_containers(&filter);
    Ok(views.iter().map(to_cri::container).collect())
}
