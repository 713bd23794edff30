//! What a pod as a whole may use, against fakes: kept, shown, and written where the pod's level is ours.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    reason = "a test says what went wrong by panicking; the fakes are for other files, too"
)]

mod support;

use carpel::oci::{LinuxResources, PodResources};
use carpel::pod::{PodErrorKind, Pods};
use support::node::{Node, sandbox};

fn memory(bytes: i64) -> Option<LinuxResources> {
    Some(LinuxResources {
        memory_limit_bytes: bytes,
        ..LinuxResources::default()
    })
}

/// Overhead and resources that a status shows, in bytes of memory.
fn shown(pods: &Pods, id: &str) -> (i64, i64) {
    let config = pods.sandbox_status(id).unwrap().config;
    let bytes = |part: &Option<LinuxResources>| {
        part.as_ref()
            .map_or(0, |resources| resources.memory_limit_bytes)
    };
    (bytes(&config.overhead), bytes(&config.resources))
}

fn limits(node: &Node) -> Vec<String> {
    let steps = node.ledger.steps();
    let limits = steps
        .iter()
        .filter_map(|step| step.strip_prefix("limit to "));
    limits.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_pod_without_a_parent_is_limited_and_updated() {
    let node = Node::new();
    let pods = node.daemon().await;
    let mut config = sandbox("web");
    config.overhead = memory(10);
    config.resources = memory(100);
    let id = pods.run_sandbox(config.clone(), "").await.unwrap();
    assert_eq!(limits(&node), ["110"]);
    let update = PodResources {
        overhead: None,
        resources: memory(200),
    };
    pods.update_sandbox_resources(&id, update).await.unwrap();
    assert_eq!(limits(&node), ["110", "210"]);
    assert_eq!(shown(&pods, &id), (10, 200));
    // One that cannot be written is not kept.
    node.ledger.fail_after(0);
    let update = PodResources {
        overhead: memory(20),
        resources: None,
    };
    let refused = pods.update_sandbox_resources(&id, update).await;
    assert_eq!(refused.unwrap_err().kind(), PodErrorKind::Internal);
    assert_eq!(shown(&pods, &id), (10, 200));
    // It is the same pod to a client that asks again, and to the next daemon.
    assert_eq!(pods.run_sandbox(config, "").await.unwrap(), id);
    drop(pods);
    let pods = node.daemon().await;
    assert_eq!(shown(&pods, &id), (10, 200));
    pods.remove_sandbox(&id).await.unwrap();
}

#[tokio::test]
async fn the_limits_of_a_pod_with_a_parent_are_its_clients() {
    let node = Node::new();
    let pods = node.daemon().await;
    let mut config = sandbox("web");
    config.cgroup_parent = "/kubepods/pod1".into();
    config.resources = memory(100);
    let id = pods.run_sandbox(config, "").await.unwrap();
    let update = PodResources {
        overhead: memory(5),
        resources: memory(200),
    };
    pods.update_sandbox_resources(&id, update).await.unwrap();
    assert_eq!(limits(&node), [""; 0]);
    assert_eq!(shown(&pods, &id), (5, 200));
    pods.stop_sandbox(&id).await.unwrap();
    let stopped = pods
        .update_sandbox_resources(&id, PodResources::default())
        .await;
    assert_eq!(
        stopped.unwrap_err().kind(),
        PodErrorKind::FailedPrecondition
    );
    pods.remove_sandbox(&id).await.unwrap();
}
