//! Containers, from the shim's binary, without a daemon.
#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]
#![allow(clippy::panic, reason = "as above")]

mod support;

use carpel_shim_protocol::message::response::Result as Answer;
use carpel_shim_protocol::message::*;
use support::Pod;

/// Ends the test with the reason why it cannot run here, if there is one.
macro_rules! needs_a_node {
    () => {
        if let Some(reason) = support::obstacle() {
            println!("SKIP {reason}");
            return;
        }
    };
}

#[test]
fn root_a_container_runs_and_its_exit_is_recorded() {
    needs_a_node!();
    let mut pod = Pod::new();
    let created = pod.create(pod.container("a", "exit 42")).unwrap();
    assert!(created.pid > 0);
    let started = pod.start("a").unwrap();
    assert!(started.started_at_nanoseconds > 0);
    let exit = pod.exit_of("a");
    assert_eq!(
        (exit.exit_code, exit.signal, exit.killed_on_request),
        (42, 0, false)
    );
    let record =
        std::fs::read_to_string(pod.pod_directory().join("containers/a/exit.json")).unwrap();
    assert!(record.contains("\"exit_code\":42,"), "{record}");
    assert_eq!(pod.remove("a"), Answer::RemoveContainer(Done {}));
    pod.shut_down();
}
