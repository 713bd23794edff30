//! Volumes and what a pod is told of itself. Projected volumes, of any source, are not for a kubelet without an API server.

use serde_json::{Value, json};

use super::manifest::{judge, server};
use super::scene::{Behaviour, Check, Scene};

pub(crate) fn behaviours(scene: &Scene<'_>) -> Vec<Behaviour> {
    let mut all = host_paths(scene);
    all.extend(downward(scene));
    all.push(Behaviour {
        what: "an emptyDir of medium Memory is a tmpfs of its size",
        pod: judge(
            "memory",
            "grep ' /m tmpfs ' /proc/mounts; test $(df -m /m | tail -n 1 | awk '{print $2}') = 8",
            &one(
                &json!({ "emptyDir": { "medium": "Memory", "sizeLimit": "8Mi" } }),
                "/m",
            ),
        ),
        check: Check::Phase("Succeeded"),
    });
    all
}

/// A volume, and where it is mounted.
fn one(volume: &Value, at: &str) -> Value {
    let mut volume = volume.clone();
    volume["name"] = json!("v");
    json!({ "volumes": [volume], "main": { "volumeMounts": [{ "name": "v", "mountPath": at }] } })
}

fn host_paths(scene: &Scene<'_>) -> Vec<Behaviour> {
    let of = |kind: &str, name: &str| json!({ "hostPath": { "path": scene.shared.join(name), "type": kind } });
    vec![
        Behaviour {
            what: "hostPath DirectoryOrCreate makes the directory",
            pod: judge(
                "directory",
                "test -d /h; touch /h/file",
                &one(&of("DirectoryOrCreate", "made"), "/h"),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "hostPath FileOrCreate makes the file",
            pod: judge(
                "file",
                "test -f /h; echo text >/h",
                &one(&of("FileOrCreate", "made-file"), "/h"),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "hostPath Socket finds the runtime's own",
            pod: judge(
                "socket",
                "test -S /h",
                &one(
                    &json!({ "hostPath": { "path": scene.node.socket, "type": "Socket" } }),
                    "/h",
                ),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "hostPath CharDevice finds a device",
            pod: judge(
                "device",
                "test -c /h",
                &one(
                    &json!({ "hostPath": { "path": "/dev/null", "type": "CharDevice" } }),
                    "/h",
                ),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "hostPath Directory that is not there holds the pod up",
            pod: server("missing", "", &one(&of("Directory", "none"), "/h")),
            check: Check::Waits("ContainerCreating"),
        },
    ]
}

fn downward(scene: &Scene<'_>) -> Vec<Behaviour> {
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let labels =
        json!({ "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] });
    vec![
        Behaviour {
            what: "environment variables tell name, namespace, node and address",
            pod: judge(
                "told",
                &format!(
                    "test $NAME.$NAMESPACE.$NODE = {}.default.{}; ip address show eth0 | grep \" $IP/\"",
                    scene.runner.full_name("told"),
                    scene.runner.node_name(),
                ),
                &json!({ "main": { "env": [
                    field("NAME", "metadata.name"),
                    field("NAMESPACE", "metadata.namespace"),
                    field("NODE", "spec.nodeName"),
                    field("IP", "status.podIP"),
                ]}}),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "a downwardAPI volume has the labels",
            pod: judge(
                "labels",
                "grep 'app=\"labels\"' /v/labels",
                &one(&json!({ "downwardAPI": labels }), "/v"),
            ),
            check: Check::Phase("Succeeded"),
        },
    ]
}
