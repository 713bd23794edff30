//! What pods and containers do, as crictl sees it: statistics that follow behaviour, metrics with all names, events.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::fs::File;
use std::process::{Child, Stdio};
use std::time::Duration;

use carpel_integration::node::Node;
use carpel_integration::request::{container, pod};
use carpel_integration::wait::wait_for;
use serde_json::{Value, json};

/// Statistics lag: layers are measured again after ten seconds.
const SOON: Duration = Duration::from_secs(60);

fn shell(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

/// A number that protobuf's JSON has as a text.
fn number(value: &Value, pointer: &str) -> u64 {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.map_or(0, |text| text.parse().unwrap())
}

fn statistics(node: &Node, id: &str) -> Value {
    node.ask_json(&["stats", "--all", "--id", id, "--output", "json"])["stats"][0].clone()
}

#[test]
fn root_statistics_follow_what_containers_do() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("busy"));
    let idle = node.start_container(&pod, &container("idle", &["sleep", "1000"]));
    let spin = node.start_container(&pod, &container("spin", &shell("while :; do :; done")));
    // tail keeps what it may have to print.
    let hoard = "(head -c 40000000 /dev/zero; sleep 1000) | tail -c 39000000 >/dev/null";
    let hoard = node.start_container(&pod, &container("hoard", &shell(hoard)));
    let write = "dd if=/dev/zero of=/file bs=1M count=20; sleep 1000";
    let write = node.start_container(&pod, &container("write", &shell(write)));
    let send = "ping -s 1400 10.88.0.1";
    node.start_container(&pod, &container("send", &shell(send)));

    wait_for("a busy processor", SOON, || {
        let rate = number(&statistics(&node, &spin), "/cpu/usageNanoCores/value");
        (rate > 50_000_000).then_some(())
    });
    let spent = number(&statistics(&node, &spin), "/cpu/usageCoreNanoSeconds/value");
    let rested = number(&statistics(&node, &idle), "/cpu/usageCoreNanoSeconds/value");
    assert!(spent > rested, "{spent} {rested}");
    wait_for("40 MB in memory", SOON, || {
        let bytes = number(&statistics(&node, &hoard), "/memory/workingSetBytes/value");
        (bytes > 35_000_000).then_some(())
    });
    assert!(number(&statistics(&node, &idle), "/memory/workingSetBytes/value") < 20_000_000);
    wait_for("20 MB in the writable layer", SOON, || {
        let bytes = number(&statistics(&node, &write), "/writableLayer/usedBytes/value");
        (bytes >= 20 << 20).then_some(())
    });
    assert!(number(&statistics(&node, &idle), "/writableLayer/usedBytes/value") < 1 << 20);

    let of_pod =
        || node.ask_json(&["statsp", "--id", &pod.0, "--output", "json"])["stats"][0].clone();
    wait_for("bytes on the network", SOON, || {
        let sent = number(&of_pod(), "/linux/network/defaultInterface/txBytes/value");
        (sent > 3 * 1400).then_some(())
    });
    let linux = of_pod()["linux"].clone();
    assert_eq!(linux["network"]["defaultInterface"]["name"], "eth0");
    assert_eq!(
        linux["containers"].as_array().unwrap().len(),
        5,
        "{linux:#}"
    );
    assert!(number(&linux, "/process/processCount/value") >= 5);
    let has_pressure = std::path::Path::new("/proc/pressure/cpu").exists();
    for usage in [&linux, &statistics(&node, &spin)] {
        for resource in ["cpu", "memory", "io"] {
            let psi = &usage[resource]["psi"];
            assert_eq!(!psi.is_null(), has_pressure, "{resource}: {usage:#}");
        }
    }
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_metrics_have_every_name_and_as_many_labels_as_said() {
    // These depend on the host's controllers, or on a limit.
    const OPTIONAL: [&str; 5] = [
        "container_blkio_device_usage_total",
        "container_fs_reads",
        "container_fs_writes",
        "container_hugetlb",
        "container_spec_cpu_quota",
    ];
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("measured"));
    let id = node.start_container(&pod, &container("main", &["sleep", "1000"]));
    let descriptors = node.ask_json(&["metricdescs"])["descriptors"].clone();
    let descriptors = descriptors.as_array().unwrap();
    assert_eq!(descriptors.len(), 56);
    // The first question begins to measure the writable layer.
    let of_pod = node.ask_json(&["metricsp", "--output", "json"])["podMetrics"][0].clone();
    assert_eq!(of_pod["podSandboxId"], pod.0.as_str());
    let of_container = &of_pod["containerMetrics"][0];
    assert_eq!(of_container["containerId"], id.as_str());
    let all = |metrics: &Value| metrics.as_array().unwrap().clone();
    let mut metrics = all(&of_pod["metrics"]);
    metrics.extend(all(&of_container["metrics"]));
    let has_pressure = std::path::Path::new("/proc/pressure/cpu").exists();
    for descriptor in descriptors {
        let name = descriptor["name"].as_str().unwrap();
        let mine = metrics.iter().filter(|metric| metric["name"] == name);
        let mine: Vec<_> = mine.collect();
        let may_lack = OPTIONAL.iter().any(|prefix| name.starts_with(prefix))
            || (!has_pressure && name.starts_with("container_pressure"));
        assert!(!mine.is_empty() || may_lack, "{name} has no value");
        for metric in mine {
            let (keys, values) = (&descriptor["labelKeys"], &metric["labelValues"]);
            let lengths = [keys, values].map(|labels| labels.as_array().unwrap().len());
            assert_eq!(lengths[0], lengths[1], "{metric}");
        }
    }
    node.remove_pod(&pod);
    node.finish();
}

