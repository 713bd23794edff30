//! Limits that change while containers run, limits of a pod as a whole, and a node whose memory gets short: where cgroup v2
//! has the controllers, which is in the cgroup v2 machine, or on a host with cgroup v2 alone.

use std::path::PathBuf;
use std::time::Duration;

use carpel_integration::cluster::Cluster;
use carpel_integration::node::Node;
use carpel_integration::table::{Verdict, expect};
use carpel_integration::wait::try_for;
use serde_json::{Value, json};

use crate::node::becomes;
use crate::pod_behaviours::manifest::server;
use crate::pod_behaviours::scene::{first_container, is_ready};
use crate::rows::{self, Look};

/// One processor has the whole cluster here.
const SOON: Duration = Duration::from_secs(180);

const MEBIBYTE: u64 = 1 << 20;

/// What the greedy pod takes, and two thirds of which the node has until it is short.
const GREED: u64 = 450;

#[test]
#[ignore = "the control plane is built by make cluster"]
fn root_limits_change_and_a_short_node_evicts() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let controllers = std::fs::read_to_string(node.cgroup2.join("cgroup.controllers")).unwrap();
    if !["cpu", "memory", "pids"]
        .iter()
        .all(|name| controllers.contains(name))
    {
        println!("SKIP cgroup v2 has only {controllers:?} here: integration/uml/cluster");
        return;
    }
    let Some(cluster) = Cluster::start(&node, &json!({})) else {
        return;
    };
    rows::show(&node, &cluster, &ROWS);
    drop(cluster);
}

const ROWS: [(&str, Look); 5] = [
    ("resources of a pod as a whole are its cgroup's", whole_pod),
    (
        "kubectl patch --subresource resize changes a running container",
        resize,
    ),
    (
        "a resize restarts a container that asks for it",
        resize_restarts,
    ),
    (
        "resources of a pod as a whole change while it runs",
        resize_pod,
    ),
    (
        "MemoryPressure: the pod that takes most is evicted",
        memory_pressure,
    ),
];

/// The cgroup of a pod, once it is ready.
fn cgroup(node: &Node, cluster: &Cluster<'_>, name: &str, class: &str) -> Result<PathBuf, String> {
    let pod = cluster.wait("pod", name, SOON, is_ready)?;
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let root = node.path_inside(node.cgroup2.to_str().unwrap());
    Ok(root.join(format!("kubepods{class}/pod{uid}")))
}

/// The cgroup of the pod's one container: its id is the folder's name.
fn container_cgroup(pod: &Value, cgroup: &std::path::Path) -> Result<PathBuf, String> {
    let id = first_container(pod)["containerID"]
        .as_str()
        .unwrap_or_default();
    let id = id.trim_start_matches("carpel://");
    let mut folders = vec![cgroup.to_owned()];
    while let Some(folder) = folders.pop() {
        if folder.ends_with(id) {
            return Ok(folder);
        }
        let below = std::fs::read_dir(&folder).map_err(|error| error.to_string())?;
        let below = below.flatten().map(|entry| entry.path());
        folders.extend(below.filter(|path| path.is_dir()));
    }
    Err(format!("{id} has no cgroup below {}", cgroup.display()))
}

/// Waits until a file of a cgroup has this value.
fn has(cgroup: &std::path::Path, file: &str, value: &str) -> Verdict {
    let mut last = String::new();
    let found = try_for(SOON, || {
        last = std::fs::read_to_string(cgroup.join(file)).unwrap_or_default();
        (last.trim() == value).then_some(())
    });
    found.ok_or_else(|| format!("{file} is {last:?}, not {value}"))
}

fn mebibytes(count: u64) -> String {
    (count * MEBIBYTE).to_string()
}

fn whole_pod(node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let resources = json!({ "limits": { "cpu": "200m", "memory": "64Mi" } });
    cluster.try_apply(&server(
        "whole",
        "sleep 100000",
        &json!({ "resources": resources }),
    ))?;
    let cgroup = cgroup(node, cluster, "whole", "")?;
    has(&cgroup, "memory.max", &mebibytes(64))?;
    has(&cgroup, "cpu.max", "20000 100000")
}

