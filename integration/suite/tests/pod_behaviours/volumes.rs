//! Volumes and what a pod is told of itself. Projected volumes, of any source, are not for a kubelet without an API server.

use std::path::Path;

use carpel_integration::request::write_new;
use rustix::fs::{CWD, FileType};
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

/// Each type of hostPath, with what it is and with what it is not.
fn host_paths(scene: &Scene<'_>) -> Vec<Behaviour> {
    let of =
        |kind: &str, path: &Path| one(&json!({ "hostPath": { "path": path, "type": kind } }), "/h");
    let shared = |name: &str| scene.shared.join(name);
    let (file, block) = (shared("a-file"), shared("a-block-device"));
    write_new(&file, b"text");
    // A device that no driver has: it can be found, and not be opened.
    rustix::fs::mknodat(
        CWD,
        &block,
        FileType::BlockDevice,
        0o600.into(),
        rustix::fs::makedev(240, 0),
    )
    .unwrap();
    let socket = &scene.node.socket;
    let device = Path::new("/dev/null");
    let finds = |what, name, script, kind, path: &Path| Behaviour {
        what,
        pod: judge(name, script, &of(kind, path)),
        check: Check::Phase("Succeeded"),
    };
    let refuses = |what, name, kind, path: &Path| Behaviour {
        what,
        pod: server(name, "sleep 1000", &of(kind, path)),
        check: Check::Held,
    };
    vec![
        finds(
            "hostPath DirectoryOrCreate makes the directory",
            "directory-made",
            "test -d /h; touch /h/file",
            "DirectoryOrCreate",
            &shared("made"),
        ),
        finds(
            "hostPath Directory finds a directory",
            "directory",
            "test -d /h",
            "Directory",
            &scene.shared,
        ),
        finds(
            "hostPath FileOrCreate makes the file",
            "file-made",
            "test -f /h; echo text >/h",
            "FileOrCreate",
            &shared("made-file"),
        ),
        finds(
            "hostPath File finds a file",
            "file",
            "test $(cat /h) = text",
            "File",
            &file,
        ),
        finds(
            "hostPath Socket finds the runtime's own",
            "socket",
            "test -S /h",
            "Socket",
            socket,
        ),
        finds(
            "hostPath CharDevice finds a device",
            "character",
            "test -c /h",
            "CharDevice",
            device,
        ),
        finds(
            "hostPath BlockDevice finds a device",
            "block",
            "test -b /h",
            "BlockDevice",
            &block,
        ),
        refuses(
            "hostPath Directory that is not there holds the pod up",
            "no-directory",
            "Directory",
            &shared("none"),
        ),
        refuses(
            "hostPath DirectoryOrCreate refuses a file",
            "no-directory-made",
            "DirectoryOrCreate",
            &file,
        ),
        refuses(
            "hostPath File refuses a directory",
            "no-file",
            "File",
            &scene.shared,
        ),
        refuses(
            "hostPath FileOrCreate refuses a directory",
            "no-file-made",
            "FileOrCreate",
            &scene.shared,
        ),
        refuses(
            "hostPath Socket refuses a file",
            "no-socket",
            "Socket",
            &file,
        ),
        refuses(
            "hostPath CharDevice refuses a block device",
            "no-character",
            "CharDevice",
            &block,
        ),
        refuses(
            "hostPath BlockDevice refuses a character device",
            "no-block",
            "BlockDevice",
            device,
        ),
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
