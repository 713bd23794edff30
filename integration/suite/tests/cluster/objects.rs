//! What the controllers of a cluster make of their objects on a node with Carpel, and what pods ask of their node:
//! deployments, jobs, handlers, ends, restarts of one container.

use std::path::Path;
use std::time::Duration;

use carpel_integration::cluster::Cluster;
use carpel_integration::node::Node;
use carpel_integration::request::BUSYBOX;
use carpel_integration::table::{Verdict, expect};
use carpel_integration::wait::try_for;
use serde_json::{Value, json};

use crate::pod_behaviours::manifest::{judge, server};
use crate::pod_behaviours::scene::{first_container, is_ready};
use crate::rows::{self, Look};

const SOON: Duration = Duration::from_secs(60);

/// An OCI runtime of the node, as a handler beside the built-in one.
const CRUN: &str = "/usr/bin/crun";

#[test]
#[ignore = "the control plane is built by make cluster"]
fn root_objects_of_a_cluster_come_to_life_on_the_node() {
    assert!(Path::new(CRUN).exists(), "{CRUN} is missing: make cluster");
    let handler = format!("\n[runtime.handlers.crun]\ntype = \"oci\"\npath = \"{CRUN}\"\n");
    let Some(node) = Node::start_carpel_with(&[("NODE_CONFIG_EXTRA", &handler)]) else {
        return;
    };
    let Some(cluster) = Cluster::start(&node, &json!({})) else {
        return;
    };
    rows::show(&node, &cluster, &ROWS);
    drop(cluster);
    node.finish();
}

const ROWS: [(&str, Look); 10] = [
    (
        "the node tells runtime, version, handlers and features",
        node_object,
    ),
    (
        "a Deployment rolls out, and changes without a gap",
        deployment,
    ),
    ("a Job runs its pods to their end", job),
    (
        "a RuntimeClass runs a pod by another handler",
        runtime_class,
    ),
    ("a RuntimeClass that the node has not is said", no_handler),
    ("the node tells its images", images),
    ("a deleted pod gets its grace period", deletion),
    ("a pod deleted with no grace ends at once", forced),
    (
        "a container restarts by a rule for its exit code",
        restart_rules,
    ),
    (
        "supplementalGroupsPolicy Strict leaves the image's groups out",
        groups,
    ),
];

fn node_object(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let status = cluster.node_object()["status"].clone();
    let version = format!("carpel://{}", env!("CARGO_PKG_VERSION"));
    expect(
        status["nodeInfo"]["containerRuntimeVersion"] == version.as_str(),
        &status["nodeInfo"],
    )?;
    let handlers = status["runtimeHandlers"].as_array().cloned();
    let handlers = handlers.unwrap_or_default();
    let features = |name: &str| {
        let mut handlers = handlers.iter();
        let found = handlers.find(|handler| handler["name"].as_str().unwrap_or_default() == name);
        found.map(|handler| handler["features"].clone())
    };
    let both = json!({ "recursiveReadOnlyMounts": true, "userNamespaces": true });
    let seen = json!(handlers);
    expect(
        features("") == Some(both.clone())
            && features("carpel") == Some(both)
            && features("crun").is_some(),
        seen,
    )?;
    expect(
        status["features"]["supplementalGroupsPolicy"] == true,
        &status["features"],
    )
}

fn images(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let mut last = Value::Null;
    let found = try_for(SOON, || {
        last = cluster.node_object()["status"]["images"].clone();
        let mut images = last.as_array()?.iter();
        let is_it = |image: &&Value| {
            let names = image["names"].to_string();
            names.contains(BUSYBOX)
                && names.contains("@sha256:")
                && image["sizeBytes"].as_u64().is_some_and(|size| size > 0)
        };
        images.find(is_it).map(drop)
    });
    found.ok_or_else(|| last.to_string())
}

fn deployment(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let template = |script: &str| {
        json!({
            "metadata": { "labels": { "app": "shop" } },
            "spec": server("shop", script, &json!({}))["spec"],
        })
    };
    let of = |script: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop" },
            "spec": {
                "replicas": 3,
                "selector": { "matchLabels": { "app": "shop" } },
                "template": template(script),
            },
        })
    };
    let rolled_out = || cluster.ask(&["rollout", "status", "deployment/shop", "--timeout=60s"]);
    cluster.try_apply(&of("echo first; sleep 1000"))?;
    rolled_out()?;
    cluster.try_apply(&of("echo second; sleep 1000"))?;
    rolled_out()?;
    let said = cluster.ask(&["logs", "--selector", "app=shop"])?;
    // The last of the old pods may still be on its way out.
    expect(said.matches("second\n").count() == 3, said)
}

