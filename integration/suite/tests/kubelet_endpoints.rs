//! What is asked of a kubelet on Carpel: its own endpoints, and the streams of the real kubectl, all of which it has from
//! the CRI alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use carpel_integration::kubelet::{Kubelet, full_name};
use carpel_integration::node::Node;
use carpel_integration::request::BUSYBOX;
use carpel_integration::table::{Table, Verdict, expect};
use carpel_integration::wait::try_for;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

/// Serves a page, and echoes what it is told by attach.
const WEB: &str = "echo page >/tmp/index.html; httpd -p 8080 -h /tmp; echo serving; \
    while read -r line; do echo \"heard $line\"; done; sleep 1000";

/// A megabyte of lines a second, or so.
const CHATTY: &str = "while :; do seq 100000 150000; sleep 0.3; done";

#[test]
fn root_a_kubelet_answers_what_it_is_asked() {
    let Some(node) = Node::start() else {
        return;
    };
    let Some(kubelet) = Kubelet::start(&node, false) else {
        return;
    };
    for (name, script, stdin) in [("web", WEB, true), ("chatty", CHATTY, false)] {
        kubelet.apply(&pod(name, script, stdin));
    }
    for name in ["web", "chatty"] {
        kubelet.wait_for_pod(name, SOON, |pod| pod["status"]["phase"] == "Running");
    }
    let mut table = Table::default();
    for (what, look) in ROWS {
        table.row(what, look(&node, &kubelet));
    }
    table.finish();
    kubelet.remove_all();
    drop(kubelet);
    node.finish();
}

type Look = fn(&Node, &Kubelet<'_>) -> Verdict;

const ROWS: [(&str, Look); 14] = [
    ("/pods tells image, digest, address and state", pods),
    ("/containerLogs, by kubectl logs", logs),
    ("kubectl logs --tail and --since-time", part_of_logs),
    ("kubectl exec tells output, errors and the exit code", exec),
    ("kubectl exec with standard input", exec_with_input),
    ("kubectl exec over SPDY", exec_over_spdy),
    ("kubectl attach with standard input", attach),
    ("kubectl port-forward", port_forward),
    (
        "/stats/summary has processor, memory, network and volumes",
        summary,
    ),
    ("/metrics/resource has the container", resource_metrics),
    (
        "/metrics/cadvisor has the container, from the CRI",
        cadvisor_metrics,
    ),
    (
        "a log is rotated, and the older ones are kept or removed",
        rotation,
    ),
    ("a changed manifest makes another pod in its place", change),
    (
        "a dead container is removed when there is another one",
        dead_containers,
    ),
];

fn pod(name: &str, script: &str, stdin: bool) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "labels": { "app": name } },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "volumes": [{ "name": "v", "emptyDir": {} }],
            "containers": [{
                "name": "main",
                "image": BUSYBOX,
                "command": ["sh", "-c", script],
                "stdin": stdin,
                "volumeMounts": [{ "name": "v", "mountPath": "/v" }],
            }],
        },
    })
}

fn pods(_node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    let pod = kubelet.pod("web").unwrap_or_default();
    let status = &pod["status"];
    let container = &status["containerStatuses"][0];
    let id = container["containerID"].as_str().unwrap_or_default();
    let is_whole = container["image"] == BUSYBOX
        && container["imageID"]
            .as_str()
            .is_some_and(|id| id.contains("@sha256:"))
        && status["podIP"]
            .as_str()
            .is_some_and(|ip| ip.starts_with("10.88."))
        && container["state"]["running"]["startedAt"].is_string()
        && id.starts_with("carpel://") | id.starts_with("containerd://");
    expect(is_whole, status)
}

fn logs(_node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    let said = kubelet.ask(&["logs", &full_name("web")]);
    expect(said.starts_with("serving\n"), said)
}

fn part_of_logs(_node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    let name = full_name("chatty");
    let said = kubelet.ask(&["logs", &name, "--tail", "3", "--timestamps"]);
    let lines: Vec<&str> = said.lines().collect();
    expect(lines.len() == 3, &said)?;
    let (time, _) = lines[0].split_once(' ').unwrap_or_default();
    let said = kubelet.ask(&["logs", &name, "--since-time", time, "--tail", "5"]);
    expect(said.lines().count() == 5, said)
}

