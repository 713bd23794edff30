//! `runtimeClassName` of a pod of the agent is the name of a runtime handler; one that nobody has configured is said.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and why it cannot run by a line that `make test` counts"
)]

use std::path::Path;
use std::time::Duration;

use carpel_integration::agent::Agent;
use carpel_integration::node::Node;
use carpel_integration::request::BUSYBOX;
use carpel_integration::wait::wait_for;
use serde_json::{Value, json};

const CRUN: &str = "/usr/bin/crun";

fn pod(name: &str, class: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "runtimeClassName": class,
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main", "image": BUSYBOX, "command": ["sh", "-c", "echo begun; sleep 1000"],
                "readinessProbe": { "exec": { "command": ["true"] }, "periodSeconds": 1 },
            }],
        },
    })
}

#[test]
fn root_a_runtime_class_is_a_handler_of_the_runtime() {
    if !Path::new(CRUN).exists() {
        println!("SKIP {CRUN} is missing: run make test");
        return;
    }
    let handler = format!("\n[runtime.handlers.crun]\ntype = \"oci\"\npath = \"{CRUN}\"\n");
    let Some(node) = Node::start_carpel_with(&[("NODE_CONFIG_EXTRA", &handler)]) else {
        return;
    };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    agent.apply(&pod("by-crun", "crun").to_string());
    agent.apply(&pod("by-nobody", "gvisor").to_string());
    agent.wait_until_ready("by-crun");
    let id = node.ask(&["pods", "--name", "by-crun", "--quiet"]);
    let status = node.ask_json(&["inspectp", &id]);
    assert_eq!(status["status"]["runtimeHandler"], "crun");
    assert_eq!(agent.ask(&["logs", "by-crun"]), "begun\n");

    wait_for("the reason", Duration::from_secs(30), || {
        let said = agent.ask(&["describe", "pod", "by-nobody"]);
        let is_said = said.contains("FailedCreatePodSandBox") && said.contains("gvisor");
        is_said.then_some(())
    });
    let waiting = agent.pod("by-nobody").unwrap();
    assert_eq!(waiting["status"]["phase"], "Pending");
    agent.delete("by-crun");
    agent.delete("by-nobody");
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}
