//! Volumes and what a pod is told of itself. Projected volumes, of any source, are not for a kubelet without an API server.

use std::path::{Path, PathBuf};

use carpel_integration::request::write_new;
use rustix::fs::{CWD, FileType};
use serde_json::{Value, json};

use super::manifest::{container, judge, server};
use super::scene::{Behaviour, Check, Scene};

pub(crate) fn behaviours(scene: &Scene<'_>) -> Vec<Behaviour> {
    let mut all = host_paths(scene);
    all.extend(downward(scene));
    all.extend(env_files());
    all.push(group());
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

/// What the node has for pods to find: a file and a device that no driver has, so that it can be found, and not be opened.
struct Found {
    shared: PathBuf,
    file: PathBuf,
    block: PathBuf,
}

fn host_path(kind: &str, path: &Path) -> Value {
    one(&json!({ "hostPath": { "path": path, "type": kind } }), "/h")
}

/// Each type of hostPath, with what it is and with what it is not.
fn host_paths(scene: &Scene<'_>) -> Vec<Behaviour> {
    let found = Found {
        shared: scene.shared.clone(),
        file: scene.shared.join("a-file"),
        block: scene.shared.join("a-block-device"),
    };
    write_new(&found.file, b"text");
    rustix::fs::mknodat(
        CWD,
        &found.block,
        FileType::BlockDevice,
        0o600.into(),
        rustix::fs::makedev(240, 0),
    )
    .unwrap();
    let mut all = host_paths_found(scene, &found);
    all.extend(host_paths_refused(&found));
    all
}

fn host_paths_found(scene: &Scene<'_>, found: &Found) -> Vec<Behaviour> {
    let made = found.shared.join("made");
    let made_file = found.shared.join("made-file");
    let device = Path::new("/dev/null");
    #[rustfmt::skip]
    let all = [
        ("hostPath DirectoryOrCreate makes the directory", "directory-made", "test -d /h; touch /h/file", &*made),
        ("hostPath Directory finds a directory", "directory", "test -d /h", &found.shared),
        ("hostPath FileOrCreate makes the file", "file-made", "test -f /h; echo text >/h", &made_file),
        ("hostPath File finds a file", "file", "test $(cat /h) = text", &found.file),
        ("hostPath Socket finds the runtime's own", "socket", "test -S /h", &scene.node.socket),
        ("hostPath CharDevice finds a device", "character", "test -c /h", device),
        ("hostPath BlockDevice finds a device", "block", "test -b /h", &found.block),
    ];
    let behaviour = |(what, name, script, path): (&'static str, _, _, _)| Behaviour {
        what,
        pod: judge(name, script, &host_path(kind_of(what), path)),
        check: Check::Phase("Succeeded"),
    };
    all.map(behaviour).into()
}

fn host_paths_refused(found: &Found) -> Vec<Behaviour> {
    let none = found.shared.join("none");
    let device = Path::new("/dev/null");
    let all = [
        (
            "hostPath Directory refuses what is not there",
            "no-directory",
            &*none,
        ),
        (
            "hostPath DirectoryOrCreate refuses a file",
            "no-directory-made",
            &found.file,
        ),
        (
            "hostPath File refuses a directory",
            "no-file",
            &found.shared,
        ),
        (
            "hostPath FileOrCreate refuses a directory",
            "no-file-made",
            &found.shared,
        ),
        ("hostPath Socket refuses a file", "no-socket", &found.file),
        (
            "hostPath CharDevice refuses a block device",
            "no-character",
            &found.block,
        ),
        (
            "hostPath BlockDevice refuses a character device",
            "no-block",
            device,
        ),
    ];
    let behaviour = |(what, name, path): (&'static str, _, _)| Behaviour {
        what,
        pod: server(name, "sleep 1000", &host_path(kind_of(what), path)),
        check: Check::Held,
    };
    all.map(behaviour).into()
}

/// A row of hostPath has the type as its second word.
fn kind_of(what: &str) -> &str {
    what.split(' ').nth(1).unwrap()
}

/// A volume is given to the group when it is mounted, not whenever a container starts.
fn group() -> Behaviour {
    let mut fields = one(&json!({ "emptyDir": {} }), "/v");
    let mut first = container(
        "first",
        "echo >/v/kept; echo >/v/own; chgrp 0 /v/own; chmod 600 /v/own",
    );
    first["volumeMounts"] = fields["main"]["volumeMounts"].clone();
    fields["initContainers"] = json!([first]);
    fields["securityContext"] = json!({ "fsGroup": 2000 });
    Behaviour {
        what: "fsGroup owns a volume, and takes no file from a container that another starts after",
        pod: judge(
            "group",
            "test $(stat -c %g.%a /v) = 2000.2777; test $(stat -c %g /v/kept) = 2000; \
             test $(stat -c %g.%a /v/own) = 0.600",
            &fields,
        ),
        check: Check::Phase("Succeeded"),
    }
}

/// Variables from a file that an init container has written.
fn env_files() -> Vec<Behaviour> {
    let text = "# settings\nCOLOUR='light blue' # of the sky\nLINES='one\ntwo'\nEMPTY=''\n";
    let of = |name: &str, path: &str, key: &str, optional: bool| {
        let selector = json!({ "volumeName": "v", "path": path, "key": key, "optional": optional });
        json!({ "name": name, "valueFrom": { "fileKeyRef": selector } })
    };
    let with = |variables: Value| {
        let mut writes = container("writes", "mkdir /v/d; printf '%s' \"$TEXT\" >/v/d/env");
        writes["env"] = json!([{ "name": "TEXT", "value": text }]);
        writes["volumeMounts"] = json!([{ "name": "v", "mountPath": "/v" }]);
        // The container itself need not mount it.
        json!({
            "volumes": [{ "name": "v", "emptyDir": {} }],
            "initContainers": [writes],
            "main": { "env": variables },
        })
    };
    vec![
        Behaviour {
            what: "variables come from a file in an emptyDir, in single quotes",
            pod: judge(
                "env-file",
                "test \"$A\" = 'light blue'; test \"$(echo \"$B\" | wc -l)\" = 2; \
                 test \"$C\" = '<light blue>'; test -z \"${D+x}${E+x}\"",
                &with(json!([
                    of("A", "d/env", "COLOUR", false),
                    of("B", "d/env", "LINES", false),
                    { "name": "C", "value": "<$(A)>" },
                    of("D", "d/env", "NONE", true),
                    of("E", "d/env", "EMPTY", true),
                ])),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "a key that the file does not have is a CreateContainerConfigError",
            pod: server(
                "no-env-key",
                "",
                &with(json!([of("A", "d/env", "NONE", false)])),
            ),
            check: Check::Waits("CreateContainerConfigError"),
        },
        Behaviour {
            what: "a file of variables that is not there is one too, even if its key is optional",
            pod: server(
                "no-env-file",
                "",
                &with(json!([of("A", "none", "A", true)])),
            ),
            check: Check::Waits("CreateContainerConfigError"),
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
