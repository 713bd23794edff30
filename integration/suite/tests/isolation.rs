//! What namespaces, sysctls and the flags of security contexts keep a program from, shown by what it sees and may do.
#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

use carpel_integration::node::{Node, repository};
use carpel_integration::request::{container, pod, write_new};
use serde_json::{Value, json};

/// CRI NamespaceMode.
const POD: u32 = 0;
const CONTAINER: u32 = 1;
const NODE: u32 = 2;
const TARGET: u32 = 3;

/// A request, of a pod or a container, with other modes of its namespaces.
fn with_namespaces(mut request: Value, modes: &Value) -> Value {
    request["linux"]["security_context"]["namespace_options"] = modes.clone();
    request
}

fn with_security(name: &str, fields: &Value) -> Value {
    let mut request = container(name, &["sleep", "1000"]);
    for (field, value) in fields.as_object().unwrap() {
        request["linux"]["security_context"][field] = value.clone();
    }
    request
}

/// The first words of all processes that a program sees: arguments, or names in brackets.
const PROCESSES: &str = "for process in /proc/[0-9]*; do \
    echo ${process#/proc/} $(tr '\\0' ' ' <$process/cmdline); done";

#[test]
fn root_processes_are_seen_as_far_as_the_pid_mode_says() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let mut pods = Vec::new();
    for mode in [POD, CONTAINER, NODE] {
        let modes = json!({ "pid": mode });
        let pod = node.run_pod(with_namespaces(pod(&format!("pid-{mode}")), &modes));
        let run = |name: &str, seconds: &str, modes: &Value| {
            let request = container(&format!("{name}-{mode}"), &["sleep", seconds]);
            node.start_container(&pod, &with_namespaces(request, modes))
        };
        let neighbour = run("neighbour", "4242", &modes);
        let first = run("first", "4343", &modes);
        let seen = node.ask_inside(&first, PROCESSES);
        let daemon = format!("{} ", node.daemon_pid());
        let daemon_is_seen = seen
            .lines()
            .any(|line| line.starts_with(&daemon) && line.contains(" serve"));
        assert!(seen.contains("sleep 4343"), "{mode}: {seen}");
        assert_eq!(seen.contains("sleep 4242"), mode != CONTAINER, "{seen}");
        let is_the_first = seen.lines().any(|line| line.trim() == "1 sleep 4343");
        assert_eq!(is_the_first, mode == CONTAINER, "{seen}");
        assert_eq!(seen.starts_with("1 carpel-shim"), mode == POD, "{seen}");
        assert_eq!(daemon_is_seen, mode == NODE, "{seen}");
        if mode == CONTAINER {
            // As an ephemeral container of a debugger.
            let modes = json!({ "pid": TARGET, "target_id": neighbour });
            let debugger = run("debugger", "4444", &modes);
            let seen = node.ask_inside(&debugger, PROCESSES);
            assert!(seen.starts_with("1 sleep 4242"), "{seen}");
            assert!(!seen.contains("sleep 4343"), "{seen}");
            // It may be signalled, too.
            assert_eq!(node.ask_inside(&debugger, "kill -0 1"), "");
        }
        pods.push(pod);
    }
    for pod in &pods {
        node.remove_pod(pod);
    }
    node.finish();
}

#[test]
fn root_memory_is_shared_as_far_as_the_ipc_mode_says() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let of_the_node = format!("carpel-test-{}", std::process::id());
    let file = node.path_inside("/dev/shm").join(&of_the_node);
    write_new(&file, b"of the node");
    let host = std::fs::read_link(node.proc().join("1/ns/ipc")).unwrap();
    let mut namespaces = Vec::new();
    for (name, mode) in [("ipc-one", POD), ("ipc-two", POD), ("ipc-node", NODE)] {
        let modes = json!({ "ipc": mode, "pid": CONTAINER });
        let pod = node.run_pod(with_namespaces(pod(name), &modes));
        let run = |name: &str| {
            let request = container(name, &["sleep", "1000"]);
            node.start_container(&pod, &with_namespaces(request, &modes))
        };
        let (one, two) = (run("one"), run("two"));
        let shared = format!("/dev/shm/{of_the_node}-of-{name}");
        let said = node.ask_inside(&one, &format!("echo of the pod > {shared}; ls /dev/shm"));
        assert_eq!(
            said.contains(&format!("{of_the_node}\n")),
            mode == NODE,
            "{said}"
        );
        assert_eq!(said.matches("-of-").count(), 1, "{said}");
        let said = node.ask_inside(&two, &format!("cat {shared} && rm {shared}"));
        assert_eq!(said, "of the pod");
        let namespace = |id: &str| node.ask_inside(id, "readlink /proc/self/ns/ipc");
        assert_eq!(namespace(&one), namespace(&two));
        assert_eq!(namespace(&one) == host.to_str().unwrap(), mode == NODE);
        namespaces.push(namespace(&one));
        node.remove_pod(&pod);
    }
    assert_ne!(namespaces[0], namespaces[1]);
    std::fs::remove_file(file).unwrap();
    node.finish();
}

