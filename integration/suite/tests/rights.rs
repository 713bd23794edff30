//! Rights of containers, shown by what a program may and may not do: ambient capabilities, groups, privileged, mounts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use carpel_integration::node::Node;
use carpel_integration::request::{container, pod, write_new};
use carpel_integration::wait::wait_for;
use serde_json::{Value, json};

fn sleeper(name: &str, security: &[(&str, Value)]) -> Value {
    let mut request = container(name, &["sleep", "1000"]);
    for (field, value) in security {
        request["linux"]["security_context"][field] = value.clone();
    }
    request
}

fn ask(node: &Node, container: &str, script: &str) -> String {
    node.ask(&[
        "exec",
        container,
        "sh",
        "-c",
        &format!("({script}) 2>&1; true"),
    ])
}

#[test]
fn root_ambient_capabilities_reach_a_program_of_an_ordinary_user() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("ambient"));
    let user = ("run_as_user", json!({ "value": 1000 }));
    let script = "touch /tmp/x && chown 0 /tmp/x && stat -c %u /tmp/x";
    for (name, capabilities, says) in [
        (
            "without",
            json!({ "add_capabilities": ["CHOWN"] }),
            "Operation not permitted",
        ),
        (
            "with",
            json!({ "add_ambient_capabilities": ["CHOWN"] }),
            "0",
        ),
    ] {
        let security = [user.clone(), ("capabilities", capabilities)];
        let container = node.start_container(&pod, &sleeper(name, &security));
        let said = ask(&node, &container, script);
        assert!(said.ends_with(says), "{name}: {said}");
    }
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_an_exec_has_the_groups_of_the_first_program() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("groups"));
    // The image's /etc/group makes root a member of wheel, 10.
    for (name, policy, merged) in [("merge", 0, true), ("strict", 1, false)] {
        let mut request = sleeper(
            name,
            &[
                ("run_as_user", json!({ "value": 0 })),
                ("run_as_group", json!({ "value": 7 })),
                ("supplemental_groups", json!([1234])),
                ("supplemental_groups_policy", json!(policy)),
            ],
        );
        request["command"] = json!(["sh", "-c", "id -G; sleep 1000"]);
        let container = node.start_container(&pod, &request);
        let exec = node.ask(&["exec", &container, "id", "-G"]);
        let groups: Vec<&str> = exec.split_whitespace().collect();
        assert!(groups.contains(&"7") && groups.contains(&"1234"), "{exec}");
        assert_eq!(groups.contains(&"10"), merged, "{exec}");
        wait_for(
            "what the first program says",
            Duration::from_secs(20),
            || (node.ask(&["logs", &container]) == exec).then_some(()),
        );
    }
    node.remove_pod(&pod);
    node.finish();
}

