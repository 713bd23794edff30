//! Limits under a real kubelet, where cgroup v2 has the controllers for them: in the cgroup v2 machine (`make uml`), or on a
//! host with cgroup v2 alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and what it skips by printing"
)]

use std::path::PathBuf;
use std::time::Duration;

use carpel_integration::kubelet::Kubelet;
use carpel_integration::node::Node;
use carpel_integration::request::BUSYBOX;
use carpel_integration::table::{Table, Verdict, expect};
use carpel_integration::wait::try_for;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(90);

const MEBIBYTE: u64 = 1 << 20;

#[test]
fn root_a_kubelet_limits_pods_by_their_quality_of_service() {
    let Some(node) = Node::start() else { return };
    let controllers = std::fs::read_to_string(node.cgroup2.join("cgroup.controllers")).unwrap();
    if !["cpu", "memory", "pids"]
        .iter()
        .all(|name| controllers.contains(name))
    {
        println!("SKIP cgroup v2 has only {controllers:?} here: make uml");
        return;
    }
    let Some(kubelet) = Kubelet::start(&node, false) else {
        return;
    };
    for (name, script, resources, restart) in PODS {
        kubelet.apply(&pod(
            name,
            script,
            &serde_json::from_str(resources).unwrap(),
            restart,
        ));
    }
    let mut table = Table::default();
    for (what, look) in ROWS {
        table.row(what, look(&node, &kubelet));
    }
    table.finish();
    kubelet.remove_all();
    assert_no_pod_has_a_cgroup(&node);
    drop(kubelet);
}

const PODS: [(&str, &str, &str, &str); 5] = [
    (
        "guaranteed",
        "sleep 1000",
        r#"{ "limits": { "cpu": "250m", "memory": "64Mi" } }"#,
        "Always",
    ),
    (
        "burstable",
        "sleep 1000",
        r#"{ "requests": { "cpu": "100m", "memory": "16Mi" }, "limits": { "memory": "32Mi" } }"#,
        "Always",
    ),
    ("effort", "sleep 1000", "{}", "Always"),
    (
        "hungry",
        "head -c 100000000 /dev/zero | tail -c 90000000 >/dev/null; sleep 1000",
        r#"{ "limits": { "memory": "24Mi" } }"#,
        "Never",
    ),
    (
        "many",
        "mkfifo /wait; sh -c 'i=0; while [ $i -lt 300 ]; do sleep 1000 & i=$((i + 1)); done'; read line </wait",
        "{}",
        "Never",
    ),
];

type Look = fn(&Node, &Kubelet<'_>) -> Verdict;

const ROWS: [(&str, Look); 5] = [
    (
        "a guaranteed pod has its limits, as a pod and as a container",
        guaranteed,
    ),
    ("a burstable pod is below kubepods/burstable", burstable),
    (
        "a pod without requests is below kubepods/besteffort",
        effort,
    ),
    ("a container beyond its memory is OOMKilled", out_of_memory),
    (
        "a pod has no more processes than podPidsLimit",
        process_limit,
    ),
];

fn pod(name: &str, script: &str, resources: &Value, restart: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "restartPolicy": restart,
            "containers": [{
                "name": "main",
                "image": BUSYBOX,
                "command": ["sh", "-c", script],
                "resources": resources,
            }],
        },
    })
}

/// The pod's cgroup, once it runs, below that of its class.
fn cgroup(node: &Node, kubelet: &Kubelet<'_>, name: &str, class: &str) -> Result<PathBuf, String> {
    let pod = kubelet.wait_for_pod(name, SOON, |pod| pod["status"]["phase"] == "Running");
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let path = node
        .path_inside(node.cgroup2.to_str().unwrap())
        .join(format!("kubepods{class}/pod{uid}"));
    expect(path.is_dir(), format!("no {}", path.display()))?;
    Ok(path)
}

/// The values of a file in a cgroup and in those of the containers in it.
fn values(cgroup: &std::path::Path, file: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![cgroup.to_owned()];
    while let Some(folder) = folders.pop() {
        let value = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        found.push(value.trim().to_owned());
        let below = std::fs::read_dir(&folder).unwrap().flatten();
        folders.extend(below.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    found
}

fn guaranteed(node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    let cgroup = cgroup(node, kubelet, "guaranteed", "")?;
    for (file, value) in [
        ("memory.max", (64 * MEBIBYTE).to_string()),
        ("cpu.max", "25000 100000".to_owned()),
    ] {
        let values = values(&cgroup, file);
        let count = values.iter().filter(|found| **found == value).count();
        expect(count == 2, format!("{file}: {values:?}"))?;
    }
    Ok(())
}

fn burstable(node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    let cgroup = cgroup(node, kubelet, "burstable", "/burstable")?;
    let values = values(&cgroup, "memory.max");
    let limit = (32 * MEBIBYTE).to_string();
    expect(values.contains(&limit), format!("{values:?}"))
}

fn effort(node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    let cgroup = cgroup(node, kubelet, "effort", "/besteffort")?;
    let limits = values(&cgroup, "memory.max");
    expect(
        limits.iter().all(|limit| limit == "max"),
        format!("{limits:?}"),
    )?;
    // The least weight that there is.
    let weights = values(&cgroup, "cpu.weight");
    expect(weights.contains(&"1".to_owned()), format!("{weights:?}"))
}

fn out_of_memory(_node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    // `tail` is killed, or with memory.oom.group its shell too: the kubelet asks for the group.
    let pod = kubelet.wait_for_pod("hungry", SOON, |pod| pod["status"]["phase"] == "Failed");
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    expect(
        ended["reason"] == "OOMKilled" && ended["exitCode"] == 137,
        ended,
    )
}

fn process_limit(node: &Node, kubelet: &Kubelet<'_>) -> Verdict {
    let cgroup = cgroup(node, kubelet, "many", "/besteffort")?;
    let full = try_for(SOON, || {
        let current = std::fs::read_to_string(cgroup.join("pids.current")).unwrap();
        // A fork that was refused ended the shell that wanted it.
        (["199", "200"].contains(&current.trim())).then_some(())
    });
    let limit = std::fs::read_to_string(cgroup.join("pids.max")).unwrap();
    expect(full.is_some() && limit.trim() == "200", limit)
}

/// The pods' cgroups went with them.
fn assert_no_pod_has_a_cgroup(node: &Node) {
    let root = node
        .path_inside(node.cgroup2.to_str().unwrap())
        .join("kubepods");
    let mut left = Vec::new();
    let empty = try_for(SOON, || {
        left = cgroups_of_pods(&root);
        left.is_empty().then_some(())
    });
    assert!(empty.is_some(), "{left:?}");
}

fn cgroups_of_pods(root: &std::path::Path) -> Vec<PathBuf> {
    let classes = ["", "burstable", "besteffort"].map(|class| root.join(class));
    let entries = classes
        .iter()
        .flat_map(|class| std::fs::read_dir(class).into_iter().flatten());
    let folders = entries.flatten().map(|entry| entry.path());
    folders
        .filter(|path| {
            path.is_dir()
                && path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("pod"))
        })
        .collect()
}