fn job(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    cluster.try_apply(&json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "sums" },
        "spec": {
            "completions": 4, "parallelism": 2,
            "template": { "spec": judge("sums", "echo $((6 * 7))", &json!({}))["spec"] },
        },
    }))?;
    let done = |job: &Value| job["status"]["succeeded"] == 4;
    cluster.wait("job", "sums", SOON, done).map(drop)
}

fn class(name: &str, handler: &str) -> Value {
    json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
        "metadata": { "name": name }, "handler": handler,
        "overhead": { "podFixed": { "memory": "8Mi" } },
    })
}

fn runtime_class(node: &Node, cluster: &Cluster<'_>) -> Verdict {
    cluster.try_apply(&class("other", "crun"))?;
    cluster.try_apply(&server(
        "by-crun",
        "sleep 1000",
        &json!({ "runtimeClassName": "other" }),
    ))?;
    cluster.wait("pod", "by-crun", SOON, is_ready)?;
    let pods = node.ask_json(&["pods", "--name", "by-crun", "--output", "json"]);
    expect(pods["items"][0]["runtimeHandler"] == "crun", &pods)?;
    let said = cluster.ask(&["exec", "by-crun", "--", "echo", "said"])?;
    expect(said == "said\n", said)
}

fn no_handler(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    cluster.try_apply(&class("none", "no-such"))?;
    cluster.try_apply(&server(
        "by-none",
        "sleep 1000",
        &json!({ "runtimeClassName": "none" }),
    ))?;
    let mut last = Vec::new();
    let found = try_for(SOON, || {
        last = cluster.events("by-none");
        let is_it =
            |event: &String| event.contains("FailedCreatePodSandBox") && event.contains("no-such");
        last.iter().any(is_it).then_some(())
    });
    cluster.ask(&["delete", "pod", "by-none", "--wait=false"])?;
    found.ok_or_else(|| format!("{last:#?}"))
}

fn deletion(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let mut pod = server(
        "graceful",
        "trap 'sleep 3; exit 0' TERM; while :; do sleep 0.1; done",
        &json!({ "terminationGracePeriodSeconds": 20 }),
    );
    pod["spec"]["restartPolicy"] = json!("Never");
    cluster.try_apply(&pod)?;
    cluster.wait("pod", "graceful", SOON, is_ready)?;
    let start = std::time::Instant::now();
    cluster.ask(&["delete", "pod", "graceful", "--timeout=40s"])?;
    let took = start.elapsed();
    expect(
        (3..19).contains(&took.as_secs()),
        format!("it took {took:?}"),
    )
}

fn forced(node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let pod = server(
        "stubborn",
        "trap '' TERM; while :; do sleep 0.1; done",
        &json!({ "terminationGracePeriodSeconds": 600 }),
    );
    cluster.try_apply(&pod)?;
    cluster.wait("pod", "stubborn", SOON, is_ready)?;
    cluster.ask(&["delete", "pod", "stubborn", "--grace-period=0", "--force"])?;
    let mut last = String::new();
    let found = try_for(Duration::from_secs(20), || {
        last = node.ask(&[
            "ps",
            "--quiet",
            "--label",
            "io.kubernetes.pod.name=stubborn",
        ]);
        last.is_empty().then_some(())
    });
    found.ok_or_else(|| format!("{last} runs"))
}

fn restart_rules(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    let mut pod = judge(
        "rules",
        "test -e /v/was && exit 0; touch /v/was; exit 42",
        &json!({ "volumes": [{ "name": "v", "emptyDir": {} }] }),
    );
    let container = &mut pod["spec"]["containers"][0];
    container["volumeMounts"] = json!([{ "name": "v", "mountPath": "/v" }]);
    container["restartPolicy"] = json!("Never");
    container["restartPolicyRules"] = json!([
        { "action": "Restart", "exitCodes": { "operator": "In", "values": [42] } },
    ]);
    cluster.try_apply(&pod)?;
    let found = cluster.wait("pod", "rules", SOON, |pod| {
        pod["status"]["phase"] == "Succeeded"
    })?;
    let count = &first_container(&found)["restartCount"];
    expect(count == 1, format!("{count} restarts"))
}

fn groups(_node: &Node, cluster: &Cluster<'_>) -> Verdict {
    cluster.try_apply(&server(
        "groups",
        "test \"$(id -G)\" = '1000 2000' && sleep 1000",
        &json!({ "securityContext": {
            "runAsUser": 1000, "runAsGroup": 1000, "supplementalGroups": [2000],
            "supplementalGroupsPolicy": "Strict",
        }}),
    ))?;
    let pod = cluster.wait("pod", "groups", SOON, is_ready)?;
    let user = &first_container(&pod)["user"]["linux"];
    expect(
        *user == json!({ "uid": 1000, "gid": 1000, "supplementalGroups": [1000, 2000] }),
        user,
    )
}
