//! Many pods with a network, ten at a time, with the daemon alive and with the daemon killed at random moments: in the end
//! no address, interface, rule, namespace and record is left.
//!
//! `CHURN_PODS` is how many; `make soak-network` asks for 500.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and prints what it measured"
)]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use carpel_integration::node::Node;
use carpel_integration::request::pod;
use carpel_integration::wait::{try_for, wait_for};
use serde_json::{Value, json};

const WORKERS: usize = 10;
/// How long a call may take while the daemon is dead for a moment.
const PATIENCE: Duration = Duration::from_secs(60);

fn pods() -> usize {
    let asked = std::env::var("CHURN_PODS").ok();
    asked.map_or(30, |text| text.parse().expect("CHURN_PODS is a number"))
}

/// A pod's request; every third has host ports of its own.
fn request(number: usize) -> Value {
    let mut request = pod(&format!("churn-{number}"));
    if number.is_multiple_of(3) {
        request["port_mappings"] = json!([
            { "protocol": 0, "container_port": 80, "host_port": 20_000 + number },
            { "protocol": 1, "container_port": 53, "host_port": 20_000 + number, "host_ip": "127.0.0.1" },
        ]);
    }
    request
}

/// Runs a command of crictl until it works.
fn insist(node: &Node, arguments: &[&str]) -> String {
    let mut said = String::new();
    let answer = try_for(PATIENCE, || {
        let output = node.crictl(arguments);
        if output.status.success() {
            let text = String::from_utf8(output.stdout).unwrap();
            return Some(text.trim_end().to_owned());
        }
        said = String::from_utf8_lossy(&output.stderr).into_owned();
        None
    });
    answer.unwrap_or_else(|| panic!("crictl {}: {said}", arguments.join(" ")))
}

/// Removes a pod; one that is gone, because the answer to an earlier try was lost, is removed.
fn remove(node: &Node, id: &str) {
    let mut said = String::new();
    let removed = try_for(PATIENCE, || {
        let output = node.crictl(&["rmp", id]);
        said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success() || said.contains("NotFound")).then_some(())
    });
    assert!(removed.is_some(), "crictl rmp {id}: {said}");
}

/// Runs and removes pods by ten workers.
fn churn(node: &Node, count: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let file = node.write_request(&request(number));
                    let id = insist(node, &["runp", &file]);
                    insist(node, &["stopp", &id]);
                    remove(node, &id);
                    std::fs::remove_file(file).unwrap();
                }
            });
        }
    });
}

/// What `carpel network status` tells.
fn network(node: &Node) -> Value {
    let carpel = node.variable("NODE_CARPEL");
    let config = node.work.join("config.toml");
    let output = node
        .command(carpel)
        .args(["network", "status", "--output", "json", "--config"])
        .arg(config)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "carpel network status: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Interfaces on the node whose names are those of pods.
fn interfaces(node: &Node) -> usize {
    let output = node
        .command("ip")
        .args(["-o", "link", "show", "type", "veth"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().lines().count()
}

/// Elements of the maps of host ports; `None` without nft.
fn redirections(node: &Node) -> Option<usize> {
    let output = node
        .command("nft")
        .args(["list", "table", "inet", "carpel"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.matches("elements = {").count())
}

fn assert_nothing_is_left(node: &Node) {
    assert_eq!(node.ask(&["pods", "--quiet"]), "");
    let mut last = Value::Null;
    let clear = try_for(Duration::from_secs(15), || {
        last = network(node);
        let prepared = last["prepared"].as_u64().unwrap();
        let pods = last["pods"].as_array().unwrap().len();
        let links = u64::try_from(interfaces(node)).unwrap();
        (pods == 0 && prepared <= 2 && links == prepared).then_some(())
    });
    assert!(clear.is_some(), "{} interfaces, {last:#}", interfaces(node));
    match redirections(node) {
        Some(count) => assert_eq!(count, 0, "host ports are left"),
        None => println!("SKIP the maps of host ports: no nft"),
    }
    let namespaces = std::fs::read_dir(node.path_inside("/run/netns"));
    assert_eq!(namespaces.map_or(0, Iterator::count), 0);
}

#[test]
fn root_many_pods_leave_nothing_of_their_networks() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let count = pods();
    let started = Instant::now();
    churn(&node, count);
    println!("{count} pods up and down in {:?}", started.elapsed());
    assert_nothing_is_left(&node);
    node.finish();
}

#[test]
fn root_many_pods_leave_nothing_though_the_daemon_is_killed_now_and_then() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let count = pods();
    let done = AtomicBool::new(false);
    let kills = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // Random moments, of a run that is printed if it fails.
                let moment =
                    Duration::from_millis(50 + RandomState::new().build_hasher().finish() % 700);
                let until = Instant::now() + moment;
                wait_for("a moment", Duration::from_secs(5), || {
                    (Instant::now() >= until).then_some(())
                });
                node.kill_daemon();
                node.start_daemon();
                kills.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Also when a worker panics, the killer must end.
        let churned =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| churn(&node, count)));
        done.store(true, Ordering::Relaxed);
        killer.join().unwrap();
        if let Err(panic) = churned {
            std::panic::resume_unwind(panic);
        }
    });
    println!(
        "{count} pods, the daemon killed {} times",
        kills.load(Ordering::Relaxed)
    );
    // A pod whose RunPodSandbox was answered by nobody has been asked for again, so none is forgotten.
    assert_nothing_is_left(&node);
    node.finish();
}
