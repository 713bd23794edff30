//! Images in archives: what `carpel image export` writes comes back the same, and other programs read it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking"
)]

use std::path::PathBuf;
use std::process::Command;
use std::process::Output;

use carpel_integration::crictl::text;
use carpel_integration::node::Node;
use carpel_integration::node::repository;
use carpel_integration::request::BUSYBOX;
use carpel_integration::request::container;
use carpel_integration::request::pod;

/// Runs `carpel image` in the node.
fn carpel_image(node: &Node, arguments: &[&str]) -> Output {
    let program = std::env::var_os("NODE_CARPEL")
        .map_or_else(|| repository().join("target/release/carpel"), PathBuf::from);
    node.command(program)
        .args(["image", arguments[0], "--socket"])
        .arg(&node.socket)
        .args(&arguments[1..])
        .output()
        .unwrap()
}

/// The same, which must succeed.
fn told(node: &Node, arguments: &[&str]) -> String {
    let output = carpel_image(node, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// What skopeo says of an archive; nothing if there is no skopeo.
fn skopeo(archive: &str) -> Option<serde_json::Value> {
    let output = Command::new("skopeo").args(["inspect", archive]).output();
    let Ok(output) = output else {
        println!("SKIP no skopeo to read {archive}");
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{archive}: {errors}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn root_an_exported_image_is_read_by_others_and_comes_back_the_same() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    node.tell(&["pull", BUSYBOX]);
    let before = node.ask_json(&["inspecti", BUSYBOX]);
    let archive = node.work.join("busybox.tar");
    let archive = archive.to_str().unwrap();
    let said = told(&node, &["export", BUSYBOX, "--output", archive]);
    assert!(said.starts_with("exported "), "{said}");
    let layers = before["info"]["layers"].as_array().unwrap().len();
    for form in ["oci-archive", "docker-archive"] {
        if let Some(seen) = skopeo(&format!("{form}:{archive}")) {
            assert_eq!(
                seen["Layers"].as_array().unwrap().len(),
                layers,
                "{form}: {seen:#}"
            );
            assert_eq!(seen["Os"], "linux", "{form}: {seen:#}");
        }
    }
    // Into a pipe it is the same.
    let piped = carpel_image(&node, &["export", BUSYBOX, "--output", "-"]);
    assert!(piped.stdout == std::fs::read(archive).unwrap());

    told(&node, &["remove", BUSYBOX]);
    node.is_refused(&["inspecti", BUSYBOX], &["none"], &["busybox"]);
    told(&node, &["import", archive]);
    let after = node.ask_json(&["inspecti", BUSYBOX]);
    assert_eq!(after, before);
    std::fs::remove_file(archive).unwrap();
    node.finish();
}

#[test]
fn root_an_image_is_told_of_with_its_users_and_removed_once() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("user"));
    let worker = node.start_container(&pod, &container("worker", &["sleep", "1000"]));
    let told_of = told(&node, &["inspect", BUSYBOX]);
    let told_of: serde_json::Value = serde_json::from_str(&told_of).unwrap();
    assert_eq!(text(&told_of, "/0/containers/0/id"), worker);
    assert_eq!(text(&told_of, "/0/containers/0/state"), "running");
    assert_eq!(text(&told_of, "/0/repo_tags/0"), BUSYBOX);
    let id = text(&told_of, "/0/id");
    let lines = told(&node, &["inspect", BUSYBOX, "--output", "text"]);
    assert!(
        lines.contains(&format!("tag          {BUSYBOX}\n")),
        "{lines}"
    );
    assert!(lines.contains(" worker running\n"), "{lines}");

    let said = told(&node, &["rm", BUSYBOX]);
    assert!(
        said.contains(&format!("removed {BUSYBOX}\nremoved ")),
        "{said}"
    );
    assert!(said.contains(&id) && said.contains(&worker), "{said}");
    for command in ["remove", "inspect"] {
        let output = carpel_image(&node, &[command, BUSYBOX]);
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(errors.trim_end(), format!("error: not here: {BUSYBOX}"));
    }
    let output = carpel_image(&node, &["export", BUSYBOX, "--output", "/none.tar"]);
    assert_eq!(output.status.code(), Some(1));
    node.remove_pod(&pod);
    node.finish();
}
