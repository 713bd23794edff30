//! Namespaces, users and rights, seen from inside.

use std::path::Path;

use serde_json::json;

use super::manifest::{container, judge, server};
use super::scene::{Behaviour, Check, Scene};

pub(crate) fn behaviours(scene: &Scene<'_>) -> Vec<Behaviour> {
    let mut all = namespaces();
    all.extend(rights());
    all.extend(seccomp(scene));
    all.push(group_of_a_volume());
    if !Path::new("/sys/kernel/security/apparmor").exists() {
        all.push(without_app_armor());
    }
    all
}

fn namespaces() -> Vec<Behaviour> {
    let other = container("other", "sleep 4321");
    vec![
        Behaviour {
            what: "hostNetwork: the pod has the node's addresses",
            pod: judge(
                "host-network",
                "ip address show lo | grep 10.99.0.1",
                &json!({ "hostNetwork": true }),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "hostPID: the node's first process is seen",
            pod: judge(
                "host-pid",
                "test $$ != 1; grep inside /proc/1/cmdline",
                &json!({ "hostPID": true }),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "hostUsers false: root inside is nobody special outside",
            pod: judge(
                "users",
                "test $(id -u) = 0; test $(awk '{ print $2 }' /proc/self/uid_map) -ge 65536",
                &json!({ "hostUsers": false }),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "shareProcessNamespace: one container sees the other's processes",
            pod: {
                let mut pod = judge(
                    "share",
                    "until ps | grep '[s]leep 4321'; do sleep 0.2; done; kill -KILL $(ps | awk '/[s]leep 4321/ { print $1 }')",
                    &json!({ "shareProcessNamespace": true }),
                );
                let containers = pod["spec"]["containers"].as_array_mut().unwrap();
                containers.push(other);
                pod
            },
            // The other one was killed.
            check: Check::Phase("Failed"),
        },
    ]
}

fn rights() -> Vec<Behaviour> {
    vec![
        Behaviour {
            what: "runAsUser, runAsGroup, supplementalGroups and fsGroup",
            pod: judge(
                "user",
                "test \"$(id -u) $(id -g)\" = '1000 1001'; id -G | grep 1002; touch /v/file; stat -c %g /v/file | grep 2000",
                &json!({
                    "securityContext": { "runAsUser": 1000, "runAsGroup": 1001, "supplementalGroups": [1002], "fsGroup": 2000 },
                    "volumes": [{ "name": "v", "emptyDir": {} }],
                    "main": { "volumeMounts": [{ "name": "v", "mountPath": "/v" }] },
                }),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "runAsNonRoot refuses a root container",
            pod: judge(
                "root",
                "true",
                &json!({ "securityContext": { "runAsNonRoot": true } }),
            ),
            check: Check::Waits("CreateContainerConfigError"),
        },
        Behaviour {
            what: "no capabilities, a seccomp filter, no new privileges, a root that is read-only",
            pod: judge(
                "confined",
                "! touch /file; grep 'CapEff:.*0000000000000000' /proc/self/status; grep 'Seccomp:.*2' /proc/self/status; grep 'NoNewPrivs:.*1' /proc/self/status",
                &json!({
                    "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
                    "main": { "securityContext": {
                        "readOnlyRootFilesystem": true,
                        "allowPrivilegeEscalation": false,
                        "capabilities": { "drop": ["ALL"] },
                    }},
                }),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "a privileged container may mount",
            pod: judge(
                "privileged",
                "mount -t tmpfs none /mnt || { mkdir /mnt; mount -t tmpfs none /mnt; }",
                &json!({
                    "main": { "securityContext": { "privileged": true } },
                }),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "a sysctl of the pod's own namespaces is set",
            pod: judge(
                "sysctl",
                "grep 4242 /proc/sys/net/ipv4/ip_local_port_range || test \"$(cat /proc/sys/net/ipv4/ip_local_port_range)\" = \"$(printf '4242\\t60999')\"",
                &json!({
                    "securityContext": { "sysctls": [{ "name": "net.ipv4.ip_local_port_range", "value": "4242 60999" }] },
                }),
            ),
            check: Check::Phase("Succeeded"),
        },
    ]
}

/// Profiles from files of the node.
fn seccomp(scene: &Scene<'_>) -> Vec<Behaviour> {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }],
    });
    scene.put_in_node(
        &scene.runner.seccomp_profiles().join("no-folders.json"),
        &profile.to_string(),
    );
    let localhost = |file: &str| json!({ "securityContext": { "seccompProfile": { "type": "Localhost", "localhostProfile": file } } });
    vec![
        Behaviour {
            what: "a seccomp profile of the node's forbids what it says",
            pod: judge(
                "seccomp-file",
                "mkdir /folder 2>&1 | grep 'not supported'; touch /file",
                &localhost("no-folders.json"),
            ),
            check: Check::Phase("Succeeded"),
        },
        Behaviour {
            what: "a seccomp profile that is not there is an error of the container",
            pod: server("seccomp-missing", "", &localhost("none.json")),
            check: Check::Waits("CreateContainerError"),
        },
    ]
}

fn group_of_a_volume() -> Behaviour {
    Behaviour {
        what: "fsGroupChangePolicy OnRootMismatch leaves files alone when a container starts again",
        pod: server(
            "on-root-mismatch",
            "set -ex; stat -c %g /v | grep -x 2000; \
             if test -e /v/file; then stat -c %g /v/file | grep -x 7; else touch /v/file; chgrp 7 /v/file; false; fi",
            &json!({
                "restartPolicy": "OnFailure",
                "securityContext": { "fsGroup": 2000, "fsGroupChangePolicy": "OnRootMismatch" },
                "volumes": [{ "name": "v", "emptyDir": {} }],
                "main": { "volumeMounts": [{ "name": "v", "mountPath": "/v" }] },
            }),
        ),
        check: Check::Phase("Succeeded"),
    }
}

fn without_app_armor() -> Behaviour {
    Behaviour {
        what: "a pod that asks for AppArmor is rejected where the kernel has none",
        pod: server(
            "app-armor",
            "sleep 1000",
            &json!({ "securityContext": { "appArmorProfile": { "type": "RuntimeDefault" } } }),
        ),
        check: Check::Status(|pod| {
            let status = &pod["status"];
            status["phase"] == "Failed"
                && status["reason"] == "AppArmor"
                && status["message"]
                    == "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"
        }),
    }
}
