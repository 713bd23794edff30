//! The same pods as under a real kubelet (`kubelet_pods`), run by the agent of manifests; and what a kubelet needs an API
//! server for.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

mod pod_behaviours;

use std::path::PathBuf;

use carpel_integration::agent::Agent;
use carpel_integration::node::{Node, Runtime};
use carpel_integration::request::BUSYBOX;
use pod_behaviours::manifest::{judge, server};
use pod_behaviours::scene::{Behaviour, Check, PodRunner, Scene};
use serde_json::{Value, json};

/// Where a kubelet has its files, and an agent the seccomp profiles.
const KUBELET_FOLDER: &str = "/var/lib/kubelet";

impl PodRunner for Agent<'_> {
    fn apply(&self, pod: &Value) {
        Agent::apply(self, &pod.to_string());
    }

    fn remove(&self, name: &str) {
        self.tell(&["delete", "pod", name, "--timeout=60s"]);
    }

    fn pod(&self, name: &str) -> Option<Value> {
        Agent::pod(self, name)
    }

    fn logs(&self, name: &str) -> String {
        let output = self.run(&["logs", name]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn full_name(&self, name: &str) -> String {
        name.to_owned()
    }

    fn node_name(&self) -> &'static str {
        // Its host name.
        "carpel-node"
    }

    fn seccomp_profiles(&self) -> PathBuf {
        PathBuf::from(KUBELET_FOLDER).join("seccomp")
    }
}

#[test]
fn root_pods_of_the_agent_do_what_their_manifests_say() {
    let Some(node) = Node::start() else { return };
    let Some(agent) = Agent::start(&node) else {
        return;
    };
    // As a kubelet has it in the same test.
    let address = node
        .command("ip")
        .args(["address", "replace", "10.99.0.1/32", "dev", "lo"])
        .status();
    assert!(address.unwrap().success());
    // Only the node sees it.
    let own = format!("mkdir -p {KUBELET_FOLDER}; mount -t tmpfs kubelet {KUBELET_FOLDER}");
    let mounted = node.command("sh").args(["-ec", &own]).status();
    assert!(mounted.unwrap().success());
    for object in [
        json!({ "kind": "Secret", "apiVersion": "v1", "metadata": { "name": "user" },
            "stringData": { "name": "admin" } }),
        json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": "settings" },
            "data": { "colour": "blue", "size": "big" } }),
        json!({ "kind": "ServiceAccount", "apiVersion": "v1", "metadata": { "name": "reader" } }),
    ] {
        agent.apply(&object.to_string());
    }
    let scene = Scene::new(&node, &agent);
    let mut behaviours = pod_behaviours::all(&scene);
    behaviours.extend(objects());
    behaviours.extend(places());
    behaviours.extend(volumes());
    if node.runtime == Runtime::Containerd {
        // What containerd 1.6 does not have; the names of the pods.
        let missing = ["usr1", "users", "image"];
        behaviours.retain(|it| !missing.contains(&it.pod["metadata"]["name"].as_str().unwrap()));
    }
    scene.show(&behaviours);
    let pods = agent.ask(&["get", "pods", "-o", "name"]);
    let mut delete = vec!["delete", "--timeout=120s"];
    delete.extend(pods.lines());
    agent.tell(&delete);
    agent.assert_nothing_left();
    drop(agent);
    let unmounted = node.command("umount").arg(KUBELET_FOLDER).status();
    assert!(unmounted.unwrap().success());
    node.finish();
}

fn mounted(volume: Value, at: Value) -> Value {
    let mut volume = volume;
    volume["name"] = json!("v");
    let mut mount = at;
    mount["name"] = json!("v");
    json!({ "volumes": [volume], "main": { "volumeMounts": [mount] } })
}

