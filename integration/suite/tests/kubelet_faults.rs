//! What goes wrong on a node with a kubelet: whoever dies, pods keep running or come back exactly once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use carpel_integration::kubelet::{Kubelet, full_name};
use carpel_integration::node::Node;
use carpel_integration::request::BUSYBOX;
use carpel_integration::wait::{try_for, wait_for};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(90);

/// For what must not happen: the kubelet looks at each pod several times meanwhile.
const A_WHILE: Duration = Duration::from_secs(15);

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "labels": { "app": name } },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            // Mounted by one kubelet, unmounted by the next.
            "volumes": [{ "name": "v", "emptyDir": { "medium": "Memory" } }],
            "containers": [
                {
                    "name": "one", "image": BUSYBOX, "command": ["sleep", "100000"],
                    "volumeMounts": [{ "name": "v", "mountPath": "/v" }],
                },
                { "name": "two", "image": BUSYBOX, "command": ["sleep", "100000"] },
            ],
        },
    })
}

fn apply_all(kubelet: &Kubelet<'_>) {
    for name in NAMES {
        kubelet.apply(&pod(name));
    }
    for name in NAMES {
        kubelet.wait_for_pod(name, SOON, is_running);
    }
}

fn is_running(pod: &Value) -> bool {
    let containers = pod["status"]["containerStatuses"].as_array();
    containers.is_some_and(|containers| {
        containers.len() == 2
            && containers
                .iter()
                .all(|container| container["state"]["running"].is_object())
    })
}

/// The containers of each pod that run, by the runtime's own word.
fn running(node: &Node) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let list = node.ask_json(&["ps", "--output", "json"]);
    for container in list["containers"].as_array().unwrap() {
        let pod = &container["labels"]["io.kubernetes.pod.name"];
        let ids = found.entry(pod.as_str().unwrap().to_owned()).or_default();
        ids.push(container["id"].as_str().unwrap().to_owned());
        ids.sort();
    }
    found
}

/// Two containers of each pod, and one sandbox.
fn is_whole(node: &Node) -> bool {
    let containers = running(node);
    let sandboxes = node.ask(&["pods", "--quiet", "--state", "ready"]);
    sandboxes.lines().count() == NAMES.len()
        && NAMES.iter().all(|name| {
            let containers = containers.get(&full_name(name));
            containers.is_some_and(|containers| containers.len() == 2)
        })
}

/// Watches for a while that nothing is made again.
fn assert_unchanged(node: &Node, before: &BTreeMap<String, Vec<String>>, what: &str) {
    let mut last = BTreeMap::new();
    let changed = try_for(A_WHILE, || {
        last = running(node);
        (last != *before).then_some(())
    });
    assert!(changed.is_none(), "{what}: {last:?}, not {before:?}");
}

#[test]
fn root_pods_survive_the_end_of_kubelet_and_runtime() {
    let Some(node) = Node::start() else { return };
    let Some(kubelet) = Kubelet::start(&node, false) else {
        return;
    };
    apply_all(&kubelet);
    let before = running(&node);
    assert_unchanged(&node, &before, "nothing happens");

    kubelet.kill();
    kubelet.start_again();
    assert_unchanged(&node, &before, "the kubelet was killed");

    node.kill_daemon();
    node.start_daemon();
    assert_unchanged(&node, &before, "the runtime was killed");

    for _ in 0..3 {
        kubelet.kill();
        node.kill_daemon();
        node.start_daemon();
        kubelet.start_again();
    }
    assert_unchanged(&node, &before, "both were killed");
    for name in NAMES {
        let pod = kubelet.wait_for_pod(name, SOON, is_running);
        let containers = pod["status"]["containerStatuses"].as_array().unwrap();
        assert!(
            containers
                .iter()
                .all(|container| container["restartCount"] == 0),
            "{pod}"
        );
    }
    kubelet.remove_all();
    drop(kubelet);
    node.finish();
}

