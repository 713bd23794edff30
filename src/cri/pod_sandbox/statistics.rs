//! PodSandboxStats, ListPodSandboxStats and StreamPodSandboxStats.

use tonic::Status;

use crate::cri::from_cri;
use crate::cri::pods::PodService;
use crate::cri::status;
use crate::cri::stream::{self, Answers};
use crate::cri::to_cri;
use crate::cri::wire::runtime::{
    ListPodSandboxStatsRequest, ListPodSandboxStatsResponse, PodSandboxStats,
    PodSandboxStatsFilter, PodSandboxStatsRequest, PodSandboxStatsResponse,
    StreamPodSandboxStatsRequest, StreamPodSandboxStatsResponse,
};

pub(in crate::cri) async fn one<P: PodService>(
    pods: &P,
    request: PodSandboxStatsRequest,
) -> Result<PodSandboxStatsResponse, Status> {
    let id = from_cri::required_text(request.pod_sandbox_id, "pod_sandbox_id")?;
    match pods.sandbox_statistics(&id).await {
        Ok(statistics) => Ok(PodSandboxStatsResponse {
            stats: Some(to_cri::sandbox_stats(&statistics)),
        }),
        Err(error) => Err(status::of_pod(&error)),
    }
}

pub(in crate::cri) async fn list<P: PodService>(
    pods: &P,
    request: ListPodSandboxStatsRequest,
) -> ListPodSandboxStatsResponse {
    let stats = find(pods, request.filter).await;
    ListPodSandboxStatsResponse { stats }
}

pub(in crate::cri) async fn stream<P: PodService>(
    pods: &P,
    request: StreamPodSandboxStatsRequest,
) -> Answers<StreamPodSandboxStatsResponse> {
    stream::answers(find(pods, request.filter).await, |pod_sandbox_stats| {
        StreamPodSandboxStatsResponse { pod_sandbox_stats }
    })
}

async fn find<P: PodService>(
    pods: &P,
    filter: Option<PodSandboxStatsFilter>,
) -> Vec<PodSandboxStats> {
    let filter = from_cri::sandbox_stats_filter(filter);
    let found = pods.list_sandbox_statistics(&filter).await;
    found.iter().map(to_cri::sandbox_stats).collect()
}
