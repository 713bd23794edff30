//! ContainerStats, ListContainerStats and StreamContainerStats.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::stream::{self, Answers};
use crate::cri::to_cri;
use crate::cri::wire::runtime::{
    ContainerStats, ContainerStatsFilter, ContainerStatsRequest, ContainerStatsResponse,
    ListContainerStatsRequest, ListContainerStatsResponse, StreamContainerStatsRequest,
    StreamContainerStatsResponse,
};

pub(in crate::cri) async fn one<P: PodService>(
    pods: &P,
    request: ContainerStatsRequest,
) -> Result<ContainerStatsResponse, Status> {
    let id = from_cri::required_text(request.container_id, "container_id")?;
    match pods.container_statistics(&id).await {
        Ok(statistics) => Ok(ContainerStatsResponse {
            stats: Some(to_cri::container_stats(&statistics)),
        }),
        Err(error) => Err(status::of_pod(&error)),
    }
}

pub(in crate::cri) async fn list<P: PodService>(
    pods: &P,
    request: ListContainerStatsRequest,
) -> ListContainerStatsResponse {
    let stats = find(pods, request.filter).await;
    ListContainerStatsResponse { stats }
}

pub(in crate::cri) async fn stream<P: PodService>(
    pods: &P,
    request: StreamContainerStatsRequest,
) -> Answers<StreamContainerStatsResponse> {
    stream::answers(find(pods, request.filter).await, |container_stats| {
        StreamContainerStatsResponse { container_stats }
    })
}

async fn find<P: PodService>(
    pods: &P,
    filter: Option<ContainerStatsFilter>,
) -> Vec<ContainerStats> {
    let filter = from_cri::container_stats_filter(filter);
    let found = pods.list_container_statistics(&filter).await;
    found.iter().map(to_cri::container_stats).collect()
}
