//! Pods with user namespaces of their own (KEP-127), seen from inside a container and from the node.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use carpel_integration::node::Node;
use carpel_integration::request::{container, pod};
use carpel_integration::wait::wait_for;
use serde_json::{Value, json};

/// The node's ids of the pod's root, and how many follow.
const USERS: u32 = 100_000;
const GROUPS: u32 = 300_000;
const LENGTH: u32 = 65_536;

fn mapping(host_id: u32) -> Value {
    json!([{ "container_id": 0, "host_id": host_id, "length": LENGTH }])
}

/// A pod's or a container's request in a user namespace.
fn in_namespace(mut request: Value) -> Value {
    request["linux"]["security_context"]["namespace_options"]["userns_options"] =
        json!({ "mode": 0, "uids": mapping(USERS), "gids": mapping(GROUPS) });
    request
}

fn sleeper(name: &str) -> Value {
    in_namespace(container(name, &["sleep", "1000"]))
}

#[test]
fn root_the_pods_root_is_nobody_of_the_node() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    node.warm_up();
    let before = node.inventory();
    let pod = node.run_pod(in_namespace(pod("mapped")));
    let mut request = sleeper("mapped");
    request["command"] = json!(["sh", "-c", "id -u; cat /proc/self/uid_map; sleep 1000"]);
    let first = node.start_container(&pod, &request);
    wait_for("the log", Duration::from_secs(20), || {
        let said = node.ask(&["logs", &first]);
        let words: Vec<&str> = said.split_whitespace().collect();
        (words == ["0", "0", "100000", "65536"]).then_some(())
    });
    // What the image has, what the container makes, the pod's files, and devices.
    let owners = node.ask_inside(&first,
        "touch /made /dev/shm/made && mkdir /var/made && stat -c '%n %u:%g' /bin/busybox /made /dev/shm \
         /etc/hosts /etc/resolv.conf /dev /dev/pts /proc/self/ns /var/made && echo x >/dev/null && head -c 1 /dev/zero | wc -c",
    );
    for name in [
        "/bin/busybox",
        "/made",
        "/dev/shm",
        "/etc/hosts",
        "/dev",
        "/var/made",
    ] {
        assert!(
            owners.contains(&format!("{name} 0:0\n")),
            "{name}: {owners}"
        );
    }
    assert!(owners.ends_with('1'), "{owners}");
    let inspected = node.ask_json(&["inspect", &first]);
    let pid = inspected["info"]["pid"].as_u64().unwrap();
    let status = std::fs::read_to_string(node.proc().join(format!("{pid}/status"))).unwrap();
    assert!(status.contains("Uid:\t100000\t100000"), "{status}");
    assert!(status.contains("Gid:\t300000\t300000"), "{status}");
    // On disk there is no trace of the mapping.
    let root = node.proc().join(format!("{pid}/root"));
    let seen = std::fs::metadata(root.join("made")).unwrap();
    assert_eq!((seen.uid(), seen.gid()), (USERS, GROUPS));
    node.remove_pod(&pod);
    node.assert_nothing_left_since(&before);
    node.finish();
}

