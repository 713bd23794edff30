//! Secrets, ConfigMaps, tokens and images in pods: as volumes and as variables, and what happens when they change or are
//! not there.

use std::time::Duration;

use carpel_integration::cluster::Cluster;
use carpel_integration::request::BUSYBOX;
use carpel_integration::table::{Table, Verdict, expect};
use carpel_integration::wait::try_for;
use serde_json::{Value, json};

use crate::pod_behaviours::manifest::{judge, server};
use crate::pod_behaviours::scene::{Behaviour, Check, Scene, first_container};

/// The kubelet looks at each pod once a minute and a half at most, and at what has changed each five seconds.
const CHANGE: Duration = Duration::from_secs(100);

/// What the behaviours use.
pub(crate) fn make_objects(cluster: &Cluster<'_>) {
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "account" },
        "stringData": { "user": "alice", "password": "not for everyone" },
    }));
    cluster.apply(&settings("blue"));
}

fn settings(color: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" },
        "data": { "color": color, "size": "9" },
    })
}

/// A volume, and where it is mounted.
fn one(volume: &Value, mount: &Value) -> Value {
    let (mut volume, mut mount) = (volume.clone(), mount.clone());
    volume["name"] = json!("v");
    mount["name"] = json!("v");
    json!({ "volumes": [volume], "main": { "volumeMounts": [mount] } })
}

pub(crate) fn behaviours(scene: &Scene<'_>) -> Vec<Behaviour> {
    let mut all = projected();
    all.extend(volumes());
    all.extend(variables());
    all.extend(missing());
    all.extend(images(scene));
    all
}

