//! What a pod is called, by itself and in /etc/hosts, and what it is told of itself.

use serde_json::{Value, json};

use super::manifest::judge;
use super::scene::{Behaviour, Check, Scene};

pub(crate) fn behaviours(scene: &Scene<'_>) -> Vec<Behaviour> {
    let mut all = host_names(scene);
    all.extend(fields());
    all
}

fn host_names(scene: &Scene<'_>) -> Vec<Behaviour> {
    let plain = scene.runner.full_name("plain-name");
    vec![
        Behaviour {
            what: "a pod is called by its name",
            pod: judge(
                "plain-name",
                &format!("test $(hostname) = {plain}; grep -w {plain} /etc/hosts"),
                &json!({}),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "hostname and subdomain: a short name, and the whole one in /etc/hosts",
            pod: judge(
                "named",
                "test $(hostname) = box; test $(hostname -f) = box.rack.default.svc.cluster.local; \
                 grep \"^$IP.box.rack.default.svc.cluster.local.box$\" /etc/hosts",
                &json!({
                    "hostname": "box",
                    "subdomain": "rack",
                    "main": { "env": [field("IP", "status.podIP")] },
                }),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "setHostnameAsFQDN: the whole name is the host name",
            pod: judge(
                "fqdn",
                "test $(hostname) = box.rack.default.svc.cluster.local; test $(hostname -f) = $(hostname)",
                &json!({ "hostname": "box", "subdomain": "rack", "setHostnameAsFQDN": true }),
            ),
            check: Check::Phase("Succeeded"),
        },
    ]
}

fn field(name: &str, path: &str) -> Value {
    json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } })
}

fn fields() -> Vec<Behaviour> {
    vec![Behaviour {
        what: "a pod is told its uid, a label, an annotation and what it asks for",
        pod: {
            let resource = |name: &str, resource: &str, divisor: &str| {
                json!({ "name": name, "valueFrom": { "resourceFieldRef": {
                        "resource": resource, "divisor": divisor } } })
            };
            let mut pod = judge(
                "told-more",
                "test ${#UID_} -ge 32; test $APP.$NOTE = told-more.remember; test $MILLI.$MEGA = 250.64",
                &json!({ "main": {
                    "resources": { "requests": { "cpu": "250m", "memory": "64Mi" } },
                    "env": [
                        field("UID_", "metadata.uid"),
                        field("APP", "metadata.labels['app']"),
                        field("NOTE", "metadata.annotations['note']"),
                        resource("MILLI", "requests.cpu", "1m"),
                        resource("MEGA", "requests.memory", "1Mi"),
                    ],
                }}),
            );
            pod["metadata"]["annotations"] = json!({ "note": "remember" });
            pod
        },
        check: Check::Phase("Succeeded"),
    }]
}
