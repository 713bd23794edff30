//! The daemon raises its own limit of open files, and containers get the one that it was started with.
#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

use carpel_integration::node::Node;
use carpel_integration::request::{container, pod};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lower than what any machine has as its hard limit.
const SOFT: u64 = 777;

/// The soft limit of open files in `/proc/<pid>/limits`.
fn soft_limit(limits: &str) -> &str {
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    line.unwrap().split_whitespace().nth(3).unwrap()
}

#[test]
fn root_the_raised_limit_of_open_files_is_not_passed_on() {
    let own = getrlimit(Resource::Nofile);
    let lowered = Rlimit {
        current: Some(SOFT),
        maximum: own.maximum,
    };
    setrlimit(Resource::Nofile, lowered).unwrap();
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let daemon = node.proc().join(node.daemon_pid().to_string());
    let raised = std::fs::read_to_string(daemon.join("limits")).unwrap();
    assert_ne!(soft_limit(&raised), SOFT.to_string(), "the daemon's own");

    let pod = node.run_pod(pod("limits"));
    let id = node.start_container(&pod, &container("limits", &["sleep", "1000"]));
    let first = node.ask(&["exec", "-s", &id, "cat", "/proc/1/limits"]);
    assert_eq!(soft_limit(&first), SOFT.to_string(), "the first process");
    let exec = node.ask(&["exec", "-s", &id, "cat", "/proc/self/limits"]);
    assert_eq!(soft_limit(&exec), SOFT.to_string(), "an exec");
    node.remove_pod(&pod);
    node.finish();
}