fn projected() -> Vec<Behaviour> {
    let at = json!({ "mountPath": "/v" });
    let projected = json!({ "projected": { "sources": [
        { "secret": { "name": "account", "items": [{ "key": "user", "path": "deep/user" }] } },
        { "configMap": { "name": "settings" } },
        { "downwardAPI": { "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] } },
        { "serviceAccountToken": { "path": "token", "audience": "carpel.example", "expirationSeconds": 600 } },
    ]}});
    // A token is base64 without padding, in the alphabet of URLs (RFC 7519).
    let token = "{ cut -d . -f 2 /v/token | tr -d '\\n' | tr '_-' '/+'; echo ===; } | base64 -d 2>/dev/null | grep carpel.example";
    let account = "/var/run/secrets/kubernetes.io/serviceaccount";
    vec![
        Behaviour {
            what: "a projected volume has secret, configMap, downwardAPI and serviceAccountToken",
            pod: judge(
                "projected",
                &format!(
                    "test $(cat /v/deep/user).$(cat /v/color) = alice.blue; grep 'app=\"projected\"' /v/labels; {token}"
                ),
                &one(&projected, &at),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "the service account's token, namespace and authority are mounted",
            pod: judge(
                "account",
                &format!(
                    "test $(cat {account}/namespace) = default; grep BEGIN {account}/ca.crt; test -s {account}/token"
                ),
                &json!({}),
            ),
            check: Check::Phase("Succeeded"),
        },
    ]
}

fn volumes() -> Vec<Behaviour> {
    let at = json!({ "mountPath": "/v" });
    vec![
        Behaviour {
            what: "a Secret's volume is in memory, and its files have their mode",
            pod: judge(
                "secret",
                "grep ' /v tmpfs ro' /proc/mounts; test $(cat /v/user) = alice; test $(stat -L -c %a /v/user) = 400",
                &one(
                    &json!({ "secret": { "secretName": "account", "defaultMode": 0o400 } }),
                    &json!({ "mountPath": "/v", "readOnly": true }),
                ),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "a ConfigMap's volume has the chosen keys, a subPath of it one file",
            pod: {
                let volume = json!({ "configMap": { "name": "settings", "items": [{ "key": "color", "path": "c" }] } });
                let mut pod = judge(
                    "config",
                    "test $(ls /v) = c; test $(cat /etc/color) = blue; test -f /etc/color; test -d /etc",
                    &one(&volume, &at),
                );
                let mounts = &mut pod["spec"]["containers"][0]["volumeMounts"];
                mounts
                    .as_array_mut()
                    .unwrap()
                    .push(json!({ "name": "v", "mountPath": "/etc/color", "subPath": "c" }));
                pod
            },
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "hostUsers false: root inside reads its Secret, fsGroup gives it to others",
            pod: {
                let mut pod = judge(
                    "mapped",
                    "test $(id -u) = 1000; test $(cat /v/user) = alice; test $(stat -L -c %g /v/user) = 2000",
                    &one(&json!({ "secret": { "secretName": "account" } }), &at),
                );
                pod["spec"]["hostUsers"] = json!(false);
                pod["spec"]["securityContext"] = json!({ "runAsUser": 1000, "fsGroup": 2000 });
                pod
            },
            check: Check::Phase("Succeeded"),
        },
    ]
}

fn variables() -> Vec<Behaviour> {
    let main = json!({ "main": {
        "env": [
            { "name": "WHO", "valueFrom": { "secretKeyRef": { "name": "account", "key": "user" } } },
            { "name": "COLOR", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "color" } } },
            { "name": "NONE", "valueFrom": { "configMapKeyRef": { "name": "none", "key": "none", "optional": true } } },
        ],
        "envFrom": [{ "prefix": "MY_", "configMapRef": { "name": "settings" } }],
    }});
    vec![Behaviour {
        what: "variables from Secret and ConfigMap, all of one with a prefix, an optional one left out",
        pod: judge(
            "variables",
            "test $WHO.$COLOR.$MY_size.${NONE-none} = alice.blue.9.none; test \"$KUBERNETES_SERVICE_HOST\" = 10.96.0.1",
            &main,
        ),
        check: Check::Phase("Succeeded"),
    }]
}

fn missing() -> Vec<Behaviour> {
    let variable = json!({ "main": { "env": [
        { "name": "WHO", "valueFrom": { "secretKeyRef": { "name": "nobody", "key": "user" } } },
    ]}});
    let volume = json!({ "secret": { "secretName": "nobody" } });
    let optional = json!({ "secret": { "secretName": "nobody", "optional": true } });
    vec![
        Behaviour {
            what: "a variable from a Secret that is not there holds the container up",
            pod: server("no-variable", "sleep 1000", &variable),
            check: Check::Waits("CreateContainerConfigError"),
        },
        Behaviour {
            what: "a volume of a Secret that is not there holds the pod up",
            pod: server(
                "no-volume",
                "sleep 1000",
                &one(&volume, &json!({ "mountPath": "/v" })),
            ),
            check: Check::Held,
        },
        Behaviour {
            what: "an optional one is an empty directory",
            pod: judge(
                "optional",
                "test -d /v; test -z \"$(ls /v)\"",
                &one(&optional, &json!({ "mountPath": "/v" })),
            ),
            check: Check::Phase("Succeeded"),
        },
    ]
}

fn images(scene: &Scene<'_>) -> Vec<Behaviour> {
    let image = json!({ "image": { "reference": BUSYBOX, "pullPolicy": "IfNotPresent" } });
    let none = json!({ "image": { "reference": "registry.k8s.io/no-such:1" } });
    let below = json!({ "hostPath": { "path": scene.shared } });
    vec![
        Behaviour {
            what: "an image as a volume is read-only",
            pod: server(
                "image",
                "/v/bin/busybox true && ! touch /v/file && sleep 1000",
                &one(&image, &json!({ "mountPath": "/v" })),
            ),
            check: Check::Ready,
        },
        Behaviour {
            what: "a subPath of an image as a volume",
            pod: judge(
                "image-path",
                "test -x /v/busybox; test ! -e /v/bin",
                &one(&image, &json!({ "mountPath": "/v", "subPath": "bin" })),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "a subPath that an image has not is said",
            pod: server(
                "image-no-path",
                "sleep 1000",
                &one(&image, &json!({ "mountPath": "/v", "subPath": "none" })),
            ),
            check: Check::Waits("CreateContainerError"),
        },
        Behaviour {
            what: "an image as a volume that nobody has holds the pod up",
            pod: server(
                "no-image",
                "sleep 1000",
                &one(&none, &json!({ "mountPath": "/v" })),
            ),
            check: Check::Status(|pod| {
                let reason = &first_container(pod)["state"]["waiting"]["reason"];
                reason == "ImagePullBackOff" || reason == "ErrImagePull"
            }),
        },
        Behaviour {
            what: "recursiveReadOnly: nothing below a volume can be written, and the status says so",
            pod: server(
                "read-only",
                "! touch /v/file && sleep 1000",
                &one(
                    &below,
                    &json!({ "mountPath": "/v", "readOnly": true, "recursiveReadOnly": "Enabled" }),
                ),
            ),
            check: Check::Status(|pod| {
                let mount = &first_container(pod)["volumeMounts"][0];
                first_container(pod)["ready"] == true && mount["recursiveReadOnly"] == "Enabled"
            }),
        },
    ]
}

/// What changes in the cluster reaches the pods that have it as a volume.
pub(crate) fn show_changes(cluster: &Cluster<'_>) {
    cluster.apply(&server(
        "watches",
        "sleep 1000",
        &json!({
            "volumes": [
                { "name": "settings", "configMap": { "name": "settings" } },
                { "name": "account", "secret": { "secretName": "account" } },
            ],
            "main": { "volumeMounts": [
                { "name": "settings", "mountPath": "/settings" },
                { "name": "account", "mountPath": "/account" },
            ]},
        }),
    ));
    let mut table = Table::default();
    table.row(
        "a changed ConfigMap reaches the pod",
        changed(cluster, "/settings/color", &settings("red"), "red"),
    );
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "account" },
        "stringData": { "user": "bob" },
    });
    table.row(
        "a changed Secret reaches the pod",
        changed(cluster, "/account/user", &secret, "bob"),
    );
    table.row(
        "the API server knows a pod by its token",
        known_by_token(cluster),
    );
    table.finish();
}

fn known_by_token(cluster: &Cluster<'_>) -> Verdict {
    let file = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    let token = cluster.ask(&["exec", "watches", "--", "cat", file])?;
    let review = cluster.create(&json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": { "token": token },
    }))?;
    let status = &review["status"];
    let pod = &status["user"]["extra"]["authentication.kubernetes.io/pod-name"];
    expect(
        status["authenticated"] == true && *pod == json!(["watches"]),
        status,
    )
}

fn changed(cluster: &Cluster<'_>, file: &str, object: &Value, text: &str) -> Verdict {
    cluster.wait("pod", "watches", CHANGE, |pod| {
        first_container(pod)["ready"] == true
    })?;
    cluster.try_apply(object)?;
    let mut last = String::new();
    let found = try_for(CHANGE, || {
        last = cluster
            .ask(&["exec", "watches", "--", "cat", file])
            .unwrap_or_else(|said| said);
        (last == text).then_some(())
    });
    found.ok_or_else(|| format!("{file} says {last:?}"))
}
