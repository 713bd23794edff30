//! Manifests with everything that a behaviour does not care about filled in.

use carpel_integration::request::BUSYBOX;
use serde_json::{Value, json};

/// A pod of one container that goes on: `fields` are added to its spec.
pub(crate) fn server(name: &str, script: &str, fields: &Value) -> Value {
    pod(name, &json!([container("main", script)]), fields)
}

/// A pod that is started once: its script says by its exit code whether all is as it should be.
pub(crate) fn judge(name: &str, script: &str, fields: &Value) -> Value {
    let mut pod = server(name, &format!("set -ex; {script}"), fields);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod
}

pub(crate) fn container(name: &str, script: &str) -> Value {
    json!({
        "name": name,
        "image": BUSYBOX,
        "command": ["sh", "-c", script],
    })
}

/// A pod of these containers; `fields` are added to its spec, and `main` in them to its first container.
pub(crate) fn pod(name: &str, containers: &Value, fields: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "labels": { "app": name } },
        "spec": { "containers": containers, "terminationGracePeriodSeconds": 1 },
    });
    for (key, value) in fields.as_object().unwrap() {
        if key == "main" {
            for (key, value) in value.as_object().unwrap() {
                pod["spec"]["containers"][0][key] = value.clone();
            }
        } else {
            pod["spec"][key] = value.clone();
        }
    }
    pod
}
