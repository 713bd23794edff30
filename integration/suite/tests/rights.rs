//! Rights of containers, shown by what a program may and may not do: ambient capabilities, groups,
//! mounts.
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
use carpel_integration::request::{container, pod};
use carpel_integration::wait::wait_for;
use serde_json::{Value, json};

fn sleeper(name: &str, security: &[(&str, Value)]) -> Value {
    let mut request = container(name, &["sleep", "1000"]);
    for (field, value) in security {
        request["linux"]["security_context"][field] = value.clone();
    }
    request
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
        let said = node.ask_inside(&container, script);
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
    for (name, policy) in [("merge", 0), ("strict", 1)] {
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
        wait_for(
            "what the first program says",
            Duration::from_secs(20),
            || (node.ask(&["logs", &container]) == exec).then_some(()),
        );
    }
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
