//! The daemon dies at each step of a pod's life in turn: the same call works when it is back, and nothing is left.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and what it skips by printing"
)]

use std::time::Duration;

use carpel_integration::inventory::Inventory;
use carpel_integration::node::Node;
use carpel_integration::request::container;
use carpel_integration::request::pod;
use carpel_integration::wait::wait_for;

const PATIENCE: Duration = Duration::from_secs(30);

/// What changes the state on disk, by kind.
const KINDS: [&str; 5] = [
    "rename,renameat,renameat2",
    "mkdir,mkdirat",
    "fsync,fdatasync,sync_file_range",
    "mount,move_mount,umount2",
    "unlink,unlinkat,rmdir",
];

/// Runs crictl on a daemon that is killed at the `nth` such call of one of its threads; says whether it was.
fn is_killed(node: &Node, kind: &str, nth: usize, arguments: &[&str]) -> Result<bool, String> {
    let trace = format!("--trace={kind}");
    let inject = format!("--inject={kind}:signal=KILL:when={nth}");
    let traced = node.traced(&[&trace, &inject], arguments)?;
    if traced.is_success && node.crictl(&["version"]).status.success() {
        return Ok(false);
    }
    let daemon = node.daemon_pid();
    wait_for("the daemon's end", PATIENCE, || {
        (!node.is_running(daemon)).then_some(())
    });
    node.start_daemon();
    Ok(true)
}

/// A call, tried with a kill at each step of each kind.
fn at_each_step(
    node: &Node,
    // Gives the arguments for crictl.
    mut prepare: impl FnMut() -> Vec<String>,
    // The arguments once more, and which step it was.
    mut again: impl FnMut(&[&str], &str),
) {
    let mut kills = 0;
    for kind in KINDS {
        for nth in 1.. {
            let arguments = prepare();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let is_killed = match is_killed(node, kind, nth, &arguments) {
                Ok(is_killed) => is_killed,
                Err(why) => {
                    println!("SKIP {why}");
                    return;
                }
            };
            again(&arguments, &format!("{kind} {nth}"));
            if !is_killed {
                break;
            }
            kills += 1;
        }
    }
    println!("killed at {kills} steps");
    assert!(kills > 0);
}

/// What the node holds, but for the daemon itself.
fn inventory(node: &Node) -> Inventory {
    let mut found = node.inventory();
    found.remove(&format!("process {}", node.daemon_pid()));
    found
}

/// Asserts that all is as it was, when the last daemon is dead.
fn finish(node: Node, before: &Inventory) {
    node.kill_daemon();
    node.assert_nothing_left_since(before);
    node.start_daemon();
    node.finish();
}

/// Does it, and says what crictl printed.
fn ask(node: &Node, arguments: &[&str], what: &str) -> String {
    let output = node.crictl(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn root_a_sandbox_whose_daemon_was_killed_at_any_step_is_asked_for_again() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    node.warm_up();
    let before = inventory(&node);
    let request = node.write_request(&pod("again"));
    at_each_step(
        &node,
        || vec!["runp".to_owned(), request.clone()],
        |arguments, what| {
            // The kubelet does not know of the first try, and asks for the same.
            let id = ask(&node, arguments, what);
            assert_eq!(node.ask(&["pods", "--quiet"]), id, "{what}");
            ask(&node, &["stopp", &id], what);
            ask(&node, &["rmp", &id], what);
        },
    );
    std::fs::remove_file(request).unwrap();
    finish(node, &before);
}

#[test]
fn root_a_container_whose_daemon_was_killed_at_any_step_is_asked_for_again() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    node.warm_up();
    let before = inventory(&node);
    let (pod, config) = node.run_pod(pod("home"));
    let request = node.write_request(&container("again", &["sleep", "1000"]));
    at_each_step(
        &node,
        || {
            vec![
                "create".to_owned(),
                pod.clone(),
                request.clone(),
                config.clone(),
            ]
        },
        |arguments, what| {
            let id = ask(&node, arguments, what);
            assert_eq!(node.ask(&["ps", "--all", "--quiet"]), id, "{what}");
            ask(&node, &["start", &id], what);
            assert_eq!(node.container_state(&id), "CONTAINER_RUNNING", "{what}");
            ask(&node, &["rm", "--force", &id], what);
        },
    );
    std::fs::remove_file(request).unwrap();
    node.remove_pod(&(pod, config));
    finish(node, &before);
}

#[test]
fn root_an_end_of_a_pod_whose_daemon_was_killed_at_any_step_goes_on() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    node.warm_up();
    let before = inventory(&node);
    for end in ["stopp", "rmp"] {
        let request = pod("ends");
        at_each_step(
            &node,
            || {
                let pod = node.run_pod(request.clone());
                node.start_container(&pod, &container("main", &["sleep", "1000"]));
                if end == "rmp" {
                    node.tell(&["stopp", &pod.0]);
                }
                vec![end.to_owned(), pod.0]
            },
            |arguments, what| {
                // The new daemon goes on with it too, so crictl may find no pod any more.
                let id = arguments[1];
                for end in ["stopp", "rmp"] {
                    let output = node.crictl(&[end, id]);
                    let said = String::from_utf8_lossy(&output.stderr);
                    let is_done = output.status.success() || said.contains("NotFound");
                    assert!(is_done, "{what}: {end}: {said}");
                }
                assert_eq!(node.ask(&["pods", "--quiet"]), "", "{what}");
                assert_eq!(node.ask(&["ps", "--all", "--quiet"]), "", "{what}");
            },
        );
    }
    finish(node, &before);
}