fn exec(_node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    let script = "echo out; echo err >&2; exit 5";
    let output = kubelet.kubectl(&["exec", &full_name("web"), "--", "sh", "-c", script]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    expect(output.stdout == b"out\n", &errors)?;
    expect(
        errors.starts_with("err\n") && output.status.code() == Some(5),
        errors,
    )
}

fn exec_with_input(_node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    exec_cat(kubelet, &[])
}

fn exec_over_spdy(_node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    exec_cat(kubelet, &[("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false")])
}

/// A megabyte through `cat`, there and back.
fn exec_cat(kubelet: &Kubelet<'_>, variables: &[(&str, &str)]) -> Verdict {
    let mut process = kubelet
        .kubectl_command(&["exec", "-i", &full_name("web"), "--", "cat"])
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let sent: Vec<u8> = (0..1 << 20)
        .map(|byte: u32| byte.to_le_bytes()[0])
        .collect();
    let mut input = process.stdin.take().unwrap();
    let bytes = sent.clone();
    let sender = std::thread::spawn(move || input.write_all(&bytes));
    let output = process.wait_with_output().unwrap();
    sender.join().unwrap().unwrap();
    expect(
        output.stdout == sent,
        format!("{} bytes came back", output.stdout.len()),
    )
}

fn attach(_node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    let mut process = kubelet
        .kubectl_command(&["attach", "-i", &full_name("web")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    process
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"hello\n")
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    // `kubectl` is a grandchild: it ends with its input.
    drop(process.stdin.take());
    process.wait().unwrap();
    expect(line == "heard hello\n", line)
}

fn port_forward(node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    let mut process = kubelet
        .kubectl_command(&["port-forward", &full_name("web"), "18080:8080"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let mut pages = Vec::new();
    for _ in 0..20 {
        let fetch = ["wget", "-q", "-O", "-", "http://127.0.0.1:18080/"];
        let page = node.command("busybox").args(fetch).output().unwrap();
        pages.push(String::from_utf8_lossy(&page.stdout).into_owned());
    }
    for (pid, name) in node.processes() {
        if name == "kubectl" {
            node.signal("TERM", pid);
        }
    }
    process.wait().unwrap();
    expect(
        pages.iter().all(|page| page == "page\n"),
        format!("{line}{pages:?}"),
    )
}

/// Figures come once the kubelet has collected them.
fn eventually(look: impl Fn() -> Verdict) -> Verdict {
    let mut last = Ok(());
    let found = try_for(SOON, || {
        last = look();
        last.is_ok().then_some(())
    });
    found.map_or(last, Ok)
}

fn summary(_node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    eventually(|| {
        let summary = kubelet.raw_json("/kubelet/stats/summary");
        let pods = summary["pods"].as_array().cloned().unwrap_or_default();
        let name = full_name("web");
        let found = pods
            .iter()
            .find(|pod| pod["podRef"]["name"] == name.as_str());
        let pod = found.cloned().unwrap_or_default();
        let container = &pod["containers"][0];
        let is_number = |value: &Value| value.as_u64().is_some_and(|number| number > 0);
        let is_whole = is_number(&container["cpu"]["usageCoreNanoSeconds"])
            && is_number(&container["memory"]["workingSetBytes"])
            && is_number(&container["rootfs"]["usedBytes"])
            && is_number(&container["logs"]["usedBytes"])
            && is_number(&pod["network"]["rxBytes"])
            && pod["volume"][0]["name"] == "v"
            && is_number(&summary["node"]["runtime"]["imageFs"]["capacityBytes"]);
        expect(is_whole, pod)
    })
}

/// Whether the kubelet's metrics at a path have a line that begins so, of the container `main` of the pod `web`.
fn has_metric(kubelet: &Kubelet<'_>, path: &str, name: &str) -> Verdict {
    let pod = format!("pod=\"{}\"", full_name("web"));
    eventually(|| {
        let text = kubelet.raw(path);
        let is_it = |line: &&str| {
            line.starts_with(name) && line.contains(&pod) && line.contains("container=\"main\"")
        };
        expect(
            text.lines().any(|line| is_it(&line)),
            format!("no {name} of it"),
        )
    })
}

fn resource_metrics(_node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    has_metric(
        kubelet,
        "/kubelet/metrics/resource",
        "container_cpu_usage_seconds_total",
    )?;
    has_metric(
        kubelet,
        "/kubelet/metrics/resource",
        "container_memory_working_set_bytes",
    )
}

fn cadvisor_metrics(_node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    for name in [
        "container_cpu_usage_seconds_total",
        "container_memory_working_set_bytes",
        "container_fs_usage_bytes",
        "container_start_time_seconds",
    ] {
        has_metric(kubelet, "/kubelet/metrics/cadvisor", name)?;
    }
    Ok(())
}

fn rotation(node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    let folder = node.work.join("kubelet/pod-logs");
    eventually(|| {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name.contains(&full_name("chatty")) {
                let logs = std::fs::read_dir(entry.path().join("main")).unwrap();
                files.extend(
                    logs.flatten()
                        .map(|log| log.file_name().into_string().unwrap()),
                );
            }
        }
        let is_rotated = files.contains(&"0.log".to_owned()) && files.len() == 3;
        expect(is_rotated, format!("{files:?}"))
    })?;
    let said = kubelet.ask(&["logs", &full_name("chatty"), "--tail", "1"]);
    expect(!said.is_empty(), "nothing is in the newest log")
}

fn change(_node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    let uid = |pod: &Value| pod["metadata"]["uid"].clone();
    kubelet.apply(&pod("changes", "echo first; sleep 1000", false));
    let first = kubelet.wait_for_pod("changes", SOON, |pod| pod["status"]["phase"] == "Running");
    kubelet.apply(&pod("changes", "echo second; sleep 1000", false));
    let second = kubelet.wait_for_pod("changes", SOON, |pod| {
        uid(pod) != uid(&first) && pod["status"]["phase"] == "Running"
    });
    let said = kubelet.ask(&["logs", &full_name("changes")]);
    kubelet.remove("changes");
    expect(said == "second\n", format!("{said} {}", second["status"]))
}

fn dead_containers(node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    kubelet.apply(&pod("dies", "sleep 1; exit 1", false));
    kubelet.wait_for_pod("dies", SOON, |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"].as_u64() >= Some(3)
    });
    let verdict = eventually(|| {
        let label = format!("io.kubernetes.pod.name={}", full_name("dies"));
        let containers = node.ask(&["ps", "--all", "--quiet", "--label", &label]);
        let count = containers.lines().count();
        expect(count <= 2, format!("{count} containers are kept"))
    });
    kubelet.remove("dies");
    verdict
}
