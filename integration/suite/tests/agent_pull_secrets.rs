//! Images behind a password, for pods of the agent: imagePullSecrets of the pod and of its service account, wrong ones,
//! and ones that are not there.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and why it cannot run by a line that `make test` counts"
)]

use std::path::Path;

use carpel_integration::agent::Agent;
use carpel_integration::node::Node;
use carpel_integration::registry::{Cache, PROGRAM, write};
use carpel_integration::request::BUSYBOX;
use serde_json::{Value, json};

/// base64 of `carpel:secret`, which the registry knows.
const RIGHT: &str = "Y2FycGVsOnNlY3JldA==";
/// base64 of `carpel:hunter2`.
const WRONG: &str = "Y2FycGVsOmh1bnRlcjI=";

fn secret(name: &str, server: &str, auth: &str) -> Value {
    let config = json!({ "auths": { server: { "auth": auth } } });
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": { ".dockerconfigjson": config.to_string() },
    })
}

fn pod(name: &str, image: &str, fields: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main", "image": image, "imagePullPolicy": "Always", "command": ["sleep", "1000"],
            }],
        },
    });
    for (key, value) in fields.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    pod
}

/// The registry by its own name, with its authority trusted.
fn trust(node: &Node, registry: &Cache<'_>) {
    let folder = node.work.join("certs.d").join(&registry.address);
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "server = \"https://{}\"\nca = \"{}\"\ncapabilities = [\"pull\", \"resolve\"]\n",
        registry.address,
        registry.authority()
    );
    write(&folder.join("hosts.toml"), &text);
}

#[test]
fn root_pods_pull_with_their_secrets_or_say_what_the_registry_said() {
    if !Path::new(PROGRAM).exists() {
        println!("SKIP {PROGRAM} is missing: run make test");
        return;
    }
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    let registry = Cache::locked(&node, 5443);
    trust(&node, &registry);
    let image = BUSYBOX.replace("registry.k8s.io", &registry.address);
    let with = |name: &str| json!({ "imagePullSecrets": [{ "name": name }] });
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "robot" },
        "imagePullSecrets": [{ "name": "right" }] });
    for object in [
        secret("right", &registry.address, RIGHT),
        secret("wrong", &registry.address, WRONG),
        secret("other", "registry.example", RIGHT),
        account,
        pod("right", &image, &with("right")),
        pod("robot", &image, &json!({ "serviceAccountName": "robot" })),
        pod("none", &image, &json!({})),
        pod("other", &image, &with("other")),
        pod("wrong", &image, &with("wrong")),
        pod("missing", &image, &with("not-there")),
    ] {
        agent.apply(&object.to_string());
    }
    agent.wait_until_ready("right");
    agent.wait_until_ready("robot");
    let says = |name: &str, cause: &str| {
        let said = agent.wait_for_reason(name, "ImagePullBackOff");
        assert!(said.contains(cause), "{name}: {said}");
        assert!(
            said.starts_with(&format!(
                "Back-off pulling image \"{image}\": ErrImagePull: "
            )),
            "{name}: {said}"
        );
    };
    says("wrong", "401");
    // The right password comes: the pod goes on by itself, at the end of its back-off.
    agent.apply(&secret("wrong", &registry.address, RIGHT).to_string());
    for name in ["none", "other", "missing"] {
        says(name, "a user name and a password");
    }
    let events = agent.ask(&["get", "events"]);
    assert!(
        events.contains("Unable to retrieve some image pull secrets (not-there); attempting to pull the image may not succeed."),
        "{events}"
    );
    assert!(
        !events.contains("hunter2") && !events.contains(WRONG),
        "{events}"
    );
    agent.wait_until_ready("wrong");
    for name in ["right", "robot", "none", "other", "wrong", "missing"] {
        agent.delete(name);
    }
    agent.assert_nothing_left();
    drop(agent);
    registry.stop();
    node.finish();
}
