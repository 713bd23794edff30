//! The command line of manifests, in the words of kubectl: selectors, formats, dry runs, differences, the node.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use carpel_integration::agent::Agent;
use carpel_integration::node::Node;
use carpel_integration::registry::write as write_file;
use carpel_integration::request::BUSYBOX;
use serde_json::{Value, json};

/// A pod that sleeps, of a tier.
fn pod(name: &str, tier: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": "shop", "tier": tier } },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "main", "image": BUSYBOX, "command": ["sleep", "1000"] }],
        },
    })
}

/// The lines of an answer, in order.
fn sorted(answer: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = answer.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn root_objects_are_found_and_shown_as_kubectl_does() {
    let Some(node) = Node::start() else { return };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    for (name, tier) in [("web", "front"), ("proxy", "front"), ("base", "back")] {
        agent.apply(&pod(name, tier).to_string());
    }
    for name in ["web", "proxy", "base"] {
        agent.wait_until_ready(name);
    }

    let front = ["pod/proxy", "pod/web"];
    for selector in ["tier=front", "tier in (front),app", "tier!=back"] {
        let said = agent.ask(&["get", "pods", "-l", selector, "-o", "name"]);
        assert_eq!(sorted(&said), front, "{selector}");
    }
    let phase = "--field-selector=status.phase=Running";
    let said = agent.ask(&["get", "pods", phase, "-o", "name"]);
    assert_eq!(said.lines().count(), 3, "{said}");
    let failed = "--field-selector=status.phase=Failed";
    assert_eq!(agent.ask(&["get", "pods", failed, "-o", "name"]), "");

    let template =
        r#"jsonpath={range .items[*]}{.metadata.name}={.spec.containers[0].image}{"\n"}{end}"#;
    let said = agent.ask(&["get", "pods", "-l", "tier=back", "-o", template]);
    assert_eq!(said, format!("base={BUSYBOX}\n"));
    let columns = "custom-columns=NAME:.metadata.name,TIER:.metadata.labels.tier";
    let said = agent.ask(&["get", "pod", "base", "-o", columns]);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words, ["NAME", "TIER", "base", "back"]);

    let said = agent.ask(&["get", "nodes", "-o", "json"]);
    let nodes: Value = serde_json::from_str(&said).unwrap();
    let runtime = &nodes["items"][0]["status"]["nodeInfo"]["containerRuntimeVersion"];
    assert!(runtime.as_str().unwrap().contains("://"), "{runtime}");
    assert!(
        agent
            .ask(&["describe", "node"])
            .contains("Container Runtime Version")
    );

    let bad = agent.run(&["get", "pods", "-l", "tier in front"]);
    assert!(!bad.status.success());
    let said = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(said.contains("tier in front"), "{said}");

    agent.tell(&["delete", "pods", "-l", "app=shop"]);
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}

#[test]
fn root_what_would_change_is_told_without_a_change() {
    let Some(node) = Node::start() else { return };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    let manifest = node.work.join("pod.json");
    let file = manifest.to_str().unwrap();
    let write = |tier: &str| write_file(&manifest, &pod("web", tier).to_string());
    write("front");

    let said = agent.ask(&["apply", "-f", file, "--dry-run=server"]);
    assert_eq!(said, "pod/web created (server dry run)\n");
    assert!(agent.pod("web").is_none());
    assert_eq!(agent.ask(&["apply", "-f", file]), "pod/web created\n");
    agent.wait_until_ready("web");
    let same = agent.run(&["diff", "-f", file]);
    assert!(same.status.success() && same.stdout.is_empty());
    write("back");
    let other = agent.run(&["diff", "-f", file]);
    assert_eq!(other.status.code(), Some(1));
    let said = String::from_utf8_lossy(&other.stdout).into_owned();
    assert!(
        said.lines()
            .any(|line| line.starts_with('-') && line.contains("front"))
            && said
                .lines()
                .any(|line| line.starts_with('+') && line.contains("back")),
        "{said}"
    );
    let tier = "jsonpath={.metadata.labels.tier}";
    assert_eq!(agent.ask(&["get", "pod", "web", "-o", tier]), "front");

    agent.tell(&["wait", "pod/web", "--for=jsonpath={.status.phase}=Running"]);
    // The manifest's own namespace is none: it goes where it is told.
    let said = agent.ask(&["apply", "-n", "other", "-f", file]);
    assert_eq!(said, "pod/web created\n");
    let both = agent.ask(&[
        "get",
        "pods",
        "-A",
        "-o",
        "jsonpath={.items[*].metadata.namespace}",
    ]);
    let mut both: Vec<&str> = both.split_whitespace().collect();
    both.sort_unstable();
    assert_eq!(both, ["default", "other"]);
    agent.tell(&["delete", "pods", "--all", "-A"]);
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}
