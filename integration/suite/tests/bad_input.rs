//! Requests that cannot be served: each gets the right gRPC code and a message
//! that names the object, and leaves nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use carpel_integration::node::Node;
use carpel_integration::node::Runtime;
use carpel_integration::request::container;
use carpel_integration::request::pod;
use carpel_integration::wait::wait_for;
use serde_json::Value;
use serde_json::json;

const NOBODY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn root_unknown_ids_are_not_found() {
    let Some(node) = Node::start() else { return };
    let container_file = node.write_request(&container("lost", &["true"]));
    let pod_file = node.write_request(&pod("lost"));
    node.warm_up();
    let before = node.inventory();
    for call in [
        &["inspectp", NOBODY][..],
        &["create", NOBODY, &container_file, &pod_file],
        &["start", NOBODY],
        &["inspect", NOBODY],
        &["logs", NOBODY],
        &["exec", "-s", NOBODY, "true"],
        &["update", "--cpu-share", "100", NOBODY],
    ] {
        node.is_refused(call, &["NotFound"], &[&NOBODY[..13]]);
    }
    node.assert_nothing_left_since(&before);
    node.finish();
}

#[test]
fn root_stopping_and_removing_what_is_gone_succeeds() {
    // containerd 1.6 answers NotFound to StopPodSandbox and StopContainer.
    let Some(node) = Node::start_carpel() else {
        return;
    };
    for verb in ["stopp", "stop"] {
        node.tell(&[verb, NOBODY]);
    }
    let pod = node.run_pod(pod("twice"));
    let worker = node.start_container(&pod, &container("worker", &["sleep", "1000"]));
    node.tell(&["stop", "--timeout", "0", &worker]);
    node.tell(&["stop", &worker]);
    node.tell(&["stopp", &pod.0]);
    node.tell(&["stopp", &pod.0]);
    node.tell(&["rmp", &pod.0]);
    node.finish();
}

#[test]
fn root_images_that_cannot_be_had_are_refused() {
    let Some(node) = Node::start() else { return };
    node.warm_up();
    let before = node.inventory();
    for malformed in [
        "registry.k8s.io/UPPER:case",
        "registry.k8s.io/a:b:c",
        "registry.k8s.io/a@sha256:12",
    ] {
        node.is_refused(&["pull", malformed], &["InvalidArgument"], &[malformed]);
    }
    for missing in [
        "registry.k8s.io/nothing/here:1",
        "registry.k8s.io/e2e-test-images/busybox:no-such-tag",
    ] {
        node.is_refused(&["pull", missing], &["NotFound"], &[missing]);
    }
    node.assert_nothing_left_since(&before);

    let pod = node.run_pod(pod("imageless"));
    let mut request = container("worker", &["true"]);
    request["image"]["image"] = json!("registry.k8s.io/never/pulled:1");
    let file = node.write_request(&request);
    let before = node.inventory();
    node.is_refused(
        &["create", &pod.0, &file, &pod.1],
        &["NotFound"],
        &["never/pulled"],
    );
    node.assert_nothing_left_since(&before);
    node.remove_pod(&pod);
    node.finish();
}

/// Starts a container that can be created but not started; it must end as the
/// kubelet expects and name `named`.
fn fails_to_start(node: &Node, pod: &(String, String), request: &Value, named: &str) {
    let created = node.create(pod, request);
    node.is_refused(
        &["start", &created],
        &[
            "InvalidArgument",
            "NotFound",
            "FailedPrecondition",
            "PermissionDenied",
        ],
        &[named],
    );
    let status = node.wait_until_exited(&created);
    assert_eq!(status["reason"], "StartError", "{status:#}");
    assert_eq!(status["exitCode"], 128, "{status:#}");
    node.tell(&["rm", &created]);
}

#[test]
fn root_commands_that_cannot_be_executed_fail_to_start() {
    let Some(node) = Node::start() else { return };
    node.warm_up();
    let pod = node.run_pod(pod("commands"));
    // The pod's first container brings what the pod then keeps: its log writer.
    node.start_container(&pod, &container("first", &["sleep", "1000"]));
    let before = node.inventory();
    for command in ["no-such-command", "/no/such/file", "/etc/passwd"] {
        fails_to_start(&node, &pod, &container("worker", &[command]), command);
    }
    node.assert_nothing_left_since(&before);
    node.remove_pod(&pod);
    node.finish();
}

