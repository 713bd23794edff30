//! Images as volumes (KEP-4639), with what critest's specs of them assert and what they leave out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and prints why it is skipped"
)]

use std::time::Duration;

use carpel_integration::crictl::text;
use carpel_integration::node::Node;
use carpel_integration::node::Runtime;
use carpel_integration::request::BUSYBOX;
use carpel_integration::request::container;
use carpel_integration::request::pod;
use carpel_integration::wait::wait_for;
use serde_json::Value;
use serde_json::json;

/// Two layers: busybox, and a file of its name on top.
const IMAGE: &str = "gcr.io/k8s-staging-cri-tools/test-image-tag:test";
/// One layer.
const ONE_LAYER: &str = "gcr.io/k8s-staging-cri-tools/test-image-predefined-group:latest";
const PLACE: &str = "/mnt/image-volume";

/// A node of a runtime that has image volumes: containerd 1.6 has none.
fn start() -> Option<Node> {
    let node = Node::start()?;
    if node.runtime == Runtime::Containerd {
        println!("SKIP containerd 1.6 has no image volumes");
        node.finish();
        return None;
    }
    Some(node)
}

fn volume(image: &str, sub_path: &str) -> Value {
    json!({
        "container_path": PLACE,
        "readonly": true,
        "image": { "image": image },
        "image_sub_path": sub_path,
    })
}

fn with(mount: &Value) -> Value {
    let mut request = container("reader", &["sleep", "1000"]);
    request["mounts"] = json!([mount]);
    request
}

/// Pulls an image and gives the id that PullImage has answered.
fn pull(node: &Node, image: &str) -> String {
    let said = node.ask(&["pull", image]);
    said.rsplit(' ').next().unwrap().to_owned()
}

fn fails(node: &Node, container: &str, command: &[&str]) -> bool {
    let exec = [&["exec", "-s", container], command].concat();
    !node.crictl(&exec).status.success()
}

