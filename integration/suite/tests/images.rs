//! Images as crictl shows them: pull, list, inspect, remove.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use carpel_integration::crictl::text;
use carpel_integration::node::Node;
use carpel_integration::node::Runtime;
use carpel_integration::node::repository;
use carpel_integration::request::BUSYBOX;
use carpel_integration::request::container;
use carpel_integration::request::pod;

const TAGS: [&str; 2] = [
    "gcr.io/k8s-staging-cri-tools/test-image-tags:1",
    "gcr.io/k8s-staging-cri-tools/test-image-tags:2",
];

#[test]
fn root_a_pulled_image_is_listed_and_found_by_tag_digest_and_id() {
    let Some(node) = Node::start() else { return };
    node.tell(&["pull", BUSYBOX]);
    let listed = node.ask_json(&["images", "--output", "json", BUSYBOX]);
    let image = listed["images"][0].clone();
    let id = text(&image, "/id");
    assert_eq!(image["repoTags"], serde_json::json!([BUSYBOX]));
    assert_ne!(text(&image, "/size"), "0");
    let digest = text(&image, "/repoDigests/0");
    assert!(
        digest.starts_with("registry.k8s.io/e2e-test-images/busybox@sha256:"),
        "{digest}"
    );
    for name in [BUSYBOX, &digest, &id, &id["sha256:".len()..]] {
        assert_eq!(
            text(&node.ask_json(&["inspecti", name]), "/status/id"),
            id,
            "by {name}"
        );
    }
    // Again by digest: nothing new.
    node.tell(&["pull", &digest]);
    assert_eq!(
        text(&node.ask_json(&["inspecti", BUSYBOX]), "/status/id"),
        id
    );
    node.finish();
}

#[test]
fn root_removing_an_image_by_one_tag_removes_all_its_tags_and_files() {
    let Some(node) = Node::start() else { return };
    for tag in TAGS {
        node.tell(&["pull", tag]);
    }
    let listed = node.ask_json(&["images", "--output", "json"]);
    let images = listed["images"].as_array().unwrap();
    let tagged: Vec<_> = images
        .iter()
        .filter(|image| image["repoTags"].to_string().contains("test-image-tags"))
        .collect();
    assert_eq!(tagged.len(), 1, "{listed:#}");
    assert_eq!(tagged[0]["repoTags"].as_array().unwrap().len(), TAGS.len());

    node.tell(&["rmi", TAGS[0]]);
    for tag in TAGS {
        node.is_refused(&["inspecti", tag], &["none"], &["test-image-tags"]);
    }
    node.finish();
}

#[test]
fn root_a_removed_image_serves_its_container_and_can_be_pulled_again() {
    let Some(node) = Node::start() else { return };
    let pod = node.run_pod(pod("outlives"));
    let worker = node.start_container(&pod, &container("worker", &["sleep", "1000"]));
    node.tell(&["rmi", BUSYBOX]);
    assert_eq!(
        node.ask(&["exec", "-s", &worker, "cat", "/proc/1/comm"]),
        "sleep"
    );
    node.tell(&["pull", BUSYBOX]);
    let second = node.start_container(&pod, &container("second", &["sleep", "1000"]));
    assert_eq!(node.ask(&["exec", "-s", &second, "echo", "up"]), "up");
    node.remove_pod(&pod);
    node.finish();
}

/// Runs `carpel image prune` in a node, and gives the tags of what it removed, or would.
fn prune(node: &Node, more: &[&str]) -> Vec<String> {
    let carpel = std::env::var("NODE_CARPEL")
        .unwrap_or_else(|_unset| format!("{}/target/release/carpel", repository().display()));
    let output = node
        .command(carpel)
        .args(["image", "prune", "--all", "--output", "json", "--socket"])
        .arg(&node.socket)
        .args(more)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "carpel image prune: {said}");
    let pruned: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let images = pruned["images"].as_array().unwrap();
    assert_eq!(images.is_empty(), pruned["freed_bytes"] == 0, "{pruned:#}");
    let mut tags: Vec<_> = images
        .iter()
        .map(|image| text(image, "/repo_tags/0"))
        .collect();
    tags.sort();
    tags
}

#[test]
fn root_pruning_spares_images_of_containers_and_of_their_volumes() {
    let Some(node) = Node::start() else { return };
    if node.runtime == Runtime::Containerd {
        return node.finish();
    }
    const VOLUME: &str = "gcr.io/k8s-staging-cri-tools/test-image-2:latest";
    const UNUSED: &str = "gcr.io/k8s-staging-cri-tools/test-image-3:latest";
    for image in [VOLUME, UNUSED] {
        node.tell(&["pull", image]);
    }
    let pod = node.run_pod(pod("keeps"));
    let exited = node.start_container(&pod, &container("exited", &["true"]));
    node.wait_until_exited(&exited);
    let mut request = container("created", &["sleep", "1000"]);
    request["mounts"] = serde_json::json!([
        { "container_path": "/volume", "readonly": true, "image": { "image": VOLUME } }
    ]);
    let created = node.create(&pod, &request);
    assert_eq!(prune(&node, &["--dry-run"]), [UNUSED]);
    assert_eq!(prune(&node, &["--filter", "until=1h"]), [""; 0]);
    assert_eq!(prune(&node, &[]), [UNUSED]);
    assert_eq!(prune(&node, &[]), [""; 0]);
    node.is_refused(&["inspecti", UNUSED], &["none"], &["test-image-3"]);
    node.tell(&["start", &created]);
    assert_eq!(
        node.ask(&["exec", "-s", &created, "cat", "/volume/test-image-2"]),
        "test-image-2"
    );
    node.remove_pod(&pod);
    assert_eq!(prune(&node, &["--force"]), [VOLUME, BUSYBOX]);
    node.finish();
}

#[test]
fn root_image_file_system_information_names_a_real_folder() {
    let Some(node) = Node::start() else { return };
    node.tell(&["pull", BUSYBOX]);
    let information = node.ask_json(&["imagefsinfo", "--output", "json"]);
    let found = information.to_string();
    assert!(found.contains(node.work.to_str().unwrap()), "{found}");
    assert!(found.contains("usedBytes"), "{found}");
    node.finish();
}
