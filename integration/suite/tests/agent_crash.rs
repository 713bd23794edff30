//! The agent, and the daemon that it is in, killed at random while objects are applied, changed and deleted: everything
//! converges and nothing is doubled.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use carpel_integration::agent::Agent;
use carpel_integration::node::Node;
use carpel_integration::request::BUSYBOX;
use serde_json::{Value, json};

/// How often the agent is killed.
const ROUNDS: u64 = 6;

/// Numbers that look like chance and are the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn pod(name: &str, version: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "initContainers": [{ "name": "init", "image": BUSYBOX, "command": ["true"] }],
            "containers": [{
                "name": "main", "image": BUSYBOX,
                "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
                "env": [{ "name": "VERSION", "value": version.to_string() }],
                "volumeMounts": [{ "name": "v", "mountPath": "/v" }],
            }],
            "volumes": [{ "name": "v", "configMap": { "name": "shared" } }],
        },
    })
}

/// Waits until each pod runs what was applied last, with the newest files, or is gone.
fn wait_until_as_applied(agent: &Agent<'_>, wanted: &[Option<u64>]) {
    for (index, version) in wanted.iter().enumerate() {
        let name = format!("pod-{index}");
        match version {
            None => agent.wait_for_pod("gone", &name, Value::is_null),
            Some(version) => {
                agent.wait_until_ready(&name);
                agent.wait_for_pod("as applied", &name, |_| {
                    let script = "echo $VERSION; cat /v/version";
                    let words = [
                        "exec",
                        "--sync",
                        &format!("{name}/main"),
                        "--",
                        "sh",
                        "-c",
                        script,
                    ];
                    agent.run(&words).stdout == format!("{version}\n{ROUNDS}").into_bytes()
                })
            }
        };
    }
}

#[test]
fn root_an_agent_that_is_killed_at_any_time_comes_to_what_was_applied() {
    let Some(node) = Node::start() else { return };
    let Some(mut agent) = Agent::start(&node) else {
        return;
    };
    let mut chance = Chance(0x5eed_cafe);
    let map = |version: u64| {
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "shared" },
            "data": { "version": version.to_string() } })
    };
    let mut wanted: [Option<u64>; 3] = [None; 3];
    for round in 1..=ROUNDS {
        agent.apply(&map(round).to_string());
        for (index, version) in wanted.iter_mut().enumerate() {
            let name = format!("pod-{index}");
            match chance.below(3) {
                0 => {
                    agent.tell(&["delete", "pod", &name, "--ignore-not-found", "--wait=false"]);
                    *version = None;
                }
                // A pod on its way out cannot be applied: then it is what it was.
                _ if agent
                    .try_apply(&pod(&name, round).to_string())
                    .status
                    .success() =>
                {
                    *version = Some(round);
                }
                _ => {}
            }
        }
        agent.kill_and_start();
    }
    wait_until_as_applied(&agent, &wanted);
    let pods = node.ask(&["pods", "--state", "ready", "--quiet"]);
    let running = node.ask(&["ps", "--quiet"]);
    let count = wanted.iter().flatten().count();
    assert_eq!(
        pods.lines().count(),
        count,
        "sandboxes that are ready: {pods}"
    );
    assert_eq!(
        running.lines().count(),
        count,
        "containers that run: {running}"
    );
    for (index, version) in wanted.iter().enumerate() {
        if version.is_some() {
            agent.delete(&format!("pod-{index}"));
        }
    }
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}