/// crictl that listens to events, into a file.
struct Listener {
    file: std::path::PathBuf,
    process: Child,
}

impl Listener {
    fn start(node: &Node, name: &str) -> Self {
        let file = node.work.join(name);
        let process = node
            .command("crictl")
            .args(["events", "--output", "json"])
            .stdout(File::create(&file).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { file, process }
    }

    /// Type and container of each event so far.
    fn heard(&self) -> Vec<(String, String, Value)> {
        let text = std::fs::read_to_string(&self.file).unwrap();
        let events = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        // The last one may not be written whole yet.
        events
            .map_while(Result::ok)
            .map(|event| {
                let field = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
                (field("containerEventType"), field("containerId"), event)
            })
            .collect()
    }

    fn stop(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

const STOPPED: &str = "CONTAINER_STOPPED_EVENT";

#[test]
fn root_crictl_hears_the_life_of_a_pod_and_exits_that_no_daemon_saw() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let listener = Listener::start(&node, "events.json");
    // crictl does not say when it listens: something happens until it has heard of it.
    wait_for("a listener", SOON, || {
        node.warm_up();
        (!listener.heard().is_empty()).then_some(())
    });
    let pod = node.run_pod(pod("heard"));
    let id = node.start_container(&pod, &container("main", &shell("exit 3")));
    node.wait_until_exited(&id);
    node.tell(&["rm", &id]);
    let kinds = wait_for("the deletion", SOON, || {
        let heard = listener.heard();
        let mine = heard.into_iter().filter(|(_, whose, _)| *whose == id);
        let kinds: Vec<String> = mine.map(|(kind, _, _)| kind).collect();
        kinds
            .iter()
            .any(|kind| kind == "CONTAINER_DELETED_EVENT")
            .then_some(kinds)
    });
    assert_eq!(
        json!(kinds),
        json!([
            "CONTAINER_CREATED_EVENT",
            "CONTAINER_STARTED_EVENT",
            STOPPED,
            "CONTAINER_DELETED_EVENT"
        ])
    );
    listener.stop();

    let waits = node.work.join("go");
    let script = format!(
        "until [ -e {} ]; do sleep 0.05; done; exit 5",
        waits.display()
    );
    let mut request = container("late", &shell(&script));
    let folder = node.work.to_str().unwrap();
    request["mounts"] = json!([{ "container_path": folder, "host_path": folder }]);
    let late = node.start_container(&pod, &request);
    let pid = node.ask_json(&["inspect", &late])["info"]["pid"]
        .as_u64()
        .unwrap();
    node.kill_daemon();
    File::create(&waits).unwrap();
    let pid = u32::try_from(pid).unwrap();
    wait_for("the exit that nobody hears", SOON, || {
        (!node.is_running(pid)).then_some(())
    });
    node.start_daemon();
    let listener = Listener::start(&node, "events-after.json");
    let event = wait_for("the exit that was not heard", SOON, || {
        let mut heard = listener.heard().into_iter();
        heard.find(|(kind, whose, _)| kind == STOPPED && *whose == late)
    });
    assert_eq!(
        event.2["containersStatuses"][0]["exitCode"], 5,
        "{:#}",
        event.2
    );
    listener.stop();
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_figures_of_the_daemon_are_served_for_prometheus() {
    let settings = "[metrics]\naddress = \"127.0.0.1:9464\"\n";
    let Some(node) = Node::start_carpel_with(&[("NODE_CONFIG_EXTRA", settings)]) else {
        return;
    };
    let pod = node.run_pod(pod("counted"));
    node.start_container(&pod, &container("main", &["sleep", "1000"]));
    drop(node.crictl(&["inspect", "nonsense"]));
    let ask =
        "exec 3<>/dev/tcp/127.0.0.1/9464; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
    let output = node.command("bash").args(["-c", ask]).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    for line in [
        "carpel_rpc_duration_seconds_count{method=\"RunPodSandbox\",code=\"OK\"} 1",
        "carpel_rpc_duration_seconds_count{method=\"ContainerStatus\",code=\"NotFound\"} 1",
        "carpel_image_pulls_total{code=\"OK\"} 1",
        "carpel_sandboxes{state=\"ready\"} 1",
        "carpel_containers{state=\"running\"} 1",
        "carpel_shims 1",
        "carpel_lost_log_lines_total 0",
        "# EOF",
    ] {
        assert!(
            page.lines().any(|one| one == line),
            "{line} is not in\n{page}"
        );
    }
    node.remove_pod(&pod);
    node.finish();
}
