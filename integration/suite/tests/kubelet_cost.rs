//! What idle pods under a kubelet cost: CPU of the runtime and its helpers beside the kubelet's own.
//! Read: COST_PODS (default 10) and COST_SECONDS (default 5).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and shows its figures by printing"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use carpel_integration::kubelet::Kubelet;
use carpel_integration::node::Node;
use carpel_integration::request::BUSYBOX;
use carpel_integration::wait::{try_for, wait_for};
use serde_json::json;

#[test]
fn root_idle_pods_cost_the_runtime_less_than_the_kubelet() {
    let Some(node) = Node::start() else { return };
    let pods = number("COST_PODS", 10);
    let seconds = number("COST_SECONDS", 5);
    for evented in [false, true] {
        let Some(kubelet) = Kubelet::start(&node, evented) else {
            return;
        };
        for number in 0..pods {
            kubelet.apply(&json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": { "name": format!("idle-{number}"), "namespace": "default" },
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{ "name": "main", "image": BUSYBOX, "command": ["sleep", "100000"] }],
                },
            }));
        }
        wait_for("all pods", Duration::from_secs(300), || {
            let running = node.ask(&["ps", "--quiet", "--state", "running"]);
            (running.lines().count() as u64 == pods).then_some(())
        });
        let before = spent(&node);
        let rest = try_for(Duration::from_secs(seconds), || None::<()>);
        assert!(rest.is_none());
        let after = spent(&node);
        let how = if evented {
            "events"
        } else {
            "a list each second"
        };
        println!("CPU of {pods} idle pods in {seconds} s, the kubelet following {how}:");
        for (name, ticks) in &after {
            let ticks = ticks.saturating_sub(before.get(name).copied().unwrap_or_default());
            // USER_HZ is 100 on every architecture that Carpel is built for.
            println!("  {name:<16} {:>4}.{:02} s", ticks / 100, ticks % 100);
        }
        let of = |name: &str| after[name].saturating_sub(before[name]);
        assert!(of("runtime") <= of("kubelet"), "{before:?} {after:?}");
        kubelet.remove_all();
    }
    node.finish();
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// CPU time by what it went to, in ticks of 10 ms.
fn spent(node: &Node) -> BTreeMap<String, u64> {
    let daemon = node.daemon_pid();
    let mut spent = BTreeMap::new();
    for (pid, name) in node.processes() {
        let what = match name.as_str() {
            _ if pid == daemon => "runtime",
            "kubelet" => "kubelet",
            name if name.contains("shim") || name.starts_with("carpel-") => "helpers",
            "pause" => "helpers",
            _ => continue,
        };
        let stat = node.proc().join(pid.to_string()).join("stat");
        // A process may end at any moment.
        let stat = std::fs::read_to_string(stat).unwrap_or_default();
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        // utime and stime, the 14th and 15th; the first here is the 3rd (proc(5)).
        let ticks = fields
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<u64>().ok());
        *spent.entry(what.to_owned()).or_default() += ticks.sum::<u64>();
    }
    spent
}
