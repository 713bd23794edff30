//! Containers that start, are probed, finish, fail and never start.

use serde_json::{Value, json};

use super::manifest::{container, judge, pod, server};
use super::scene::{Behaviour, Check, first_container, is_ready};

const SLEEP: &str = "sleep 1000 & wait";

pub(crate) fn behaviours() -> Vec<Behaviour> {
    let mut all = starting();
    all.extend(probes());
    all.extend(probes_of_servers());
    all.extend(ending());
    all.extend(restarting());
    all.extend(never_starting());
    all
}

fn starting() -> Vec<Behaviour> {
    let web = container(
        "web",
        "echo hello >/tmp/index.html; exec httpd -f -p 127.0.0.1:8080 -h /tmp",
    );
    let asks = container(
        "asks",
        "until wget -q -O /got http://127.0.0.1:8080/; do sleep 0.2; done; sleep 1000",
    );
    let mut asks = asks;
    asks["readinessProbe"] =
        json!({ "exec": { "command": ["grep", "hello", "/got"] }, "periodSeconds": 1 });
    let volume = json!([{ "name": "v", "emptyDir": {} }]);
    let at = json!([{ "name": "v", "mountPath": "/v" }]);
    let with = |name: &str, script: &str| {
        let mut made = container(name, script);
        made["volumeMounts"] = at.clone();
        made
    };
    let mut sidecar = with("sidecar", "touch /v/sidecar; sleep 1000");
    sidecar["restartPolicy"] = json!("Always");
    sidecar["startupProbe"] =
        json!({ "exec": { "command": ["test", "-e", "/v/sidecar"] }, "periodSeconds": 1 });
    vec![
        Behaviour {
            what: "a pod with one container runs and is ready",
            pod: server("one", SLEEP, &json!({})),
            check: Check::Ready,
        },
        Behaviour {
            what: "two containers share 127.0.0.1",
            pod: pod("two", &json!([web, asks]), &json!({})),
            check: Check::Ready,
        },
        Behaviour {
            what: "init containers run one after another, before the others",
            pod: judge(
                "init",
                "test \"$(cat /v/file)\" = 12",
                &json!({
                    "initContainers": [with("first", "printf 1 >>/v/file"), with("second", "printf 2 >>/v/file")],
                    "volumes": volume,
                    "main": { "volumeMounts": at },
                }),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "a sidecar is started before the others, and ends after them",
            pod: judge(
                "sidecar",
                "test -e /v/sidecar",
                &json!({
                    "initContainers": [sidecar],
                    "volumes": volume,
                    "main": { "volumeMounts": at },
                }),
            ),
            check: Check::Phase("Succeeded"),
        },
    ]
}

/// A probe each second.
fn probe(kind: &str, of: Value, more: &Value) -> Value {
    let mut probe = json!({ kind: of, "periodSeconds": 1 });
    for (key, value) in more.as_object().unwrap() {
        probe[key] = value.clone();
    }
    probe
}

fn probes() -> Vec<Behaviour> {
    vec![
        Behaviour {
            what: "an exec probe that fails restarts its container",
            pod: server(
                "alive",
                SLEEP,
                &json!({ "main": {
                    "livenessProbe": probe("exec", json!({ "command": ["false"] }), &json!({ "failureThreshold": 1 })),
                }}),
            ),
            check: Check::Status(|pod| first_container(pod)["restartCount"].as_u64() >= Some(1)),
        },
        Behaviour {
            what: "an http probe makes a container ready",
            pod: server(
                "web",
                "exec httpd -f -p 8080 -h /tmp",
                &json!({ "main": {
                    "lifecycle": { "postStart": { "exec": { "command": ["touch", "/tmp/index.html"] } } },
                    "readinessProbe": probe("httpGet", json!({ "path": "/index.html", "port": 8080 }), &json!({})),
                }}),
            ),
            check: Check::Ready,
        },
        Behaviour {
            what: "a tcp probe tells that a container has started",
            pod: server(
                "late",
                "sleep 2; exec httpd -f -p 9000 -h /tmp",
                &json!({ "main": {
                    "startupProbe": probe("tcpSocket", json!({ "port": 9000 }), &json!({ "failureThreshold": 100 })),
                }}),
            ),
            check: Check::Status(|pod| first_container(pod)["started"] == true && is_ready(pod)),
        },
        Behaviour {
            what: "a container whose probe fails is not ready",
            pod: server(
                "unready",
                SLEEP,
                &json!({ "main": {
                    "readinessProbe": probe("tcpSocket", json!({ "port": 9000 }), &json!({})),
                }}),
            ),
            check: Check::Status(|pod| {
                pod["status"]["phase"] == "Running" && first_container(pod)["ready"] == false
            }),
        },
    ]
}

/// By protocols that busybox does not speak.
fn probes_of_servers() -> Vec<Behaviour> {
    vec![
        Behaviour {
            what: "a gRPC probe makes a container ready",
            pod: server(
                "health",
                "",
                &json!({ "main": {
                    "image": "registry.k8s.io/carpel-test/health:1",
                    "command": ["/health"],
                    "readinessProbe": probe("grpc", json!({ "port": 9000 }), &json!({})),
                }}),
            ),
            check: Check::Ready,
        },
        Behaviour {
            what: "an https probe takes a certificate that nobody else has signed",
            pod: server(
                "https",
                "",
                &json!({ "main": {
                    "image": "registry.k8s.io/carpel-test/health:1",
                    "command": ["/health"],
                    "readinessProbe": probe("httpGet", json!({ "port": 9443, "scheme": "HTTPS" }), &json!({})),
                }}),
            ),
            check: Check::Ready,
        },
    ]
}

fn ending() -> Vec<Behaviour> {
    vec![
        Behaviour {
            what: "a pod whose container ends with 0 succeeds",
            pod: judge("succeeds", "true", &json!({})),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "a pod whose container ends with another code fails, and tells it",
            pod: judge("fails", "exit 7", &json!({})),
            check: Check::Status(|pod| {
                let ended = &first_container(pod)["state"]["terminated"];
                pod["status"]["phase"] == "Failed"
                    && ended["exitCode"] == 7
                    && ended["reason"] == "Error"
            }),
        },
        Behaviour {
            what: "the termination message is read",
            pod: judge("message", "printf bye >/dev/termination-log", &json!({})),
            check: Check::Status(|pod| {
                first_container(pod)["state"]["terminated"]["message"] == "bye"
            }),
        },
        Behaviour {
            what: "the end of the log is the message, where that is asked for",
            pod: judge(
                "last-words",
                "echo these; false",
                &json!({
                    "main": { "terminationMessagePolicy": "FallbackToLogsOnError" },
                }),
            ),
            check: Check::Status(|pod| {
                let message = &first_container(pod)["state"]["terminated"]["message"];
                message
                    .as_str()
                    .is_some_and(|message| message.contains("these"))
            }),
        },
        Behaviour {
            what: "a container that ends again and again is in CrashLoopBackOff",
            pod: server("crashes", "exit 3", &json!({})),
            check: Check::Status(|pod| {
                let container = first_container(pod);
                container["restartCount"].as_u64() >= Some(2)
                    && container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
                    && container["lastState"]["terminated"]["exitCode"] == 3
            }),
        },
    ]
}

/// By what a container says itself, whatever the pod's policy is.
fn restarting() -> Vec<Behaviour> {
    let rules = json!([{ "action": "Restart", "exitCodes": { "operator": "In", "values": [42] } }]);
    let own = json!({ "restartPolicy": "Never", "restartPolicyRules": rules });
    // The first time it ends as the rule says.
    let once = "test -e /v/file && exit 7; touch /v/file; exit 42";
    let mut fields = json!({ "volumes": [{ "name": "v", "emptyDir": {} }], "main": own });
    fields["main"]["volumeMounts"] = json!([{ "name": "v", "mountPath": "/v" }]);
    let mut tries = container("tries", once.replace("exit 7", "exit 0").as_str());
    tries["restartPolicy"] = json!("Never");
    tries["restartPolicyRules"] = own["restartPolicyRules"].clone();
    tries["volumeMounts"] = fields["main"]["volumeMounts"].clone();
    vec![
        Behaviour {
            what: "a rule restarts a container that ends with its code, and no other code",
            pod: pod("rules", &json!([container("main", once)]), &fields),
            check: Check::Status(|pod| {
                let container = first_container(pod);
                pod["status"]["phase"] == "Failed"
                    && container["restartCount"] == 1
                    && container["state"]["terminated"]["exitCode"] == 7
            }),
        },
        Behaviour {
            what: "a container may end for good in a pod that restarts the others",
            pod: pod(
                "own-policy",
                &json!([container("main", "exit 7"), container("stays", SLEEP)]),
                &json!({ "main": { "restartPolicy": "Never" } }),
            ),
            check: Check::Status(|pod| {
                let container = first_container(pod);
                pod["status"]["phase"] == "Running"
                    && container["restartCount"] == 0
                    && container["state"]["terminated"]["exitCode"] == 7
            }),
        },
        Behaviour {
            what: "an init container is tried again by a rule where the pod would fail",
            pod: judge(
                "init-rules",
                "true",
                &json!({ "initContainers": [tries], "volumes": fields["volumes"] }),
            ),
            check: Check::Status(|pod| {
                pod["status"]["phase"] == "Succeeded"
                    && pod["status"]["initContainerStatuses"][0]["restartCount"] == 1
            }),
        },
    ]
}

fn never_starting() -> Vec<Behaviour> {
    vec![
        Behaviour {
            what: "a program that is not there is a StartError that names it",
            pod: server(
                "nothing",
                "",
                &json!({
                    "restartPolicy": "Never",
                    "main": { "command": ["/no/such/program"] },
                }),
            ),
            check: Check::Status(|pod| {
                let ended = &first_container(pod)["state"]["terminated"];
                ended["reason"] == "StartError"
                    && ended["exitCode"] == 128
                    && ended["message"]
                        .as_str()
                        .is_some_and(|text| text.contains("/no/such/program"))
            }),
        },
        Behaviour {
            what: "an image that nobody has is tried again with a delay",
            pod: server(
                "no-image",
                "",
                &json!({ "main": { "image": "registry.k8s.io/no-such-image:1" } }),
            ),
            check: Check::Waits("ImagePullBackOff"),
        },
        Behaviour {
            what: "an image that may not be pulled must be there",
            pod: server(
                "never",
                "",
                &json!({
                    "main": { "image": "registry.k8s.io/no-such-image:1", "imagePullPolicy": "Never" },
                }),
            ),
            check: Check::Waits("ErrImageNeverPull"),
        },
    ]
}