#[test]
fn root_an_image_is_mounted_by_tag_digest_and_id_and_its_status_says_which() {
    let Some(node) = start() else { return };
    let id = pull(&node, IMAGE);
    pull(&node, BUSYBOX);
    let status = node.ask_json(&["inspecti", IMAGE])["status"].clone();
    let pod = node.run_pod(pod("volumes"));
    for (number, name) in [IMAGE, &text(&status, "/repoDigests/0"), &id]
        .iter()
        .enumerate()
    {
        let mut request = with(&volume(name, ""));
        request["metadata"]["name"] = json!(format!("reader-{number}"));
        // Without --with-pull: an id is nothing that could be pulled.
        let file = node.write_request(&request);
        let reader = node.ask(&["create", &pod.0, &file, &pod.1]);
        node.tell(&["start", &reader]);
        let mount = node.ask_json(&["inspect", &reader])["status"]["mounts"][0].clone();
        assert_eq!(text(&mount, "/image/imageRef"), id);
        assert_eq!(text(&mount, "/image/image"), *name);
        assert_eq!(mount["readonly"], true);
        // Both layers, and programs that run.
        let listed = node.ask(&["exec", "-s", &reader, &format!("{PLACE}/bin/ls"), PLACE]);
        assert!(
            listed.contains("test-image-tag") && listed.contains("etc"),
            "{listed}"
        );
        assert!(fails(
            &node,
            &reader,
            &["touch", &format!("{PLACE}/test-write")]
        ));
    }
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_a_part_of_an_image_is_mounted_be_it_a_directory_or_a_file() {
    let Some(node) = start() else { return };
    pull(&node, ONE_LAYER);
    let pod = node.run_pod(pod("parts"));
    let directory = node.start_container(&pod, &with(&volume(ONE_LAYER, "etc")));
    let passwd = format!("{PLACE}/passwd");
    let read = node.ask(&["exec", "-s", &directory, "cat", &passwd]);
    assert!(read.contains("default-user"), "{read}");
    assert!(fails(
        &node,
        &directory,
        &["ls", &format!("{PLACE}/etc/passwd")]
    ));
    assert!(fails(&node, &directory, &["touch", &passwd]));
    let mut request = with(&volume(ONE_LAYER, "etc/group"));
    request["metadata"]["name"] = json!("file");
    let file = node.start_container(&pod, &request);
    let read = node.ask(&["exec", "-s", &file, "cat", PLACE]);
    assert!(read.contains("group-defined-in-image"), "{read}");
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_what_cannot_be_mounted_is_refused_with_the_word_that_the_kubelet_knows() {
    let Some(node) = start() else { return };
    pull(&node, IMAGE);
    let pod = node.run_pod(pod("refused"));
    // The folder of the pod's containers is there from the first one on.
    let first = node.create(&pod, &container("first", &["sleep", "1000"]));
    node.tell(&["rm", &first]);
    let before = node.inventory();
    let changed = |name: &str, value: Value| {
        let mut mount = volume(IMAGE, "");
        mount[name] = value;
        mount
    };
    for (mount, names) in [
        (
            changed("readonly", json!(false)),
            ["mounts[0].readonly", "must be true"],
        ),
        (
            changed("host_path", json!("/tmp")),
            ["mounts[0].host_path", "must be empty"],
        ),
        (
            volume(IMAGE, "not-existing"),
            ["not-existing", "No such file or directory"],
        ),
        (
            volume(IMAGE, "etc/passwd/x"),
            ["etc/passwd/x", "Not a directory"],
        ),
        (
            volume("localhost/none:1", ""),
            ["localhost/none:1", "pull it first"],
        ),
    ] {
        let file = node.write_request(&with(&mount));
        let said = node.is_refused(&["create", &pod.0, &file, &pod.1], &["Unknown"], &names);
        // crictl prints the status after "desc = ".
        assert!(said.contains("desc = ImageVolumeMountFailed: "), "{said}");
    }
    node.assert_nothing_left_since(&before);
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_a_removed_image_stays_mounted_also_for_the_next_daemon_and_goes_with_its_last_container() {
    let Some(node) = start() else { return };
    pull(&node, IMAGE);
    let pod = node.run_pod(pod("outlives"));
    let reader = node.start_container(&pod, &with(&volume(IMAGE, "")));
    let snapshots = node.work.join("root/snapshots");
    let layers = || std::fs::read_dir(&snapshots).unwrap().count();
    let before = layers();
    node.tell(&["rmi", IMAGE]);
    node.kill_daemon();
    node.start_daemon();
    assert_eq!(layers(), before);
    let marker = format!("{PLACE}/test-image-tag");
    let read = node.ask(&["exec", "-s", &reader, "cat", &marker]);
    assert_eq!(read, "test-image-tag");
    let status = node.ask_json(&["inspect", &reader])["status"].clone();
    assert!(text(&status, "/mounts/0/image/imageRef").starts_with("sha256:"));
    node.tell(&["rm", "--force", &reader]);
    wait_for(
        "the layers of the volume to go",
        Duration::from_secs(10),
        || (layers() == before - 2).then_some(()),
    );
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_an_artifact_is_listed_mounted_by_titles_and_not_run() {
    const ARTIFACT: &str = "gcr.io/k8s-staging-cri-tools/artifact:latest";
    let Some(node) = start() else { return };
    let id = pull(&node, ARTIFACT);
    let listed = node.ask_json(&["images", "--output", "json", ARTIFACT])["images"][0].clone();
    assert_eq!(text(&listed, "/id"), id);
    assert_ne!(text(&listed, "/size"), "0");
    let pod = node.run_pod(pod("artifact"));
    let whole = node.start_container(&pod, &with(&volume(ARTIFACT, "")));
    let read = |container: &str, path: &str| node.ask(&["exec", "-s", container, "cat", path]);
    assert_eq!(read(&whole, &format!("{PLACE}/model.bin")), "weights");
    assert_eq!(read(&whole, &format!("{PLACE}/config/settings.json")), "{}");
    assert!(fails(&node, &whole, &["touch", &format!("{PLACE}/new")]));
    let mut request = with(&volume(ARTIFACT, "config"));
    request["metadata"]["name"] = json!("part");
    let part = node.start_container(&pod, &request);
    assert_eq!(read(&part, &format!("{PLACE}/settings.json")), "{}");

    let mut request = container("runs", &["sh"]);
    request["image"]["image"] = json!(ARTIFACT);
    let file = node.write_request(&request);
    let create = ["create", &pod.0, &file, &pod.1];
    node.is_refused(&create, &["InvalidArgument"], &[ARTIFACT, "artifact"]);
    node.remove_pod(&pod);
    node.finish();
}
