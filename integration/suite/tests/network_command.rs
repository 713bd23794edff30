//! `carpel network`: what it shows, what it refuses, and that a reset leaves no trace. And a host port that is taken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::process::Output;
use std::time::Duration;

use carpel_integration::node::Node;
use carpel_integration::request::pod;
use carpel_integration::wait::wait_for;
use serde_json::{Value, json};

fn carpel(node: &Node, arguments: &[&str]) -> Output {
    node.command(node.variable("NODE_CARPEL"))
        .args(arguments)
        .arg("--config")
        .arg(node.work.join("config.toml"))
        .output()
        .unwrap()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn links(node: &Node) -> String {
    let output = node.command("ip").args(["-o", "link"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn with_port(name: &str) -> Value {
    let mut request = pod(name);
    request["port_mappings"] = json!([{ "container_port": 80, "host_port": 8080 }]);
    request
}

#[test]
fn root_a_host_port_has_one_pod_and_a_reset_leaves_nothing() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let web = node.run_pod(with_port("web"));
    let second = node.write_request(&with_port("second"));
    node.is_refused(
        &["runp", &second],
        &["FailedPrecondition"],
        &["TCP 8080", "web", &web.0],
    );
    let mut in_host_network = with_port("third");
    in_host_network["linux"]["security_context"]["namespace_options"]["network"] = json!(2);
    let third = node.write_request(&in_host_network);
    node.is_refused(&["runp", &third], &["FailedPrecondition"], &["web", &web.0]);

    let output = carpel(&node, &["network", "status", "--output", "json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["bridge_present"], true);
    assert_eq!(shown["pods"][0]["name"], "web");
    assert_eq!(shown["pods"][0]["host_ports"][0], "tcp/8080->80");
    let table = carpel(&node, &["network", "status"]).stdout;
    let table = String::from_utf8(table).unwrap();
    assert!(table.contains("tcp/8080->80"), "{table}");

    // A stopped pod has no ports, before it is removed.
    node.tell(&["stopp", &web.0]);
    let second = node.ask(&["runp", &second]);
    node.tell(&["rmp", &web.0]);

    let said = refused(&carpel(&node, &["network", "reset"]));
    assert!(said.contains("is locked: another carpel serves"), "{said}");
    node.kill_daemon();
    // Its lock goes with its last thread, a moment after its first.
    let said = wait_for(
        "the lock of the dead daemon",
        Duration::from_secs(10),
        || {
            let said = refused(&carpel(&node, &["network", "reset"]));
            (!said.contains("is locked")).then_some(said)
        },
    );
    assert!(said.contains("pod default/second"), "{said}");
    let output = carpel(&node, &["network", "reset", "--force"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("removed the bridge carpel0"), "{said}");
    assert!(!links(&node).contains("carpel"), "{}", links(&node));
    let output = carpel(&node, &["network", "reset"]);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "there was nothing to remove\n"
    );
    // The next start makes it all again, and the pod that lost its network can be removed.
    node.start_daemon();
    node.tell(&["stopp", &second]);
    node.tell(&["rmp", &second]);
    let next = node.run_pod(with_port("next"));
    node.remove_pod(&next);
    node.finish();
}