#[test]
fn root_the_node_is_reached_at_its_loopback_with_its_network_alone() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    for (mode, reaches) in [(POD, false), (NODE, true)] {
        let modes = json!({ "network": mode, "pid": CONTAINER });
        let pod = node.run_pod(with_namespaces(pod(&format!("network-{mode}")), &modes));
        let request = with_namespaces(container("asks", &["sleep", "1000"]), &modes);
        let id = node.start_container(&pod, &request);
        // The registry of the node listens there.
        let said = node.ask_inside(&id, "nc -w 5 127.0.0.1 5000 </dev/null && echo reached");
        assert_eq!(said.contains("reached"), reaches, "{mode}: {said}");
        let names = node.ask_inside(&id, "hostname; grep -c eth0: /proc/net/dev");
        let expected = if reaches {
            "carpel-node\n0"
        } else {
            "network-0\n1"
        };
        assert_eq!(names, expected);
        node.remove_pod(&pod);
    }
    node.finish();
}

#[test]
fn root_sysctls_are_in_force_in_their_pod_and_in_no_other() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let mut request = pod("sysctls");
    request["linux"]["sysctls"] = json!({
        "net.ipv4.ip_unprivileged_port_start": "1000",
        "kernel.shm_rmid_forced": "1",
    });
    let (with, without) = (node.run_pod(request), node.run_pod(pod("none")));
    let user = with_security("user", &json!({ "run_as_user": { "value": 1000 } }));
    let read = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced";
    let inside = node.start_container(&with, &user);
    assert_eq!(node.ask_inside(&inside, read), "1000\n1");
    let listen = |port: u32| {
        let script = format!(
            "nc -l -p {port} -e true & for try in 1 2 3 4 5 6 7 8 9 10; do \
             nc -w 2 127.0.0.1 {port} </dev/null 2>/dev/null && echo connected && break; sleep 0.1; done; kill $! 2>/dev/null"
        );
        node.ask_inside(&inside, &script)
    };
    let said = listen(999);
    assert!(said.contains("Permission denied"), "{said}");
    let said = listen(1000);
    assert!(said.contains("connected"), "{said}");
    let other = node.start_container(&without, &user);
    let said = node.ask_inside(&other, read);
    assert!(!said.contains("1000") && said.ends_with("\n0"), "{said}");
    for pod in [&with, &without] {
        node.remove_pod(pod);
    }
    node.finish();
}