fn resize_pod(node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let patch =
        r#"{"spec":{"resources":{"requests":{"memory":"96Mi"},"limits":{"memory":"96Mi"}}}}"#;
    cluster.ask(&[
        "patch",
        "pod",
        "whole",
        "--subresource",
        "resize",
        "--patch",
        patch,
    ])?;
    let pod = cluster.get("pod", "whole").unwrap_or_default();
    let cgroup = cgroup(node, cluster, "whole", "")?;
    has(&cgroup, "memory.max", &mebibytes(96))?;
    expect(first_container(&pod)["restartCount"] == 0, &pod["status"])
}

fn limited(memory: &str, cpu: &str) -> Value {
    json!({ "limits": { "cpu": cpu, "memory": memory } })
}

fn resize(node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let fields = json!({ "main": { "resources": limited("32Mi", "100m") } });
    cluster.try_apply(&server("grows", "sleep 100000", &fields))?;
    let pod = cgroup(node, cluster, "grows", "")?;
    let object = cluster.get("pod", "grows").unwrap_or_default();
    let container = container_cgroup(&object, &pod)?;
    has(&container, "memory.max", &mebibytes(32))?;
    patch(cluster, "grows", &limited("48Mi", "150m"))?;
    for cgroup in [&pod, &container] {
        has(cgroup, "memory.max", &mebibytes(48))?;
        has(cgroup, "cpu.max", "15000 100000")?;
    }
    let told = cluster.wait("pod", "grows", SOON, |pod| {
        first_container(pod)["resources"]["limits"] == json!({ "cpu": "150m", "memory": "48Mi" })
    })?;
    // And less again, which memory may not be of that is used; this is not.
    patch(cluster, "grows", &limited("40Mi", "120m"))?;
    has(&container, "memory.max", &mebibytes(40))?;
    expect(first_container(&told)["restartCount"] == 0, &told["status"])
}

fn patch(cluster: &Cluster<'_>, name: &str, resources: &Value) -> Verdict {
    let mut resources = resources.clone();
    resources["requests"] = resources["limits"].clone();
    let patch = json!({ "spec": { "containers": [{ "name": "main", "resources": resources }] } });
    let patch = patch.to_string();
    let resize = [
        "patch",
        "pod",
        name,
        "--subresource",
        "resize",
        "--patch",
        &patch,
    ];
    cluster.ask(&resize).map(drop)
}

fn resize_restarts(node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let policy = json!([{ "resourceName": "memory", "restartPolicy": "RestartContainer" }]);
    let fields =
        json!({ "main": { "resources": limited("32Mi", "100m"), "resizePolicy": policy } });
    cluster.try_apply(&server("restarts", "sleep 100000", &fields))?;
    let pod = cgroup(node, cluster, "restarts", "")?;
    patch(cluster, "restarts", &limited("48Mi", "100m"))?;
    let object = cluster.wait("pod", "restarts", SOON, |pod| {
        first_container(pod)["restartCount"] == 1 && is_ready(pod)
    })?;
    has(
        &container_cgroup(&object, &pod)?,
        "memory.max",
        &mebibytes(48),
    )
}

fn memory_pressure(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let summary = cluster.ask(&["get", "--raw", "/api/v1/nodes/node/proxy/stats/summary"])?;
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let available = summary["node"]["memory"]["availableBytes"]
        .as_u64()
        .ok_or_else(|| summary["node"].to_string())?;
    let threshold = available / MEBIBYTE - GREED * 2 / 3;
    cluster.kubelet().kill();
    cluster.start_kubelet(&json!({
        "evictionHard": { "memory.available": format!("{threshold}Mi") },
        "evictionPressureTransitionPeriod": "5s",
    }));
    // Memory that stays in use: a file of its own in memory.
    let script = format!(
        "mount -t tmpfs m /mnt; head -c {} /dev/zero >/mnt/file; sleep 100000",
        GREED * MEBIBYTE
    );
    let fields = json!({ "main": { "securityContext": { "privileged": true } } });
    cluster.try_apply(&server(
        "greedy",
        &format!("mkdir -p /mnt; {script}"),
        &fields,
    ))?;
    becomes(cluster, "MemoryPressure", "True", &[])?;
    let pod = cluster.wait("pod", "greedy", SOON, |pod| {
        pod["status"]["phase"] == "Failed"
    })?;
    let status = &pod["status"];
    let message = status["message"].as_str().unwrap_or_default();
    expect(
        status["reason"] == "Evicted" && message.contains("low on resource: memory"),
        status,
    )?;
    becomes(cluster, "MemoryPressure", "False", &[])?;
    let other = cluster.get("pod", "grows").unwrap_or_default();
    expect(is_ready(&other), &other["status"])
}