/// CRI api.proto, LinuxContainerSecurityContext.privileged: its points, one after another (AppArmor and SELinux are not on
/// this machine).
#[test]
fn root_privileged_takes_away_every_confinement() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let mut request = pod("privileged");
    request["linux"]["security_context"]["privileged"] = json!(true);
    let pod = node.run_pod(request);
    let confined = [
        (
            "masked_paths",
            json!(["/proc/keys", "/proc/timer_list", "/sys/firmware"]),
        ),
        ("readonly_paths", json!(["/proc/sys"])),
        ("seccomp", json!({ "profile_type": 0 })),
        ("capabilities", json!({ "drop_capabilities": ["ALL"] })),
    ];
    let plain = node.start_container(&pod, &sleeper("plain", &confined));
    let mut all = confined.to_vec();
    all.push(("privileged", json!(true)));
    let privileged = node.start_container(&pod, &sleeper("privileged", &all));
    for (script, plainly, says) in [
        // 1: every capability that the daemon has.
        (
            "grep CapEff /proc/self/status | cut -f2",
            "0000000000000000",
            "",
        ),
        // 2: nothing is masked or read-only.
        (
            "mount | grep -c -E ' /proc/(keys|timer_list|sys) '",
            "",
            "0",
        ),
        // 3: sysfs and cgroups can be written.
        ("mount | grep ' on /sys type' | grep -c '(rw'", "0", "1"),
        (
            "mount | grep ' on /sys/fs/cgroup type' | grep -c '(rw'",
            "0",
            "1",
        ),
        // 5: no seccomp.
        ("grep ^Seccomp: /proc/self/status | cut -f2", "2", "0"),
        // 6: no rule keeps it from a device: mem is not among those that everybody may open.
        (
            "mknod /tmp/mem c 1 4; head -c 0 /tmp/mem; dd if=/tmp/mem bs=1 count=0 2>&1 | grep -c denied",
            "",
            "0",
        ),
    ] {
        let said = ask(&node, &plain, script);
        assert!(
            plainly.is_empty() || said.ends_with(plainly),
            "plain: {script}: {said}"
        );
        let said = ask(&node, &privileged, script);
        assert!(said.ends_with(says), "privileged: {script}: {said}");
    }
    let bounding =
        std::fs::read_to_string(node.proc().join(format!("{}/status", node.daemon_pid()))).unwrap();
    let bounding = bounding
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:\t"))
        .unwrap();
    assert_eq!(
        ask(
            &node,
            &privileged,
            "grep CapEff /proc/self/status | cut -f2"
        ),
        bounding
    );
    // 7: the nodes of the host's /dev.
    let nodes = ask(&node, &privileged, "find /dev -type c -o -type b | wc -l");
    let few = ask(&node, &plain, "find /dev -type c -o -type b | wc -l");
    let count = |text: &str| text.trim().parse::<usize>().unwrap();
    assert!(count(&nodes) > count(&few), "{nodes} and {few}");
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_mount_options_bind_a_program() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("options"));
    let folder = node.work.join("volume");
    std::fs::create_dir(&folder).unwrap();
    write_new(&folder.join("script"), b"#!/bin/sh\necho ran\n");
    let mut request = sleeper("options", &[]);
    request["mounts"] = json!([
        { "container_path": "/plain", "host_path": folder },
        { "container_path": "/noexec", "host_path": folder, "mount_options": ["noexec"] },
        { "container_path": "/nodev", "host_path": folder, "mount_options": ["nodev", "nosuid"] },
    ]);
    let container = node.start_container(&pod, &request);
    let said = ask(
        &node,
        &container,
        "chmod 755 /plain/script; /plain/script; /noexec/script; mknod /plain/null c 1 3; \
         echo x >/plain/null && echo opened; echo x >/nodev/null; grep -c ' /nodev .*nosuid' /proc/mounts",
    );
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "ran", "{said}");
    assert!(
        lines[1].contains("/noexec/script: Permission denied"),
        "{said}"
    );
    assert_eq!(lines[2], "opened", "{said}");
    assert!(
        lines[3].contains("/nodev/null: Permission denied"),
        "{said}"
    );
    assert_eq!(lines[4], "1", "{said}");
    let info = node.ask_json(&["info"]);
    assert_eq!(info["features"]["mountOptions"], true, "{info:#}");
    request["metadata"]["name"] = json!("unknown");
    request["mounts"][0]["mount_options"] = json!(["sync"]);
    let file = node.write_request(&request);
    node.is_refused(
        &["create", &pod.0, &file, &pod.1],
        &["InvalidArgument"],
        &["mount_options", "sync"],
    );
    node.remove_pod(&pod);
    node.finish();
}

/// A directory of a volume is a link out of it in turn, while containers are made that mount below it.
#[test]
fn root_a_link_that_is_swapped_while_mounting_leads_nowhere() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("swapped"));
    let (volume, inner) = (node.work.join("volume"), node.work.join("inner"));
    let target = node.work.join("target");
    for folder in [&volume, &inner, &target, &volume.join("a")] {
        std::fs::create_dir(folder).unwrap();
    }
    // As a path of the host, and as one of the container: /proc/1/root is the host's for who looks it up outside.
    std::os::unix::fs::symlink(&target, volume.join("b")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (stop, volume) = (Arc::clone(&stop), volume.clone());
        move || {
            let mut swaps = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let (a, b) = (volume.join("a"), volume.join("b"));
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(rustix::fs::CWD, &a, rustix::fs::CWD, &b, exchange)
                    .unwrap();
                swaps += 1;
            }
            swaps
        }
    });
    for number in 0..20 {
        let mut request = sleeper(&format!("swapped-{number}"), &[]);
        request["mounts"] = json!([
            { "container_path": "/volume", "host_path": volume },
            { "container_path": "/volume/a/inner", "host_path": inner },
        ]);
        let file = node.write_request(&request);
        let output = node.crictl(&["create", "--with-pull", &pod.0, &file, &pod.1]);
        if output.status.success() {
            let id = String::from_utf8(output.stdout).unwrap();
            node.tell(&["rm", "--force", id.trim()]);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let swaps = swapper.join().unwrap();
    assert!(swaps > 100, "only {swaps} swaps");
    let found: Vec<_> = std::fs::read_dir(&target).unwrap().collect();
    assert!(found.is_empty(), "{found:?}");
    let mounts = std::fs::read_to_string(node.proc().join("1/mountinfo")).unwrap();
    assert!(!mounts.contains(target.to_str().unwrap()), "{mounts}");
    node.remove_pod(&pod);
    node.finish();
}