fn objects() -> Vec<Behaviour> {
    let projected = json!({ "projected": { "defaultMode": 0o440, "sources": [
        { "secret": { "name": "user", "items": [{ "key": "name", "path": "who/name" }] } },
        { "configMap": { "name": "settings" } },
        { "downwardAPI": { "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] } },
        { "serviceAccountToken": { "path": "token", "audience": "vault" } },
    ] } });
    vec![
        Behaviour {
            what: "a projected volume joins Secret, ConfigMap, Downward API and token",
            pod: judge(
                "projected",
                "grep admin /v/who/name; grep blue /v/colour; grep projected /v/labels; \
                 test $(tr -d -c . </v/token | wc -c) = 2; test $(stat -L -c %a /v/colour) = 440",
                &mounted(projected, json!({ "mountPath": "/v" })),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "variables come from Secrets and ConfigMaps, all or one",
            pod: judge(
                "variables",
                "test $USER_NAME.$X_colour.$X_size = admin.blue.big",
                &json!({ "main": {
                    "env": [{ "name": "USER_NAME", "valueFrom": { "secretKeyRef": { "name": "user", "key": "name" } } }],
                    "envFrom": [{ "prefix": "X_", "configMapRef": { "name": "settings" } }],
                }}),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "a Secret that is not there is a CreateContainerConfigError",
            pod: server(
                "no-secret",
                "",
                &json!({ "main": {
                    "envFrom": [{ "secretRef": { "name": "none" } }],
                }}),
            ),
            check: Check::Waits("CreateContainerConfigError"),
        },
        Behaviour {
            what: "hostAliases are in /etc/hosts",
            pod: judge(
                "aliases",
                "grep '10.1.2.3.*foo.remote.*bar.remote' /etc/hosts",
                &json!({
                    "hostAliases": [{ "ip": "10.1.2.3", "hostnames": ["foo.remote", "bar.remote"] }],
                }),
            ),
            check: Check::Phase("Succeeded"),
        },
    ]
}

fn places() -> Vec<Behaviour> {
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    vec![
        Behaviour {
            what: "in the host's network, podIP and hostIP are the host's",
            pod: judge(
                "host-ip",
                "test $POD = $HOST; test \"${HOSTS%%,*}\" = $HOST; test \"${PODS%%,*}\" = $POD; \
                 ip address show | grep \"inet $HOST/\"",
                &json!({
                    "hostNetwork": true,
                    "main": { "env": [
                        field("POD", "status.podIP"),
                        field("PODS", "status.podIPs"),
                        field("HOST", "status.hostIP"),
                        field("HOSTS", "status.hostIPs"),
                    ]},
                }),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "a pod for another node stays Pending, Unschedulable",
            pod: server(
                "elsewhere",
                "",
                &json!({ "nodeSelector": { "disk": "none" } }),
            ),
            check: Check::Status(|pod| {
                let condition = &pod["status"]["conditions"][0];
                pod["status"]["phase"] == "Pending" && condition["reason"] == "Unschedulable"
            }),
        },
    ]
}

fn volumes() -> Vec<Behaviour> {
    let script = "test -e /v/file; test ! -e /v/sub; touch /v/other";
    vec![
        Behaviour {
            what: "subPath and subPathExpr mount a part of a volume",
            pod: {
                let at = json!({ "mountPath": "/v", "subPathExpr": "$(WHERE)" });
                let mut fields = mounted(json!({ "emptyDir": {} }), at);
                fields["main"]["env"] = json!([{ "name": "WHERE", "value": "sub" }]);
                fields["initContainers"] = json!([{
                    "name": "first",
                    "image": BUSYBOX,
                    "command": ["sh", "-c", "mkdir -p /all/sub; touch /all/sub/file"],
                    "volumeMounts": [{ "name": "v", "mountPath": "/all" }],
                }]);
                judge("sub-path", script, &fields)
            },
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "an image is a volume, read-only",
            pod: judge(
                "image",
                "test -x /v/health; ! touch /v/file",
                &mounted(
                    json!({ "image": { "reference": "registry.k8s.io/carpel-test/health:1" } }),
                    json!({ "mountPath": "/v" }),
                ),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "a pod that fills its emptyDir beyond sizeLimit is evicted",
            pod: server(
                "fills",
                "head -c 20000000 /dev/zero >/v/file; sleep 1000",
                &mounted(
                    json!({ "emptyDir": { "sizeLimit": "4Mi" } }),
                    json!({ "mountPath": "/v" }),
                ),
            ),
            check: Check::Status(|pod| {
                pod["status"]["phase"] == "Failed" && pod["status"]["reason"] == "Evicted"
            }),
        },
        Behaviour {
            what: "a hostPort is reached at the node",
            pod: judge(
                "port",
                "until wget -q -O - http://10.99.0.1:18081/ | grep page; do sleep 0.2; done",
                &json!({
                    "hostNetwork": true,
                }),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "the pod behind that hostPort",
            pod: server(
                "serves",
                "echo page >/tmp/index.html; exec httpd -f -p 8080 -h /tmp",
                &json!({ "main": {
                    "ports": [{ "containerPort": 8080, "hostPort": 18081 }],
                }}),
            ),
            check: Check::Ready,
        },
    ]
}
