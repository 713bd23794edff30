//! `carpel describe node`: this machine, and what its pods ask for.

use serde_json::Value;

use super::age;
use super::api::{list, text};
use super::describe::Lines;
use crate::cli::table;

/// What there is to say of it.
pub(super) fn text_of(node: &Value, pods: &[Value]) -> String {
    let mut lines = Lines(String::new());
    lines.line("Name", text(node, "/metadata/name"));
    lines.line("Roles", "<none>");
    lines.map("Labels", &node["metadata"]["labels"]);
    lines.line(
        "CreationTimestamp",
        text(node, "/metadata/creationTimestamp"),
    );
    lines.raw("Conditions:\n");
    let of = |value: &Value, pointer: &str| text(value, pointer).to_owned();
    let rows: Vec<[String; 4]> = list(node, "/status/conditions")
        .iter()
        .map(|it| {
            [
                of(it, "/type"),
                of(it, "/status"),
                of(it, "/reason"),
                of(it, "/message"),
            ]
        })
        .collect();
    indented(
        &mut lines,
        &table::lines(["Type", "Status", "Reason", "Message"], &rows),
    );
    lines.raw("Addresses:\n");
    for address in list(node, "/status/addresses") {
        let kind = format!("{}:", text(address, "/type"));
        lines.raw(&format!("  {kind:<12}{}\n", text(address, "/address")));
    }
    for (title, field) in [("Capacity", "capacity"), ("Allocatable", "allocatable")] {
        lines.raw(&format!("{title}:\n"));
        for (name, amount) in node["status"][field].as_object().into_iter().flatten() {
            let name = format!("{name}:");
            lines.raw(&format!(
                "  {name:<12}{}\n",
                amount.as_str().unwrap_or_default()
            ));
        }
    }
    lines.raw("System Info:\n");
    for (name, pointer) in [
        ("Kernel Version", "/status/nodeInfo/kernelVersion"),
        ("OS Image", "/status/nodeInfo/osImage"),
        ("Operating System", "/status/nodeInfo/operatingSystem"),
        ("Architecture", "/status/nodeInfo/architecture"),
        (
            "Container Runtime Version",
            "/status/nodeInfo/containerRuntimeVersion",
        ),
        ("Kubelet Version", "/status/nodeInfo/kubeletVersion"),
    ] {
        let name = format!("{name}:");
        lines.raw(&format!("  {name:<28}{}\n", text(node, pointer)));
    }
    running(&mut lines, node, pods);
    lines.0
}

fn indented(lines: &mut Lines, table: &[String]) {
    for line in table {
        lines.raw(&format!("  {line}\n"));
    }
}

fn running(lines: &mut Lines, node: &Value, pods: &[Value]) {
    let is_over = |pod: &&Value| matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    let is_here = |pod: &&Value| pod["spec"]["nodeName"] == node["metadata"]["name"];
    let here: Vec<&Value> = pods
        .iter()
        .filter(is_here)
        .filter(|it| !is_over(it))
        .collect();
    lines.raw(&format!("Non-terminated Pods: ({} in total)\n", here.len()));
    let rows: Vec<[String; 7]> = here
        .into_iter()
        .map(|pod| {
            [
                text(pod, "/metadata/namespace").to_owned(),
                text(pod, "/metadata/name").to_owned(),
                amounts(pod, "requests", "cpu"),
                amounts(pod, "limits", "cpu"),
                amounts(pod, "requests", "memory"),
                amounts(pod, "limits", "memory"),
                age::of(pod),
            ]
        })
        .collect();
    let head = [
        "Namespace",
        "Name",
        "CPU Requests",
        "CPU Limits",
        "Memory Requests",
        "Memory Limits",
        "Age",
    ];
    indented(lines, &table::lines(head, &rows));
}

/// Of its containers, as the manifest writes them; `0` where none says anything.
fn amounts(pod: &Value, kind: &str, name: &str) -> String {
    let all: Vec<&str> = list(pod, "/spec/containers")
        .iter()
        .filter_map(|container| container["resources"][kind][name].as_str())
        .collect();
    match all.is_empty() {
        true => "0".to_owned(),
        false => all.join("+"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_says_what_its_pods_ask_for() {
        let node = json!({
            "metadata": { "name": "this", "labels": { "a": "b" } },
            "status": { "capacity": { "cpu": "2" }, "addresses": [{ "type": "InternalIP", "address": "192.0.2.1" }],
                "conditions": [{ "type": "Ready", "status": "True", "reason": "AgentReady" }] },
        });
        let pod = |name: &str, phase: &str| {
            json!({ "metadata": { "name": name, "namespace": "default" },
                "spec": { "nodeName": "this", "containers": [{ "resources": { "requests": { "cpu": "100m" } } }] },
                "status": { "phase": phase } })
        };
        let said = text_of(&node, &[pod("web", "Running"), pod("done", "Succeeded")]);
        for wanted in [
            "a=b",
            "InternalIP: 192.0.2.1",
            "(1 in total)",
            "web   100m",
            "Ready  True    AgentReady",
        ] {
            assert!(said.contains(wanted), "{wanted} in\n{said}");
        }
        assert!(!said.contains("done"), "{said}");
    }
}