#[test]
fn root_what_belongs_to_the_pod_is_its_roots_to_change() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(in_namespace(pod("owner")));
    let mut request = sleeper("owner");
    request["linux"]["security_context"]["capabilities"] =
        json!({ "add_capabilities": ["SYS_ADMIN", "NET_ADMIN", "SYS_TIME"] });
    let owner = node.start_container(&pod, &request);
    for (script, says) in [
        (
            "ip link set eth0 mtu 1400 && cat /sys/class/net/eth0/mtu",
            "1400",
        ),
        ("hostname other && hostname", "other"),
        ("mkdir /m && mount -t tmpfs m /m && echo mounted", "mounted"),
        ("cat /proc/sys/kernel/ostype", "Linux"),
        // What is the node's is not.
        ("date -s 2001-01-01", "can't set date"),
        ("mknod /null c 1 3", "Operation not permitted"),
        (
            "mount -o remount,rw /sys/fs/cgroup && mkdir /sys/fs/cgroup/x",
            "ermission denied",
        ),
    ] {
        let said = node.ask_inside(&owner, script);
        assert!(said.contains(says), "{script}: {said}");
    }
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_a_volume_is_mapped_if_it_is_asked() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(in_namespace(pod("volumes")));
    let (mapped, plain) = (node.work.join("mapped"), node.work.join("plain"));
    for folder in [&mapped, &plain] {
        std::fs::create_dir(folder).unwrap();
    }
    let mut request = sleeper("volumes");
    request["mounts"] = json!([
        { "container_path": "/mapped", "host_path": mapped, "uidMappings": mapping(USERS), "gidMappings": mapping(GROUPS) },
        { "container_path": "/plain", "host_path": plain },
        { "container_path": "/readonly", "host_path": mapped, "readonly": true, "uidMappings": mapping(USERS), "gidMappings": mapping(GROUPS) },
    ]);
    let container = node.start_container(&pod, &request);
    let said = node.ask_inside(&container,
        "touch /mapped/root && touch /mapped/user && chown 1000:1000 /mapped/user; stat -c %u /plain; \
         touch /plain/x; touch /readonly/x",
    );
    assert!(said.contains("65534"), "{said}");
    assert!(said.contains("/plain/x: Permission denied"), "{said}");
    assert!(
        said.contains("/readonly/x: Read-only file system"),
        "{said}"
    );
    let owner = |name: &str| {
        let metadata = std::fs::metadata(mapped.join(name)).unwrap();
        (metadata.uid(), metadata.gid())
    };
    assert_eq!((owner("root"), owner("user")), ((0, 0), (1000, 1000)));
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_execs_users_terminals_and_a_shared_pid_namespace_work_inside() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let mut request = in_namespace(pod("inside"));
    request["linux"]["security_context"]["namespace_options"]["pid"] = json!(0);
    let pod = node.run_pod(request);
    let mut request = sleeper("inside");
    request["linux"]["security_context"]["namespace_options"]["pid"] = json!(0);
    request["linux"]["security_context"]["run_as_user"] = json!({ "value": 1000 });
    request["linux"]["security_context"]["seccomp"] = json!({ "profile_type": 0 });
    request["tty"] = json!(true);
    request["command"] = json!(["sh", "-c", "tty; id -u; echo x >/dev/tty; sleep 1000"]);
    let container = node.start_container(&pod, &request);
    wait_for("the terminal's output", Duration::from_secs(20), || {
        let said = node.ask(&["logs", &container]);
        let words: Vec<&str> = said.split_whitespace().collect();
        (words.len() == 3 && words[1..] == ["1000", "x"]).then_some(())
    });
    let said = node.ask_inside(
        &container,
        "id -u; id -g; ps -o pid,comm; grep ^Seccomp: /proc/self/status",
    );
    assert!(said.starts_with("1000\n0\n"), "{said}");
    assert!(said.contains("carpel-infra"), "{said}");
    assert!(said.contains("Seccomp:\t2"), "{said}");
    let status = node.ask_json(&["inspectp", &pod.0]);
    assert_eq!(
        status["status"]["linux"]["namespaces"]["options"]["usernsOptions"]["uids"][0]["hostId"],
        USERS
    );
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_a_pod_with_users_of_its_own_is_in_no_namespace_of_the_node() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    for name in ["network", "pid", "ipc"] {
        let mut request = in_namespace(pod(&format!("refused-{name}")));
        request["linux"]["security_context"]["namespace_options"][name] = json!(2);
        let file = node.write_request(&request);
        node.is_refused(&["runp", &file], &["InvalidArgument"], &[name, "NODE"]);
    }
    let pod = node.run_pod(pod("plain"));
    node.tell(&["pull", carpel_integration::request::BUSYBOX]);
    let file = node.write_request(&sleeper("refused"));
    node.is_refused(
        &["create", &pod.0, &file, &pod.1],
        &["InvalidArgument"],
        &["userns_options"],
    );
    node.remove_pod(&pod);
    node.finish();
}
