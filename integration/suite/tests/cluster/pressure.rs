//! A node whose disk gets full: what the kubelet throws out of it, by the figures that Carpel gives it.

use std::time::Duration;

use carpel_integration::cluster::Cluster;
use carpel_integration::node::Node;
use carpel_integration::request::BUSYBOX;
use carpel_integration::table::{Verdict, expect};
use carpel_integration::wait::try_for;
use serde_json::json;

use crate::node::becomes;
use crate::pod_behaviours::manifest::{judge, server};
use crate::pod_behaviours::scene::{first_container, is_ready};
use crate::rows::{self, Look};

/// The kubelet looks at its disks each ten seconds, and Carpel measures what containers write as often.
const SOON: Duration = Duration::from_secs(90);

/// The kubelet looks at images when it starts, and each five minutes.
const COLLECTION: Duration = Duration::from_secs(330);

/// An image that no pod uses for long.
const OTHER: &str = "registry.k8s.io/pause:3.9";

/// The whole disk of the image store; some 30 MiB of it are images and records.
const DISK: &str = "400M";

#[test]
#[ignore = "the control plane is built by make cluster"]
fn root_a_full_disk_is_made_free() {
    let Some(node) = Node::start_carpel_with(&[("NODE_ROOT_SIZE", DISK)]) else {
        return;
    };
    let settings = json!({
        "evictionHard": { "imagefs.available": "200Mi" },
        "evictionPressureTransitionPeriod": "5s",
        "imageMinimumGCAge": "1s",
        "imageMaximumGCAge": "30s",
    });
    let Some(cluster) = Cluster::start(&node, &settings) else {
        return;
    };
    rows::show(&node, &cluster, &ROWS);
    drop(cluster);
    node.finish();
}

const ROWS: [(&str, Look); 6] = [
    (
        "a container beyond its ephemeral-storage is evicted",
        container_limit,
    ),
    (
        "a pod whose emptyDir is beyond its sizeLimit is evicted",
        volume_limit,
    ),
    (
        "DiskPressure: the pod that fills the disk is evicted",
        disk_pressure,
    ),
    ("the node has no DiskPressure afterwards", relief),
    (
        "an image that no pod has used for imageMaximumGCAge is removed, others are not",
        old_image,
    ),
    (
        "the kubelet removes containers and sandboxes of deleted pods by itself",
        collection,
    ),
];

/// Waits until a pod is evicted, with these words.
fn evicted(cluster: &Cluster<'_>, name: &str, words: &str) -> Verdict {
    let pod = cluster.wait("pod", name, SOON, |pod| pod["status"]["phase"] == "Failed")?;
    let status = &pod["status"];
    let message = status["message"].as_str().unwrap_or_default();
    expect(
        status["reason"] == "Evicted" && message.contains(words),
        status,
    )
}

fn container_limit(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let resources = json!({ "limits": { "ephemeral-storage": "4Mi" } });
    cluster.try_apply(&server(
        "writes",
        "head -c 20000000 /dev/zero >/file; sleep 1000",
        &json!({ "main": { "resources": resources } }),
    ))?;
    evicted(
        cluster,
        "writes",
        "ephemeral local storage usage exceeds the total limit",
    )
}

fn volume_limit(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    cluster.try_apply(&server(
        "volume",
        "head -c 20000000 /dev/zero >/v/file; sleep 1000",
        &json!({
            "volumes": [{ "name": "v", "emptyDir": { "sizeLimit": "4Mi" } }],
            "main": { "volumeMounts": [{ "name": "v", "mountPath": "/v" }] },
        }),
    ))?;
    evicted(cluster, "volume", "EmptyDir")
}

/// Brings an image to the node that no pod uses any more.
fn pull_other(node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let mut pod = judge("other", "", &json!({}));
    pod["spec"]["containers"][0] = json!({ "name": "main", "image": OTHER });
    cluster.try_apply(&pod)?;
    cluster.wait("pod", "other", SOON, is_ready)?;
    cluster.ask(&["delete", "pod", "other"])?;
    // What is left of it, which the kubelet removes once a minute, holds the image.
    for pod in node.ask(&["pods", "--quiet", "--name", "other"]).lines() {
        node.tell(&["rmp", pod]);
    }
    expect(has_image(node, OTHER), "the image was not pulled")
}

fn has_image(node: &Node, name: &str) -> bool {
    let images = node.ask_json(&["images", "--output", "json"]);
    images.to_string().contains(name)
}

fn disk_pressure(node: &Node, cluster: &Cluster<'_>) -> Verdict {
    cluster.try_apply(&server("small", "sleep 10000", &json!({})))?;
    cluster.wait("pod", "small", SOON, is_ready)?;
    pull_other(node, cluster)?;
    cluster.try_apply(&server(
        "fills",
        "head -c 240000000 /dev/zero >/file; sleep 10000",
        &json!({}),
    ))?;
    becomes(cluster, "DiskPressure", "True", &[])?;
    evicted(cluster, "fills", "low on resource: ephemeral-storage")?;
    let small = cluster.get("pod", "small").unwrap_or_default();
    expect(small["status"]["phase"] == "Running", &small["status"])
}

fn relief(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    becomes(cluster, "DiskPressure", "False", &[])
}

fn old_image(node: &Node, cluster: &Cluster<'_>) -> Verdict {
    // Again: the first may have gone with the pressure on the disk.
    pull_other(node, cluster)?;
    let found = try_for(COLLECTION, || (!has_image(node, OTHER)).then_some(()));
    found.ok_or_else(|| cluster.kubelet().errors().join("\n"))?;
    let small = cluster.get("pod", "small").unwrap_or_default();
    expect(
        has_image(node, BUSYBOX) && first_container(&small)["restartCount"] == 0,
        &small["status"],
    )
}

fn collection(node: &Node, cluster: &Cluster<'_>) -> Verdict {
    cluster.ask(&["delete", "pods", "--all"])?;
    let mut last = String::new();
    let found = try_for(SOON, || {
        last = node.ask(&["pods", "--quiet"]) + &node.ask(&["ps", "--all", "--quiet"]);
        last.is_empty().then_some(())
    });
    found.ok_or_else(|| format!("{last} are kept"))
}
