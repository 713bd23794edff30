//! A pod and its containers from `runp` to `rmp`, as crictl shows them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::time::Duration;

use carpel_integration::crictl::text;
use carpel_integration::node::Node;
use carpel_integration::node::Runtime;
use carpel_integration::request::BUSYBOX;
use carpel_integration::request::container;
use carpel_integration::request::pod;
use carpel_integration::wait::wait_for;
use serde_json::json;

#[test]
fn root_version_and_info_name_the_runtime_and_say_that_it_is_ready() {
    let Some(node) = Node::start() else { return };
    let version = node.ask(&["version"]);
    assert!(version.contains("RuntimeApiVersion:  v1"), "{version}");
    let info = node.ask_json(&["info"]);
    for wanted in ["RuntimeReady", "NetworkReady"] {
        let conditions = info["status"]["conditions"].as_array().unwrap();
        let condition = conditions
            .iter()
            .find(|condition| condition["type"] == wanted);
        assert_eq!(condition.unwrap()["status"], true, "{info:#}");
    }
    node.finish();
}

#[test]
fn root_a_pod_keeps_what_was_asked_and_has_an_address() {
    let Some(node) = Node::start() else { return };
    let pod = node.run_pod(pod("kept"));
    let status = node.ask_json(&["inspectp", &pod.0])["status"].clone();
    assert_eq!(status["id"], pod.0.as_str());
    assert_eq!(status["state"], "SANDBOX_READY");
    assert_eq!(
        status["metadata"],
        json!({ "name": "kept", "namespace": "default", "uid": "uid-kept", "attempt": 0 })
    );
    assert_eq!(status["labels"], json!({ "app": "kept" }));
    assert_eq!(
        status["annotations"],
        json!({ "carpel.example/note": "kept byte for byte: ä\n" })
    );
    assert!(
        text(&status, "/network/ip").starts_with("10.88."),
        "{status:#}"
    );

    let listed = node.ask_json(&["pods", "--output", "json", "--label", "app=kept"]);
    assert_eq!(listed["items"][0]["id"], pod.0.as_str());
    let prefix = &pod.0[..12];
    assert_eq!(node.ask(&["pods", "--quiet", "--id", prefix]), pod.0);
    assert_eq!(node.ask(&["pods", "--quiet", "--label", "app=another"]), "");

    node.tell(&["stopp", &pod.0]);
    let stopped = node.ask_json(&["inspectp", &pod.0]);
    assert_eq!(text(&stopped, "/status/state"), "SANDBOX_NOTREADY");
    node.tell(&["rmp", &pod.0]);
    assert_eq!(node.ask(&["pods", "--quiet"]), "");
    node.finish();
}

#[test]
fn root_a_container_goes_through_its_states_and_leaves_nothing() {
    let Some(node) = Node::start() else { return };
    node.warm_up();
    let before = node.inventory();
    let pod = node.run_pod(pod("states"));
    // `top` as process 1 has no handler for SIGTERM: the stop signal is one it dies of.
    let request = container(
        "worker",
        &[
            "sh",
            "-c",
            "trap 'exit 7' TERM; while :; do sleep 0.1; done",
        ],
    );
    let worker = node.create(&pod, &request);
    assert_eq!(node.container_state(&worker), "CONTAINER_CREATED");
    assert_eq!(
        node.ask(&["ps", "--quiet"]),
        "",
        "ps shows running containers only"
    );
    assert_eq!(node.ask(&["ps", "--all", "--quiet"]), worker);

    node.tell(&["start", &worker]);
    assert_eq!(node.container_state(&worker), "CONTAINER_RUNNING");
    assert_eq!(node.ask(&["ps", "--quiet", "--name", "worker"]), worker);

    node.tell(&["stop", "--timeout", "10", &worker]);
    let status = node.wait_until_exited(&worker);
    assert_eq!(status["exitCode"], 7);
    assert_eq!(status["reason"], "Error");
    assert_eq!(status["image"]["image"], BUSYBOX);
    assert!(text(&status, "/finishedAt") > text(&status, "/startedAt"));
    node.tell(&["stop", &worker]);

    node.tell(&["rm", &worker]);
    assert_eq!(node.ask(&["ps", "--all", "--quiet"]), "");
    node.remove_pod(&pod);
    node.assert_nothing_left_since(&before);
    node.finish();
}