#[test]
fn root_a_read_only_root_is_written_by_nobody() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("readonly"));
    for is_readonly in [true, false] {
        let request = with_security(
            &format!("readonly-{is_readonly}"),
            &json!({ "readonly_rootfs": is_readonly, "capabilities": { "add_capabilities": ["SYS_ADMIN"] } }),
        );
        let id = node.start_container(&pod, &request);
        for (place, is_of_the_root) in [
            ("/made", true),
            ("/etc/made", true),
            ("/bin/busybox", true),
            ("/etc/hosts", true),
            ("/dev/shm/made", false),
        ] {
            let said = node.ask_inside(&id, &format!("touch {place} && echo done"));
            let refused = said.contains("Read-only file system");
            assert_eq!(refused, is_readonly && is_of_the_root, "{place}: {said}");
            assert_eq!(said == "done", !refused, "{place}: {said}");
        }
    }
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_without_new_privileges_a_setuid_program_is_its_callers() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let program = node.work.join("who");
    let built = repository().join("integration/tools/bin/image-nonewprivs");
    std::fs::copy(built, &program).unwrap();
    let setuid = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
    std::fs::set_permissions(&program, setuid).unwrap();
    let pod = node.run_pod(pod("privileges"));
    for (is_kept, says) in [(false, "Effective uid: 0"), (true, "Effective uid: 1000")] {
        let fields = json!({ "run_as_user": { "value": 1000 }, "no_new_privs": is_kept });
        let mut request = with_security(&format!("no-new-privs-{is_kept}"), &fields);
        request["mounts"] = json!([{ "container_path": "/who", "host_path": program }]);
        request["command"] = json!(["sh", "-c", "/who; sleep 1000"]);
        let id = node.start_container(&pod, &request);
        assert_eq!(node.ask_inside(&id, "/who"), says);
        carpel_integration::wait::wait_for(
            "what the first program says",
            std::time::Duration::from_secs(20),
            || (node.ask(&["logs", &id]).trim() == says).then_some(()),
        );
    }
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_capabilities_that_are_dropped_are_missed_and_those_added_are_there() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("capabilities"));
    // What takes CAP_CHOWN and CAP_MKNOD, of the default set, and CAP_NET_ADMIN.
    let ask = "touch /x; chown 7 /x 2>/dev/null && echo chown; mknod /null c 1 3 2>/dev/null && echo mknod; \
               ip link set lo mtu 1400 2>/dev/null && echo network; true";
    for (name, capabilities, may) in [
        ("default", json!({}), "chown\nmknod"),
        (
            "dropped",
            json!({ "drop_capabilities": ["CHOWN"] }),
            "mknod",
        ),
        ("none", json!({ "drop_capabilities": ["ALL"] }), ""),
        (
            "one",
            json!({ "drop_capabilities": ["ALL"], "add_capabilities": ["CHOWN"] }),
            "chown",
        ),
        (
            "added",
            json!({ "add_capabilities": ["NET_ADMIN"] }),
            "chown\nmknod\nnetwork",
        ),
        (
            "all-but-one",
            json!({ "add_capabilities": ["ALL"], "drop_capabilities": ["MKNOD"] }),
            "chown\nnetwork",
        ),
    ] {
        let request = with_security(name, &json!({ "capabilities": capabilities }));
        let id = node.start_container(&pod, &request);
        assert_eq!(node.ask_inside(&id, ask), may, "{name}");
    }
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_a_score_for_the_oom_killer_is_that_of_all_programs() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("oom"));
    let ask = "cat /proc/1/oom_score_adj /proc/self/oom_score_adj; cat /proc/1/oom_score";
    let mut scores = Vec::new();
    for adjustment in [100, 900] {
        let mut request = container(&format!("score-{adjustment}"), &["sleep", "1000"]);
        request["linux"]["resources"] = json!({ "oom_score_adj": adjustment });
        let id = node.start_container(&pod, &request);
        let said = node.ask_inside(&id, ask);
        let mut numbers = said.lines().map(|line| line.parse::<i32>().unwrap());
        assert_eq!(
            numbers.next(),
            Some(adjustment),
            "the first program: {said}"
        );
        assert_eq!(numbers.next(), Some(adjustment), "an exec: {said}");
        scores.extend(numbers.next());
    }
    assert!(
        scores[0] < scores[1],
        "whom the kernel kills first: {scores:?}"
    );
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_only_a_privileged_pod_has_privileged_containers() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let asks = with_security("privileged", &json!({ "privileged": true }));
    for is_privileged in [false, true] {
        let mut request = pod(&format!("privileged-{is_privileged}"));
        request["linux"]["security_context"]["privileged"] = json!(is_privileged);
        let pod = node.run_pod(request);
        // Pulls the image.
        let ordinary = node.start_container(&pod, &container("ordinary", &["sleep", "1000"]));
        let ask = "mkdir -p /m && mount -t tmpfs m /m && echo mounted";
        let said = node.ask_inside(&ordinary, ask);
        assert!(!said.contains("mounted"), "{said}");
        if is_privileged {
            let privileged = node.start_container(&pod, &asks);
            assert_eq!(node.ask_inside(&privileged, ask), "mounted");
        } else {
            let file = node.write_request(&asks);
            let arguments = ["create", &pod.0, &file, &pod.1];
            node.is_refused(&arguments, &["InvalidArgument"], &["privileged"]);
        }
        node.remove_pod(&pod);
    }
    node.finish();
}

/// What a sandbox's security context asks for shapes no process: the one that holds the namespaces has the least there is.
#[test]
fn root_the_process_of_the_sandbox_has_the_least_whatever_is_asked() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let modes = json!({ "pid": POD });
    for (name, fields) in [
        ("least-default", json!({})),
        (
            "least-asked",
            json!({
                "privileged": true, "readonly_rootfs": false, "supplemental_groups": [1234],
                "supplemental_groups_policy": 1, "run_as_user": { "value": 0 }, "run_as_group": { "value": 0 },
                "seccomp": { "profile_type": 1 }, "apparmor": { "profile_type": 1 }, "seccomp_profile_path": "unconfined",
            }),
        ),
        (
            "least-confined",
            json!({ "seccomp": { "profile_type": 0 }, "apparmor": { "profile_type": 0 } }),
        ),
    ] {
        let mut request = with_namespaces(pod(name), &modes);
        for (field, value) in fields.as_object().unwrap() {
            request["linux"]["security_context"][field] = value.clone();
        }
        let pod = node.run_pod(request);
        let request = with_namespaces(container("looks", &["sleep", "1000"]), &modes);
        let id = node.start_container(&pod, &request);
        let status = node.ask_inside(&id, "cat /proc/1/status");
        for line in [
            "Name:\tcarpel-infra",
            "Uid:\t65535\t65535\t65535\t65535",
            "Gid:\t65535\t65535\t65535\t65535",
            "Groups:\t ",
            "CapEff:\t0000000000000000",
            "CapBnd:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ] {
            let is_there = status.lines().any(|found| found == line);
            assert!(is_there, "{name}: {line} in {status}");
        }
        // One more than a program without a profile has, which may have some of this machine's.
        let filters = |file: &str| {
            let said = node.ask_inside(&id, &format!("grep Seccomp_filters {file}"));
            said.rsplit('\t').next().unwrap().parse::<u32>().unwrap()
        };
        assert_eq!(filters("/proc/1/status"), filters("/proc/self/status") + 1);
        node.remove_pod(&pod);
    }
    node.finish();
}
