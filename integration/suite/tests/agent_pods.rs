//! Kubernetes manifests without a cluster: what a kubelet does for pods, shown by the command line. On containerd too
//! (`RUNTIME=containerd`), which proves that the tests test Kubernetes' meaning.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::time::Duration;

use carpel_integration::agent::{Agent, condition};
use carpel_integration::node::Node;
use carpel_integration::request::BUSYBOX;
use carpel_integration::wait::wait_for;
use serde_json::{Value, json};

/// A pod of one container that runs a script.
fn pod(name: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "containers": [{
                "name": "main", "image": BUSYBOX, "command": ["sh", "-c", script],
            }],
        },
    })
}

/// Runs until it is told to end.
const SERVES: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

fn started_at(pod: &Value) -> Value {
    pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"].clone()
}

#[test]
fn root_a_secret_that_changes_changes_in_the_pod() {
    let Some(node) = Node::start() else { return };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    let secret = |password: &str| {
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "pass" },
            "stringData": { "password": password } })
    };
    let mut pod = pod("reader", SERVES);
    pod["spec"]["volumes"] = json!([{ "name": "v", "projected": { "sources": [
        { "secret": { "name": "pass" } },
        { "downwardAPI": { "items": [{ "path": "name", "fieldRef": { "fieldPath": "metadata.name" } }] } },
        { "serviceAccountToken": { "path": "token", "expirationSeconds": 600 } },
    ] } }]);
    pod["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "v", "mountPath": "/v", "readOnly": true }]);
    pod["spec"]["hostAliases"] = json!([{ "ip": "10.1.2.3", "hostnames": ["foo.remote"] }]);

    // The pod comes first: it waits for its Secret.
    agent.apply(&pod.to_string());
    let said = agent.apply(&secret("one").to_string());
    assert_eq!(said, "secret/pass created\n");
    let before = agent.wait_until_ready("reader");
    assert_eq!(before["status"]["phase"], "Running");
    assert_eq!(
        agent.ask_inside(
            "reader",
            "main",
            "cat /v/password /v/name; ls -l /v/password"
        ),
        agent.ask_inside("reader", "main", "printf onereader; ls -l /v/password")
    );
    assert_eq!(
        agent.ask_inside(
            "reader",
            "main",
            "grep foo.remote /etc/hosts; cut -d. -f1 /v/token | cut -c1-3"
        ),
        "10.1.2.3\tfoo.remote\neyJ\n"
    );
    assert_eq!(agent.apply(&pod.to_string()), "pod/reader unchanged\n");
    assert_eq!(
        agent.apply(&secret("two").to_string()),
        "secret/pass configured\n"
    );
    wait_for("the new password", Duration::from_secs(20), || {
        (agent.ask_inside("reader", "main", "cat /v/password") == "two").then_some(())
    });
    let after = agent.pod("reader").unwrap();
    assert_eq!(
        started_at(&before),
        started_at(&after),
        "it was not restarted"
    );
    agent.delete("reader");
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}

#[test]
fn root_init_containers_sidecars_and_containers_run_in_their_order() {
    let Some(node) = Node::start() else { return };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    let mut pod = pod("ordered", "cat /w/order; echo main >> /w/order; exit 0");
    let step = |name: &str, script: &str| {
        json!({ "name": name, "image": BUSYBOX, "command": ["sh", "-c", script],
            "volumeMounts": [{ "name": "w", "mountPath": "/w" }] })
    };
    let mut sidecar = step(
        "side",
        &format!("echo side >> /w/order; touch /w/up; {SERVES}"),
    );
    sidecar["restartPolicy"] = "Always".into();
    sidecar["startupProbe"] =
        json!({ "exec": { "command": ["test", "-e", "/w/up"] }, "periodSeconds": 1 });
    pod["spec"]["restartPolicy"] = "Never".into();
    pod["spec"]["volumes"] = json!([{ "name": "w", "emptyDir": {} }]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{ "name": "w", "mountPath": "/w" }]);
    pod["spec"]["initContainers"] = json!([step("first", "echo first >> /w/order"), sidecar]);
    agent.apply(&pod.to_string());
    let done = agent.wait_for_pod("done", "ordered", |pod| {
        pod["status"]["phase"] == "Succeeded"
    });
    assert_eq!(agent.ask(&["logs", "ordered/main"]), "first\nside\n");
    // The sidecar does not keep it alive.
    let ended = agent.wait_for_pod("all ended", "ordered", |pod| {
        let sidecar = &pod["status"]["initContainerStatuses"][1];
        sidecar["state"]["terminated"]["exitCode"] == 0
    });
    assert_eq!(condition(&ended, "Ready"), "False");
    assert_eq!(done["status"]["containerStatuses"][0]["restartCount"], 0);
    agent.delete("ordered");
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}

