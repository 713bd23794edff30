//! What `privileged` gives, and whom programs run as, seen from inside: for the first program and for execs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::time::Duration;

use carpel_integration::node::Node;
use carpel_integration::request::{container, pod};
use carpel_integration::wait::wait_for;
use serde_json::{Value, json};

/// An image whose user 1000, `default-user`, is also in group 50000.
const WITH_GROUPS: &str = "gcr.io/k8s-staging-cri-tools/test-image-predefined-group:latest";

/// One line for each point of CRI `LinuxContainerSecurityContext.privileged`.
const ASK: &str = "grep CapEff /proc/self/status; \
    grep '^Seccomp:' /proc/self/status; \
    awk '$5 == \"/sys\" { print \"sys\", substr($6, 1, 2) }' /proc/self/mountinfo; \
    awk '$5 == \"/sys/fs/cgroup\" { print \"cgroup\", substr($6, 1, 2) }' /proc/self/mountinfo; \
    [ -s /proc/uptime ]; [ \"$(cat /proc/uptime)\" ] && echo seen || echo masked; \
    (echo carpel > /proc/sys/kernel/domainname) 2>/dev/null && echo writable || echo read-only";

/// A device node of the node that no ordinary container has.
fn device(node: &Node) -> Option<String> {
    let entries = std::fs::read_dir(node.path_inside("/dev")).unwrap();
    let devices = entries.flatten().filter(|entry| {
        let found = entry.metadata().unwrap();
        // Terminals and memory devices are in every container.
        found.file_type().is_char_device() && !matches!(found.rdev() >> 8, 1 | 4 | 5)
    });
    let names = devices.filter_map(|entry| entry.file_name().into_string().ok());
    names.min()
}

/// A privileged one asks for everything that would take something away, too.
fn asking(name: &str, is_privileged: bool) -> Value {
    let mut request = container(name, &["sleep", "1000"]);
    let security = &mut request["linux"]["security_context"];
    security["privileged"] = json!(is_privileged);
    security["seccomp"] = json!({ "profile_type": 0 });
    security["apparmor"] = json!({ "profile_type": 0 });
    security["masked_paths"] = json!(["/proc/uptime"]);
    security["readonly_paths"] = json!(["/proc/sys"]);
    request
}

#[test]
fn root_a_privileged_container_has_all_that_is_listed_and_another_nothing_of_it() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let mut request = pod("privileged");
    request["linux"]["security_context"]["privileged"] = json!(true);
    let pod = node.run_pod(request);
    let status = node
        .proc()
        .join(node.daemon_pid().to_string())
        .join("status");
    let status = std::fs::read_to_string(status).unwrap();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let all = format!("CapEff:{}", bounding.unwrap());
    let device = device(&node);
    for is_privileged in [true, false] {
        let name = format!("privileged-{is_privileged}");
        let container = node.start_container(&pod, &asking(&name, is_privileged));
        let said = node.ask_inside(&container, ASK);
        let expected = match is_privileged {
            true => [
                all.as_str(),
                "Seccomp:\t0",
                "sys rw",
                "cgroup rw",
                "seen",
                "writable",
            ],
            false => [
                "CapEff:\t00000000",
                "Seccomp:\t2",
                "sys ro",
                "cgroup ro",
                "masked",
                "read-only",
            ],
        };
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{said}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(expected), "{expected:?}: {said}");
        }
        assert_eq!(lines[0] == all, is_privileged, "{said}");
        if let Some(device) = &device {
            let script = format!("[ -c /dev/{device} ] && echo there || echo not there");
            let there = node.ask_inside(&container, &script);
            let expected = if is_privileged { "there" } else { "not there" };
            assert_eq!(there.trim(), expected, "/dev/{device}");
        }
    }
    node.remove_pod(&pod);
    node.finish();
}

/// What the first program, an exec and a synchronous exec say, which must be the same.
fn of_all_three(node: &Node, pod: &(String, String), mut request: Value, script: &str) -> String {
    request["command"] = json!(["sh", "-c", format!("{script}; sleep 1000")]);
    let container = node.start_container(pod, &request);
    let exec = node.ask(&["exec", &container, "sh", "-c", script]);
    let synchronous = node.ask(&["exec", "--sync", &container, "sh", "-c", script]);
    assert_eq!(synchronous.trim(), exec.trim());
    wait_for(
        "what the first program says",
        Duration::from_secs(20),
        || (node.ask(&["logs", &container]).trim() == exec.trim()).then_some(()),
    );
    exec.trim().to_owned()
}

#[test]
fn root_users_and_groups_are_those_asked_for_in_every_program() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("users"));
    let by_number = json!({
        "run_as_user": { "value": 1000 }, "run_as_group": { "value": 2000 },
        "supplemental_groups": [1234],
    });
    let by_name = json!({ "run_as_username": "default-user", "supplemental_groups": [1234] });
    let (merge, strict) = (0, 1);
    for (index, (security, policy, expected)) in [
        (&by_number, merge, "1000 2000 2000 1234 50000"),
        (&by_number, strict, "1000 2000 2000 1234"),
        (&by_name, merge, "1000 1000 1000 1234 50000"),
        (&by_name, strict, "1000 1000 1000 1234"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut request = container(&format!("user-{index}"), &[]);
        request["image"] = json!({ "image": WITH_GROUPS });
        for (field, value) in security.as_object().unwrap() {
            request["linux"]["security_context"][field] = value.clone();
        }
        request["linux"]["security_context"]["supplemental_groups_policy"] = json!(policy);
        let script = "echo $(id -u) $(id -g) $(id -G)";
        let said = of_all_three(&node, &pod, request, script);
        let sorted = |text: &str| {
            let mut words: Vec<u32> = text
                .split_whitespace()
                .map(|word| word.parse().unwrap())
                .collect();
            words[2..].sort_unstable();
            words
        };
        assert_eq!(
            sorted(&said),
            sorted(expected),
            "{security}, policy {policy}"
        );
    }
    node.remove_pod(&pod);
    node.finish();
}