#[test]
fn root_pods_are_there_once_though_kubelet_and_runtime_die_while_they_are_made() {
    let Some(node) = Node::start() else { return };
    let Some(kubelet) = Kubelet::start(&node, false) else {
        return;
    };
    // A pod takes some 50 ms: the deaths come earlier and later in it.
    for round in 0..6_u32 {
        for name in NAMES {
            kubelet.apply(&pod(name));
        }
        let moment = Duration::from_millis(u64::from(round) * 15);
        let after = try_for(moment, || None::<()>);
        assert!(after.is_none());
        if round % 2 == 0 {
            node.kill_daemon();
            kubelet.kill();
            node.start_daemon();
            kubelet.start_again();
        } else {
            node.kill_daemon();
            node.start_daemon();
        }
        wait_for("each pod exactly once", SOON, || {
            is_whole(&node).then_some(())
        });
        for name in NAMES {
            kubelet.remove(name);
        }
        wait_for("the end of the pods", SOON, || {
            node.has_no_ready_pod().then_some(())
        });
    }
    kubelet.remove_all();
    drop(kubelet);
    node.finish();
}

#[test]
fn root_after_a_reboot_each_pod_comes_back_once() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let Some(kubelet) = Kubelet::start(&node, false) else {
        return;
    };
    apply_all(&kubelet);
    let before = running(&node);
    node.reboot();
    node.start_daemon();
    kubelet.start_again();
    wait_for("each pod exactly once", SOON, || {
        is_whole(&node).then_some(())
    });
    let after = running(&node);
    for (pod, containers) in &before {
        assert!(
            after[pod].iter().all(|id| !containers.contains(id)),
            "{after:?}"
        );
    }
    assert_unchanged(&node, &after, "the node was rebooted");
    kubelet.remove_all();
    drop(kubelet);
    node.undo_boot_id();
    node.finish();
}

#[test]
fn root_without_cni_pods_go_on_and_new_ones_wait_for_it() {
    let Some(node) = Node::start_carpel_with(&[("NODE_NETWORK", "cni")]) else {
        return;
    };
    let Some(kubelet) = Kubelet::start(&node, false) else {
        return;
    };
    kubelet.apply(&pod("alpha"));
    kubelet.wait_for_pod("alpha", SOON, is_running);
    let before = running(&node);
    let configuration = node.work.join("cni/10-node.conflist");
    let away = node.work.join("conflist");
    std::fs::rename(&configuration, &away).unwrap();
    wait_for("a network that is not ready", SOON, || {
        let status = node.ask(&["info"]);
        status.contains("NetworkPluginNotReady").then_some(())
    });
    kubelet.apply(&pod("beta"));
    let mut host = pod("gamma");
    host["spec"]["hostNetwork"] = json!(true);
    kubelet.apply(&host);
    // Only what needs the network waits for it.
    kubelet.wait_for_pod("gamma", SOON, is_running);
    assert!(!running(&node).contains_key(&full_name("beta")));
    assert_eq!(
        running(&node)[&full_name("alpha")],
        before[&full_name("alpha")]
    );
    std::fs::rename(&away, &configuration).unwrap();
    kubelet.wait_for_pod("beta", SOON, is_running);
    kubelet.remove_all();
    drop(kubelet);
    node.finish();
}

#[test]
fn root_without_a_registry_pods_with_their_images_start() {
    let Some(node) = Node::start() else { return };
    let Some(kubelet) = Kubelet::start(&node, false) else {
        return;
    };
    kubelet.apply(&pod("alpha"));
    kubelet.wait_for_pod("alpha", SOON, is_running);
    let registry = node.processes().into_iter();
    let (registry, _) = registry
        .into_iter()
        .find(|(_, name)| name == "testimages")
        .unwrap();
    node.signal("STOP", registry);
    kubelet.apply(&pod("beta"));
    let mut other = pod("gamma");
    other["spec"]["containers"][0]["image"] = json!("registry.k8s.io/pause:3.9");
    // It has nothing but its own program.
    other["spec"]["containers"][0]["command"] = Value::Null;
    kubelet.apply(&other);
    kubelet.wait_for_pod("beta", SOON, is_running);
    assert!(!running(&node).contains_key(&full_name("gamma")));
    node.signal("CONT", registry);
    kubelet.wait_for_pod("gamma", SOON, |pod| {
        pod["status"]["containerStatuses"][0]["image"] == "registry.k8s.io/pause:3.9"
            && pod["status"]["containerStatuses"][0]["imageID"]
                .as_str()
                .is_some_and(|id| !id.is_empty())
    });
    kubelet.remove_all();
    drop(kubelet);
    node.finish();
}