#[test]
fn root_a_pod_that_does_not_start_says_why() {
    let Some(node) = Node::start() else { return };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    let mut missing = pod("missing", SERVES);
    missing["spec"]["containers"][0]["env"] = json!([{ "name": "A",
        "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "a" } } }]);
    let mut never = pod("never", SERVES);
    never["spec"]["containers"][0]["image"] = "registry.k8s.io/none/such:1".into();
    never["spec"]["containers"][0]["imagePullPolicy"] = "Never".into();
    let mut absent = never.clone();
    absent["metadata"]["name"] = "absent".into();
    absent["spec"]["containers"][0]["imagePullPolicy"] = "Always".into();
    let mut nowhere = pod("nowhere", SERVES);
    nowhere["spec"]["containers"][0]["command"] = json!(["/no/such/program"]);
    let mut other = pod("other", SERVES);
    other["spec"]["nodeSelector"] = json!({ "disk": "ssd" });
    for pod in [&missing, &never, &absent, &nowhere, &other] {
        agent.apply(&pod.to_string());
    }
    agent.apply(&pod("crash", "echo last words > /dev/termination-log; exit 3").to_string());

    let said = agent.wait_for_reason("missing", "CreateContainerConfigError");
    assert_eq!(said, "configmap \"settings\" not found");
    let said = agent.wait_for_reason("never", "ErrImageNeverPull");
    assert!(said.contains("pull policy of Never"), "{said}");
    let said = agent.wait_for_reason("absent", "ImagePullBackOff");
    assert!(said.contains("Back-off pulling image"), "{said}");
    let said = agent.wait_for_reason("nowhere", "RunContainerError");
    assert!(said.contains("/no/such/program"), "{said}");
    let said = agent.wait_for_reason("crash", "CrashLoopBackOff");
    assert!(
        said.contains("restarting failed container=main pod=crash_default("),
        "{said}"
    );
    let crash = agent.pod("crash").unwrap();
    let last = &crash["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(last["exitCode"], 3);
    assert_eq!(last["message"], "last words\n");
    let other = agent.wait_for_pod("unschedulable", "other", |pod| {
        condition(pod, "PodScheduled") == "False"
    });
    assert_eq!(other["status"]["phase"], "Pending");

    // What was missing comes: the pod goes on by itself.
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" },
        "data": { "a": "1" } });
    agent.apply(&map.to_string());
    agent.wait_until_ready("missing");
    for name in ["missing", "never", "absent", "nowhere", "other", "crash"] {
        agent.delete(name);
    }
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}

#[test]
fn root_probes_and_hooks_do_what_they_are_for() {
    let Some(node) = Node::start() else { return };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    let mut web = pod("web", "");
    web["spec"]["volumes"] = json!([{ "name": "w", "emptyDir": {} }]);
    let container = &mut web["spec"]["containers"][0];
    container["command"] = json!(["httpd", "-f", "-p", "8080", "-h", "/w"]);
    container["volumeMounts"] = json!([{ "name": "w", "mountPath": "/w" }]);
    container["lifecycle"] = json!({
        "postStart": { "exec": { "command": ["touch", "/w/started"] } },
        "preStop": { "exec": { "command": ["sh", "-c", "echo stopping > /proc/1/fd/1"] } },
    });
    container["readinessProbe"] =
        json!({ "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1 });
    container["livenessProbe"] = json!({ "exec": { "command": ["test", "!", "-e", "/w/broken"] },
        "periodSeconds": 1, "failureThreshold": 1 });
    agent.apply(&web.to_string());
    let running = agent.wait_for_pod("running", "web", |pod| pod["status"]["phase"] == "Running");
    assert_eq!(condition(&running, "Ready"), "False");
    agent.tell(&["exec", "--sync", "web", "--", "test", "-e", "/w/started"]);
    agent.tell(&["exec", "--sync", "web", "--", "touch", "/w/ready"]);
    agent.wait_until_ready("web");
    agent.tell(&["exec", "--sync", "web", "--", "touch", "/w/broken"]);
    let restarted = agent.wait_for_pod("restarted", "web", |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"] != 0
    });
    assert!(restarted["status"]["containerStatuses"][0]["lastState"]["terminated"].is_object());
    let events = agent.ask(&["get", "events"]);
    assert!(
        events.contains("failed liveness probe, will be restarted"),
        "{events}"
    );
    assert!(
        events.contains("Readiness probe failed: HTTP probe failed with statuscode: 404"),
        "{events}"
    );
    agent.delete("web");
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}

#[test]
fn root_a_change_restarts_what_changed_and_a_deadline_ends_a_pod() {
    let Some(node) = Node::start() else { return };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    let mut two = pod("two", SERVES);
    let mut second = two["spec"]["containers"][0].clone();
    second["name"] = "second".into();
    two["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(second);
    agent.apply(&two.to_string());
    let before = agent.wait_until_ready("two");
    two["spec"]["containers"][1]["env"] = json!([{ "name": "NEW", "value": "yes" }]);
    assert_eq!(agent.apply(&two.to_string()), "pod/two configured\n");
    wait_for("the changed container", Duration::from_secs(30), || {
        let script = "echo $NEW";
        let output = agent.run(&["exec", "--sync", "two/second", "--", "sh", "-c", script]);
        (output.stdout == b"yes\n").then_some(())
    });
    let after = agent.wait_until_ready("two");
    assert_eq!(
        started_at(&before),
        started_at(&after),
        "the other one goes on"
    );
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);

    let mut short = pod("short", SERVES);
    short["spec"]["activeDeadlineSeconds"] = 1.into();
    agent.apply(&short.to_string());
    let ended = agent.wait_for_pod("failed", "short", |pod| pod["status"]["phase"] == "Failed");
    assert_eq!(ended["status"]["reason"], "DeadlineExceeded");
    let output = agent.try_apply(&two.to_string().replace(
        "terminationGracePeriodSeconds",
        "terminationGracePeriodSecond",
    ));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("did you mean terminationGracePeriodSeconds"),
        "{said}"
    );
    agent.delete("two");
    agent.delete("short");
    agent.assert_nothing_left();
    drop(agent);
    node.finish();
}
