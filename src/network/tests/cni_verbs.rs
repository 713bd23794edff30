//! CNI with a plugin that fails, hangs, prints garbage or dies at each verb: what is told, what goes on, what is left.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::{Network, PodRequest};
use super::cni::{cni_pod, remove_cni};
use super::cni_plugin::{eventually, message};
use super::{Node, on_a_node};

/// Each way to fail, and what an error says of it.
const FAULTS: [(&str, &str); 4] = [
    ("fail", "made to fail (code 100): by the test"),
    ("hang", "killed: not done after 0.7"),
    ("garbage", "its answer \"no JSON\\n\" is not JSON"),
    ("die", "signal: 9 (SIGKILL)"),
];

/// Nothing of a pod, no process of a plugin, no descriptor of a record or a namespace.
async fn assert_nothing_left(node: &Node, how: &str) {
    let counts = node.cni_counts();
    assert_eq!(
        (counts["CNI records"], counts["namespaces"]),
        (0, 0),
        "{how}"
    );
    eventually("no process is left", || node.plugins_left().is_empty()).await;
    eventually("no descriptor is left", || open_files(node).is_empty()).await;
}

/// What this process has open below the node's directory: other tests have theirs.
fn open_files(node: &Node) -> Vec<PathBuf> {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let files = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    files
        .filter(|file| file.starts_with(node.directory.path()))
        .collect()
}

/// The network's warnings once one of them says this.
async fn until_warned(network: &Network, text: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let warnings = network.status().await.warnings.join("\n");
        if warnings.contains(text) {
            return warnings;
        }
        assert!(
            Instant::now() < deadline,
            "never warned of {text}: {warnings}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The network's message once it is ready, or is not.
async fn until_ready(network: &Network, ready: bool) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = network.status().await;
        if status.ready == ready {
            return status.message;
        }
        assert!(
            Instant::now() < deadline,
            "never ready = {ready}: {status:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn assert_told(text: &str, named: &str, expected: &str) {
    assert!(text.contains(named), "{named}: {text}");
    assert!(text.contains(expected), "{expected}: {text}");
}

#[test]
fn root_cni_an_add_that_fails_in_any_way_is_followed_by_a_del() {
    on_a_node(|node| async move {
        node.install();
        let network = node.start_impatient(&[]).await;
        for (how, expected) in FAULTS {
            node.act("ADD", how);
            node.calls();
            let namespace = network.create_namespace(how).await.unwrap();
            let error = network
                .attach_pod(how, &namespace, &PodRequest::default())
                .await
                .unwrap_err();
            let text = message(&error);
            assert!(text.starts_with(&node.named("ADD")), "{text}");
            assert_told(&text, "", expected);
            drop(namespace);
            remove_cni(&network, how).await;
            assert_eq!(node.calls(), [format!("ADD {how}"), format!("DEL {how}")]);
            assert_nothing_left(&node, how).await;
        }
    });
}

#[test]
fn root_cni_a_del_that_fails_in_any_way_is_tried_until_it_works() {
    on_a_node(|node| async move {
        node.install();
        let network = node.start_impatient(&[]).await;
        for (how, expected) in FAULTS {
            let (namespace, _) = cni_pod(&network, how, &PodRequest::default()).await;
            drop(namespace);
            node.act("DEL", how);
            network.detach(how).await.unwrap();
            network.remove_namespace(how).await.unwrap();
            let error = network.wait_detached(how).await.unwrap_err();
            assert_told(&message(&error), &node.named("DEL"), expected);
            // Not before DEL has worked.
            let counts = node.cni_counts();
            assert_eq!(
                (counts["CNI records"], counts["namespaces"]),
                (1, 1),
                "{how}"
            );
            node.act("DEL", "");
            network.detach(how).await.unwrap();
            network.wait_detached(how).await.unwrap();
            assert_nothing_left(&node, how).await;
        }
    });
}

#[test]
fn root_cni_a_check_that_fails_in_any_way_is_a_warning_and_the_pod_lives() {
    on_a_node(|node| async move {
        node.install();
        for (how, expected) in FAULTS {
            let network = node.start_impatient(&[]).await;
            drop(cni_pod(&network, how, &PodRequest::default()).await);
            drop(network);
            node.act("CHECK", how);
            let network = node.start_impatient(&[how]).await;
            let warnings = until_warned(&network, &node.named("CHECK")).await;
            assert_told(
                &warnings,
                &format!("the network of pod {how} is not"),
                expected,
            );
            assert!(network.status().await.ready);
            assert_eq!(node.cni_counts()["CNI records"], 1);
            remove_cni(&network, how).await;
            // Nobody has to know of it any longer.
            assert_eq!(network.status().await.warnings, Vec::<String>::new());
            assert!(node.calls().ends_with(&[format!("DEL {how}")]));
            assert_nothing_left(&node, how).await;
        }
    });
}

#[test]
fn root_cni_a_gc_that_fails_in_any_way_is_a_warning_and_holds_up_nobody() {
    on_a_node(|node| async move {
        node.install();
        // The second is told too, whatever the first one does.
        node.install_program("second");
        node.configure(
            "1.1.0",
            &json!([{ "type": "script" }, { "type": "second" }]),
        );
        for (how, expected) in FAULTS {
            let network = node.start_impatient(&[]).await;
            drop(cni_pod(&network, "dead", &PodRequest::default()).await);
            drop(network);
            node.act("GC", how);
            let told = node.directory.path().join("plugin/second/input-GC");
            fs::remove_file(&told).unwrap_or_default();
            let network = node.start_impatient(&[]).await;
            let warnings = until_warned(&network, &node.named("GC")).await;
            assert_told(
                &warnings,
                "does not free what is not used any more",
                expected,
            );
            assert!(told.exists());
            assert!(network.status().await.ready);
            network.wait_detached("dead").await.unwrap();
            drop(cni_pod(&network, "next", &PodRequest::default()).await);
            remove_cni(&network, "next").await;
            assert_nothing_left(&node, how).await;
            node.act("GC", "");
        }
    });
}

#[test]
fn root_cni_a_status_that_fails_in_any_way_is_told_until_it_works_again() {
    on_a_node(|node| async move {
        node.install();
        let network = node.start_impatient(&[]).await;
        for (how, expected) in FAULTS {
            node.act("STATUS", how);
            let text = until_ready(&network, false).await;
            assert!(text.starts_with(&node.named("STATUS")), "{text}");
            assert_told(&text, "", expected);
            // What STATUS says is for the kubelet to weigh: a pod that it sends is attached all the same.
            drop(cni_pod(&network, how, &PodRequest::default()).await);
            remove_cni(&network, how).await;
            node.act("STATUS", "");
            until_ready(&network, true).await;
            assert_nothing_left(&node, how).await;
        }
    });
}

#[test]
fn root_cni_a_version_that_fails_in_any_way_is_a_warning() {
    on_a_node(|node| async move {
        for (how, expected) in FAULTS {
            // Another program is asked anew.
            node.install();
            node.act("VERSION", how);
            let network = node.start_impatient(&[]).await;
            let status = network.status().await;
            // STATUS has a deadline of its own.
            assert!(status.ready, "{status:?}");
            let warnings = status.warnings.join("\n");
            assert_told(&warnings, &node.named("VERSION"), expected);
            drop(cni_pod(&network, how, &PodRequest::default()).await);
            remove_cni(&network, how).await;
            node.act("VERSION", "");
            // Replaced by one that works: no more warning.
            node.install();
            let status = network.status().await;
            assert_eq!((status.ready, status.warnings), (true, Vec::new()));
            assert_nothing_left(&node, how).await;
        }
    });
}
