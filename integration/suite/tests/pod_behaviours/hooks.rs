//! How containers are stopped, and the hooks after their start and before their stop, of each kind.

use serde_json::{Value, json};

use super::manifest::{container, judge, pod, server};
use super::scene::{Behaviour, Check, Scene, first_container};

/// Goes on until it is told to end.
const SERVES: &str = "trap 'exit 0' TERM; sleep 1000 & wait";

pub(crate) fn behaviours(scene: &Scene<'_>) -> Vec<Behaviour> {
    let volume = json!([{ "name": "shared", "hostPath": { "path": scene.shared } }]);
    let mut all = signals(&volume);
    all.extend(hooks(&volume));
    all.push(failing());
    all
}

fn shared(mut container: Value) -> Value {
    container["volumeMounts"] = json!([{ "name": "shared", "mountPath": "/shared" }]);
    container
}

/// A pod that may take its time to end, of containers that see the shared folder.
fn patient(name: &str, containers: Vec<Value>, volume: &Value) -> Value {
    let containers: Vec<Value> = containers.into_iter().map(shared).collect();
    let fields = json!({ "volumes": volume, "terminationGracePeriodSeconds": 20 });
    pod(name, &json!(containers), &fields)
}

fn signals(volume: &Value) -> Vec<Behaviour> {
    let term = "trap 'echo TERM >/shared/term; exit 0' TERM; sleep 1000 & wait";
    let usr1 = "trap 'echo USR1 >/shared/usr1; exit 0' USR1; sleep 1000 & wait";
    let mut own = patient("usr1", vec![container("main", usr1)], volume);
    own["spec"]["os"] = json!({ "name": "linux" });
    own["spec"]["containers"][0]["lifecycle"] = json!({ "stopSignal": "SIGUSR1" });
    vec![
        Behaviour {
            what: "a stopped container gets SIGTERM and its time",
            pod: patient("term", vec![container("main", term)], volume),
            check: Check::RemovedLeaves("term", "TERM"),
        },
        Behaviour {
            what: "a container is stopped by the signal that it asks for",
            pod: own,
            check: Check::RemovedLeaves("usr1", "USR1"),
        },
    ]
}

fn hooks(volume: &Value) -> Vec<Behaviour> {
    let mut commands = container("main", SERVES);
    commands["lifecycle"] = json!({
        "postStart": { "exec": { "command": ["touch", "/begun"] } },
        "preStop": { "exec": { "command": ["sh", "-c", "ls /begun >/shared/pre-stop"] } },
    });
    let mut slow = container(
        "slow",
        "trap 'test $(($(cut -d. -f1 /proc/uptime) - $(cat /shared/quick))) -ge 2 && echo later >/shared/slept; exit 0' TERM; sleep 1000 & wait",
    );
    slow["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": 3 } } });
    let quick = container(
        "quick",
        "trap 'cut -d. -f1 /proc/uptime >/shared/quick; exit 0' TERM; sleep 1000 & wait",
    );
    vec![
        Behaviour {
            what: "postStart runs after the start, preStop before the stop",
            pod: patient("hooks", vec![commands], volume),
            check: Check::RemovedLeaves("pre-stop", "/begun"),
        },
        Behaviour {
            what: "postStart and preStop ask by http",
            pod: asks_by_http(volume),
            check: Check::RemovedLeaves("asked", "started\nstopping"),
        },
        Behaviour {
            what: "preStop sleeps, and then the container is stopped",
            pod: patient("sleeps", vec![slow, quick], volume),
            check: Check::RemovedLeaves("slept", "later"),
        },
        Behaviour {
            what: "while postStart sleeps, what comes after the container waits",
            pod: {
                let mut first =
                    container("first", "cut -d. -f1 /proc/uptime >/v/first; sleep 1000");
                first["restartPolicy"] = json!("Always");
                first["lifecycle"] = json!({ "postStart": { "sleep": { "seconds": 3 } } });
                first["volumeMounts"] = json!([{ "name": "v", "mountPath": "/v" }]);
                judge(
                    "sleeps-first",
                    "test $(($(cut -d. -f1 /proc/uptime) - $(cat /v/first))) -ge 2",
                    &json!({
                        "initContainers": [first],
                        "terminationGracePeriodSeconds": 10,
                        "volumes": [{ "name": "v", "emptyDir": {} }],
                        "main": { "volumeMounts": [{ "name": "v", "mountPath": "/v" }] },
                    }),
                )
            },
            check: Check::Phase("Succeeded"),
        },
    ]
}

/// A sidecar writes down what it is asked; it is there before the other container, and after it.
fn asks_by_http(volume: &Value) -> Value {
    let script = "mkdir -p /www/cgi-bin; \
        printf '#!/bin/sh\\necho $HTTP_X_WHAT >>/shared/asked\\necho\\necho\\n' >/www/cgi-bin/hook; \
        chmod +x /www/cgi-bin/hook; exec httpd -f -p 8080 -h /www";
    let mut listens = shared(container("listens", script));
    listens["restartPolicy"] = json!("Always");
    listens["ports"] = json!([{ "name": "http", "containerPort": 8080 }]);
    listens["startupProbe"] = json!({ "tcpSocket": { "port": "http" }, "periodSeconds": 1 });
    let ask = |what: &str| {
        json!({ "httpGet": {
            "path": "/cgi-bin/hook",
            "port": 8080,
            "httpHeaders": [{ "name": "X-What", "value": what }],
        }})
    };
    let mut main = container("main", SERVES);
    main["lifecycle"] = json!({ "postStart": ask("started"), "preStop": ask("stopping") });
    let mut pod = patient("asks-by-http", vec![main], volume);
    pod["spec"]["initContainers"] = json!([listens]);
    pod
}

fn failing() -> Behaviour {
    Behaviour {
        what: "a postStart that fails ends its container, which is tried again",
        pod: server(
            "hook-fails",
            SERVES,
            &json!({ "main": {
                "lifecycle": { "postStart": { "exec": { "command": ["false"] } } },
            }}),
        ),
        check: Check::Status(|pod| first_container(pod)["restartCount"].as_u64() >= Some(1)),
    }
}