#[test]
fn root_stop_kills_what_ignores_the_stop_signal() {
    let Some(node) = Node::start() else { return };
    let pod = node.run_pod(pod("stubborn"));
    let request = container(
        "deaf",
        &["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"],
    );
    let deaf = node.start_container(&pod, &request);
    node.tell(&["stop", "--timeout", "1", &deaf]);
    let status = node.wait_until_exited(&deaf);
    assert_eq!(status["exitCode"], 137, "128 and the number of SIGKILL");
    assert_eq!(status["reason"], "Error");
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_exec_gives_output_and_exit_code() {
    let Some(node) = Node::start() else { return };
    let pod = node.run_pod(pod("exec"));
    let worker = node.start_container(&pod, &container("worker", &["sleep", "1000"]));
    assert_eq!(
        node.ask(&["exec", "-s", &worker, "echo", "in the container"]),
        "in the container"
    );
    assert_eq!(node.ask(&["exec", "-s", &worker, "hostname"]), "exec");
    assert_eq!(
        node.ask(&["exec", "-s", &worker, "cat", "/proc/1/comm"]),
        "sleep"
    );

    let failed = node.crictl(&[
        "exec",
        "-s",
        &worker,
        "sh",
        "-c",
        "echo out; echo err >&2; exit 3",
    ]);
    assert!(!failed.status.success());
    // crictl shows the exit code of a failed exec, and not its output.
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(said.contains("exited with 3"), "{said}");

    let resolver = node.ask(&["exec", "-s", &worker, "cat", "/etc/resolv.conf"]);
    for line in [
        "nameserver 10.10.10.10",
        "search example.org",
        "options ndots:2",
    ] {
        assert!(resolver.lines().any(|found| found == line), "{resolver}");
    }
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_an_exec_that_runs_too_long_is_killed() {
    let Some(node) = Node::start() else { return };
    let pod = node.run_pod(pod("slow"));
    let worker = node.start_container(&pod, &container("worker", &["sleep", "1000"]));
    node.is_refused(
        &["exec", "-s", "--timeout", "1", &worker, "sleep", "4321"],
        &["DeadlineExceeded"],
        &[],
    );
    wait_for(
        "the end of the exec'd process",
        Duration::from_secs(10),
        || {
            let running = node.ask(&["exec", "-s", &worker, "ps"]);
            (!running.contains("4321")).then_some(())
        },
    );
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_logs_hold_both_streams_and_outlive_the_container() {
    let Some(node) = Node::start() else { return };
    let pod = node.run_pod(pod("logged"));
    let request = container(
        "talker",
        &[
            "sh",
            "-c",
            // The streams are two pipes: what is written at once may be logged in either order.
            "echo to stdout; echo to stderr >&2; sleep 1; printf 'no end of line'",
        ],
    );
    let talker = node.start_container(&pod, &request);
    let status = node.wait_until_exited(&talker);
    assert_eq!(status["exitCode"], 0);
    assert_eq!(status["reason"], "Completed");

    let shown = node.crictl(&["logs", &talker]);
    assert_eq!(
        String::from_utf8_lossy(&shown.stdout),
        "to stdout\nno end of line"
    );
    assert_eq!(String::from_utf8_lossy(&shown.stderr), "to stderr\n");
    assert_eq!(
        node.ask(&["logs", "--tail", "1", &talker]),
        "no end of line"
    );

    let file = text(&status, "/logPath");
    node.tell(&["rm", "--keep-logs", &talker]);
    let written = std::fs::read_to_string(&file).unwrap();
    // The kubelet's format: time, stream, F or P, the text.
    let line = written
        .lines()
        .find(|line| line.ends_with("to stderr"))
        .unwrap();
    let fields: Vec<&str> = line.splitn(4, ' ').collect();
    assert_eq!(fields[1..], ["stderr", "F", "to stderr"]);
    assert!(fields[0].contains('T'), "RFC 3339: {line}");
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_stats_count_the_running_containers() {
    let Some(node) = Node::start() else { return };
    let pod = node.run_pod(pod("counted"));
    let running = node.start_container(&pod, &container("running", &["sleep", "1000"]));
    let exited = node.start_container(&pod, &container("exited", &["true"]));
    node.wait_until_exited(&exited);
    let stats = node.ask_json(&["stats", "--output", "json"]);
    let mut listed = stats["stats"].as_array().unwrap().clone();
    if node.runtime == Runtime::Containerd {
        // containerd 1.6 lists ended containers too.
        listed.retain(|entry| entry["attributes"]["id"] != exited.as_str());
    }
    assert_eq!(listed.len(), 1, "{stats:#}");
    assert_eq!(listed[0]["attributes"]["id"], running.as_str());
    assert!(
        listed[0]["cpu"]["usageCoreNanoSeconds"]["value"].is_string(),
        "{stats:#}"
    );
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_containers_of_a_pod_share_its_network_and_pods_reach_each_other() {
    let Some(node) = Node::start() else { return };
    let server = node.run_pod(pod("server"));
    let httpd = [
        "sh",
        "-c",
        "mkdir /www; echo hello >/www/index.html; exec httpd -f -p 8080 -h /www",
    ];
    node.start_container(&server, &container("httpd", &httpd));
    let neighbour = node.start_container(&server, &container("neighbour", &["sleep", "1000"]));
    let client = node.run_pod(pod("client"));
    let other = node.start_container(&client, &container("client", &["sleep", "1000"]));

    let address = text(
        &node.ask_json(&["inspectp", &server.0]),
        "/status/network/ip",
    );
    let fetched = |from: &str, host: &str| {
        let request = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} 8080");
        wait_for(&request, Duration::from_secs(10), || {
            let answer = node.crictl(&["exec", "-s", from, "sh", "-c", &request]);
            let text = String::from_utf8(answer.stdout).unwrap();
            text.contains("\r\nhello\n").then_some(())
        });
    };
    fetched(&neighbour, "127.0.0.1");
    fetched(&other, &address);
    let from_node = node
        .command("bash")
        .arg("-c")
        .arg(format!(
            "exec 3<>/dev/tcp/{address}/8080; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
        ))
        .output()
        .unwrap();
    let answer = String::from_utf8(from_node.stdout).unwrap();
    assert!(
        answer.ends_with("\r\nhello\n"),
        "from the node itself: {answer}"
    );

    node.remove_pod(&server);
    node.remove_pod(&client);
    node.finish();
}

#[test]
fn root_a_mount_shows_the_hosts_directory_read_only_when_asked() {
    let Some(node) = Node::start() else { return };
    let pod = node.run_pod(pod("mounted"));
    let folder = node.work.join("configuration");
    std::fs::create_dir(&folder).unwrap();
    carpel_integration::request::write_new(&folder.join("greeting"), b"from the host\n");
    let mut request = container("reader", &["sleep", "1000"]);
    request["mounts"] = json!([
        { "host_path": folder, "container_path": "/etc/reader", "readonly": true },
    ]);
    let reader = node.start_container(&pod, &request);
    assert_eq!(
        node.ask(&["exec", "-s", &reader, "cat", "/etc/reader/greeting"]),
        "from the host"
    );
    let written = node.crictl(&["exec", "-s", &reader, "touch", "/etc/reader/new"]);
    let said = String::from_utf8_lossy(&written.stderr);
    assert!(said.contains("Read-only file system"), "{said}");
    let status = node.ask_json(&["inspect", &reader]);
    let mount = &status["status"]["mounts"][0];
    assert_eq!(mount["containerPath"], "/etc/reader");
    assert_eq!(mount["hostPath"], folder.to_str().unwrap());
    assert_eq!(mount["readonly"], true);
    node.remove_pod(&pod);
    node.finish();
}