/// Creates a container, which must be refused there or at its start, naming
/// `named`, and removes what there is of it. Runtimes differ in where they look.
fn is_refused_by_start(node: &Node, pod: &(String, String), request: &Value, named: &str) {
    let file = node.write_request(request);
    let codes = ["InvalidArgument", "NotFound", "FailedPrecondition"];
    let created = node.crictl(&["create", &pod.0, &file, &pod.1]);
    if created.status.success() {
        let id = String::from_utf8(created.stdout).unwrap().trim().to_owned();
        node.is_refused(&["start", &id], &codes, &[named]);
        node.tell(&["rm", &id]);
    } else {
        node.is_refused(&["create", &pod.0, &file, &pod.1], &codes, &[named]);
    }
}

#[test]
fn root_containers_that_cannot_be_made_leave_nothing() {
    let Some(node) = Node::start() else { return };
    node.warm_up();
    let pod = node.run_pod(pod("refused"));
    node.start_container(&pod, &container("first", &["sleep", "1000"]));
    let before = node.inventory();

    let mut below_a_file = container("worker", &["true"]);
    below_a_file["mounts"] =
        json!([{ "host_path": "/etc/hostname/below", "container_path": "/mnt" }]);
    is_refused_by_start(&node, &pod, &below_a_file, "/etc/hostname");

    let mut unknown_user = container("worker", &["true"]);
    unknown_user["linux"]["security_context"]["run_as_username"] = json!("no-such-user");
    is_refused_by_start(&node, &pod, &unknown_user, "no-such-user");

    let mut group_alone = container("worker", &["true"]);
    group_alone["linux"]["security_context"]["run_as_group"] = json!({ "value": 7 });
    is_refused_by_start(&node, &pod, &group_alone, "run_as_group");

    let mut no_target = container("worker", &["true"]);
    no_target["linux"] = json!({ "security_context": {
        "namespace_options": { "pid": 3, "target_id": NOBODY },
    } });
    is_refused_by_start(&node, &pod, &no_target, &NOBODY[..13]);

    node.assert_nothing_left_since(&before);
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_one_name_is_one_pod_and_one_container() {
    let Some(node) = Node::start() else { return };
    let first = node.run_pod(pod("single"));
    // The shim forks its log writer while it answers.
    wait_for("the log writer", Duration::from_secs(30), || {
        let is_there = node.processes().values().any(|name| name == "carpel-log");
        (node.runtime != Runtime::Carpel || is_there).then_some(())
    });
    let before = node.inventory();
    let mut another = pod("single");
    another["hostname"] = json!("another");
    let file = node.write_request(&another);
    node.is_refused(&["runp", &file], &["AlreadyExists"], &["single"]);
    node.assert_nothing_left_since(&before);

    let worker = node.start_container(&first, &container("worker", &["sleep", "1000"]));
    let before = node.inventory();
    let file = node.write_request(&container("worker", &["sleep", "2000"]));
    node.is_refused(
        &["create", &first.0, &file, &first.1],
        &["AlreadyExists"],
        &["worker"],
    );
    node.assert_nothing_left_since(&before);
    assert_eq!(node.container_state(&worker), "CONTAINER_RUNNING");
    node.remove_pod(&first);
    node.finish();
}

#[test]
fn root_a_stopped_pod_takes_no_containers() {
    let Some(node) = Node::start() else { return };
    node.warm_up();
    let pod = node.run_pod(pod("stopped"));
    node.tell(&["stopp", &pod.0]);
    let before = node.inventory();
    is_refused_by_start(&node, &pod, &container("late", &["true"]), &pod.0[..13]);
    node.assert_nothing_left_since(&before);
    node.tell(&["rmp", &pod.0]);
    node.finish();
}

#[test]
fn root_garbage_on_the_socket_is_hung_up_on_and_others_are_served() {
    let Some(node) = Node::start() else { return };
    let garbage: [&[u8]; 3] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0xff; 4096],
        // The preface of HTTP/2, then a frame that is longer than any may be.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x00\x00\x00\x00\x00\x00",
    ];
    for bytes in garbage {
        let mut connection = UnixStream::connect(&node.socket).unwrap();
        connection
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        // The other side may hang up before it has read everything.
        if connection.write_all(bytes).is_ok() {
            let mut answer = Vec::new();
            let ended = connection.read_to_end(&mut answer);
            assert!(
                !ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
                "the connection stays open after {bytes:?}"
            );
        }
        node.tell(&["version"]);
    }
    node.finish();
}
