//! Lists that no client takes as one message come whole as streams.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tonic::transport::Channel;
use tonic::{Code, Streaming};

use super::Served;
use super::script::{container_view, sandbox_view};
use crate::cri::wire::runtime::runtime_service_client::RuntimeServiceClient;
use crate::cri::wire::runtime::*;
use crate::oci::{ContainerConfig, SandboxConfig};
use crate::pod::{CgroupDetails, ContainerFigures, SandboxFigures};

const COUNT: usize = 10_000;

/// What the kubelet takes as one answer.
const KUBELET_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Some 2 KB of annotations, as a pod of a cluster has.
fn annotations() -> BTreeMap<String, String> {
    BTreeMap::from([("applied".to_owned(), "x".repeat(2000))])
}

async fn crowded() -> (Served, RuntimeServiceClient<Channel>) {
    let served = Served::start().await;
    let config = Arc::new(ContainerConfig {
        annotations: annotations(),
        ..ContainerConfig::default()
    });
    let pod_config = Arc::new(SandboxConfig {
        annotations: annotations(),
        ..SandboxConfig::default()
    });
    let containers = (0..COUNT).map(|index| {
        let mut view = container_view(&format!("{index:064}"));
        view.config = Arc::clone(&config);
        view
    });
    *served.script.containers.lock().unwrap() = containers.collect();
    let sandboxes = (0..COUNT).map(|index| {
        let mut view = sandbox_view(&format!("{index:064}"));
        view.config = Arc::clone(&pod_config);
        view
    });
    *served.script.sandboxes.lock().unwrap() = sandboxes.collect();
    let client = RuntimeServiceClient::new(served.channel().await)
        .max_decoding_message_size(KUBELET_BYTES_MAX);
    (served, client)
}

/// All items of a stream whose messages each have at least one; every id once.
async fn ids<M>(
    mut stream: Streaming<M>,
    ids_of: impl Fn(M) -> Vec<String>,
) -> (usize, HashSet<String>) {
    let (mut messages, mut ids) = (0, HashSet::new());
    while let Some(message) = stream.message().await.unwrap() {
        let part = ids_of(message);
        assert!(!part.is_empty());
        messages += 1;
        for id in part {
            assert!(ids.insert(id), "an item came twice");
        }
    }
    (messages, ids)
}

fn assert_whole((messages, ids): (usize, HashSet<String>)) {
    assert_eq!(ids.len(), COUNT);
    assert!(messages > 1, "{messages}");
}

#[tokio::test]
async fn ten_thousand_containers_and_sandboxes() {
    let (_served, mut client) = crowded().await;
    let request = ListContainersRequest::default();
    let refused = client.list_containers(request).await.err().unwrap();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    let request = ListPodSandboxRequest::default();
    let refused = client.list_pod_sandbox(request).await.err().unwrap();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");

    let request = StreamContainersRequest::default();
    let stream = client.stream_containers(request).await.unwrap();
    let found = ids(stream.into_inner(), |message| {
        let items = message.containers.into_iter();
        items.map(|item| item.id).collect()
    });
    assert_whole(found.await);
    let request = StreamPodSandboxesRequest::default();
    let stream = client.stream_pod_sandboxes(request).await.unwrap();
    let found = ids(stream.into_inner(), |message| {
        let items = message.pod_sandboxes.into_iter();
        items.map(|item| item.id).collect()
    });
    assert_whole(found.await);
}

#[tokio::test]
async fn statistics_of_ten_thousand_containers_and_sandboxes() {
    let (_served, mut client) = crowded().await;
    let request = ListContainerStatsRequest::default();
    let refused = client.list_container_stats(request).await.err().unwrap();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");

    let request = StreamContainerStatsRequest::default();
    let stream = client.stream_container_stats(request).await.unwrap();
    let found = ids(stream.into_inner(), |message| {
        let items = message.container_stats.into_iter();
        items.map(|item| item.attributes.unwrap().id).collect()
    });
    assert_whole(found.await);
    let request = StreamPodSandboxStatsRequest::default();
    let stream = client.stream_pod_sandbox_stats(request).await.unwrap();
    let found = ids(stream.into_inner(), |message| {
        let items = message.pod_sandbox_stats.into_iter();
        items.map(|item| item.attributes.unwrap().id).collect()
    });
    assert_whole(found.await);
}

#[tokio::test]
async fn metrics_of_more_pods_than_fit_one_message() {
    const PODS: usize = 4_000;
    let served = Served::start().await;
    let figures = (0..PODS).map(|index| SandboxFigures {
        sandbox: sandbox_view(&index.to_string()),
        seen_at: 1,
        cgroup: CgroupDetails::default(),
        interfaces: Vec::new(),
        containers: vec![ContainerFigures {
            container: container_view(&format!("{index:064}")),
            seen_at: 1,
            cgroup: CgroupDetails::default(),
            writable_layer: None,
            filesystem: None,
        }],
    });
    *served.script.figures.lock().unwrap() = figures.collect();
    let mut client = RuntimeServiceClient::new(served.channel().await)
        .max_decoding_message_size(KUBELET_BYTES_MAX);
    let request = ListPodSandboxMetricsRequest {};
    let refused = client
        .list_pod_sandbox_metrics(request)
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    let request = StreamPodSandboxMetricsRequest {};
    let stream = client.stream_pod_sandbox_metrics(request).await.unwrap();
    let (messages, ids) = ids(stream.into_inner(), |message| {
        let items = message.pod_sandbox_metrics.into_iter();
        items.map(|item| item.pod_sandbox_id).collect()
    })
    .await;
    assert_eq!(ids.len(), PODS);
    assert!(messages > 1);
}
