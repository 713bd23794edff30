//! The daemon dies and comes back: pods go on, and nothing about them is lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::fs::File;
use std::io::BufRead as _;
use std::io::BufReader;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use carpel_integration::crictl::text;
use carpel_integration::node::Node;
use carpel_integration::node::Runtime;
use carpel_integration::request::container;
use carpel_integration::request::pod;
use carpel_integration::wait::wait_for;

#[test]
fn root_a_killed_daemon_finds_its_pods_again() {
    let Some(node) = Node::start() else { return };
    let pod = node.run_pod(pod("survivor"));
    let ticking = container(
        "ticking",
        &["sh", "-c", "while :; do echo tick; sleep 0.05; done"],
    );
    let running = node.start_container(&pod, &ticking);
    let exited = node.start_container(&pod, &container("exited", &["sh", "-c", "exit 5"]));
    node.wait_until_exited(&exited);
    let created = node.create(&pod, &container("created", &["sleep", "1000"]));
    let dying = container(
        "dying",
        &[
            "sh",
            "-c",
            "while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 9",
        ],
    );
    let dying = node.start_container(&pod, &dying);
    let ids = [&running, &exited, &created, &dying];
    let before: Vec<_> = ids.map(|id| node.ask_json(&["inspect", id])).into();
    let sandbox = node.ask_json(&["inspectp", &pod.0])["status"].clone();
    let log = text(&before[0], "/status/logPath");
    let process = before[3]["info"]["pid"].as_u64().unwrap();

    node.kill_daemon();
    let length = std::fs::metadata(&log).unwrap().len();
    // containerd's logs stand still without it: they go through the daemon.
    if node.runtime == Runtime::Carpel {
        wait_for(
            "more log while the daemon is dead",
            Duration::from_secs(10),
            || (std::fs::metadata(&log).unwrap().len() > length).then_some(()),
        );
    }
    // This container ends while nobody is there to see it.
    let flag = node.path_inside(&format!("/proc/{process}/root/tmp/end"));
    carpel_integration::request::write_new(&flag, b"");
    let process = u32::try_from(process).unwrap();
    wait_for("the container's end", Duration::from_secs(10), || {
        (!node.is_running(process)).then_some(())
    });

    node.start_daemon();
    assert_eq!(node.ask_json(&["inspectp", &pod.0])["status"], sandbox);
    for (id, earlier) in ids.iter().zip(&before).take(3) {
        let now = node.ask_json(&["inspect", id]);
        assert_eq!(now["status"], earlier["status"]);
    }
    let status = node.wait_until_exited(&dying);
    assert_eq!(status["exitCode"], 9);
    assert_eq!(status["reason"], "Error");

    assert_eq!(
        node.ask(&["exec", "-s", &running, "echo", "still here"]),
        "still here"
    );
    node.tell(&["start", &created]);
    assert_eq!(node.container_state(&created), "CONTAINER_RUNNING");
    node.remove_pod(&pod);
    node.finish();
}

#[test]
fn root_a_stopped_daemon_leaves_its_pods_running() {
    let Some(node) = Node::start() else { return };
    let pod = node.run_pod(pod("served"));
    let worker = node.start_container(&pod, &container("worker", &["sleep", "1000"]));
    let daemon = node.daemon_pid();
    node.signal("TERM", daemon);
    wait_for("the daemon's end", Duration::from_secs(20), || {
        (!node.is_running(daemon)).then_some(())
    });
    node.start_daemon();
    assert_eq!(node.container_state(&worker), "CONTAINER_RUNNING");
    assert_eq!(
        node.ask(&["exec", "-s", &worker, "echo", "served"]),
        "served"
    );
    node.remove_pod(&pod);
    node.finish();
}

/// A line of output, with its end, as the container writes it.
const LINE_BYTES: u64 = 100;
const OUTPUT_BYTES: u64 = 1 << 30;

/// Counts the bytes of output that a log holds, and checks that each line of it
/// is the one that was written.
fn output_bytes(log: &Path) -> u64 {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(log).unwrap());
    let expected = "x".repeat(usize::try_from(LINE_BYTES).unwrap() - 1);
    let mut line = Vec::new();
    let mut total = 0;
    while reader.read_until(b'\n', &mut line).unwrap() > 0 {
        // "2026-11-23T06:21:51.123456789Z stdout F xxx…\n"
        let mut fields = line.splitn(4, |byte| *byte == b' ').skip(1);
        assert_eq!(fields.next(), Some(&b"stdout"[..]), "{line:?}");
        let whole = match fields.next().unwrap() {
            b"F" => true,
            b"P" => false,
            other => panic!("neither F nor P: {other:?}"),
        };
        let text = fields.next().unwrap();
        let text = &text[..text.len() - 1];
        assert!(expected.as_bytes().starts_with(text), "{line:?}");
        assert!(!whole || text.len() == expected.len(), "cut: {line:?}");
        total += text.len() as u64 + u64::from(whole);
        line.clear();
    }
    total
}

#[test]
fn root_no_output_is_lost_while_the_daemon_is_dead() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let pod = node.run_pod(pod("verbose"));
    let script = format!(
        "yes {} | head -c {OUTPUT_BYTES}",
        "x".repeat(usize::try_from(LINE_BYTES).unwrap() - 1)
    );
    let verbose = node.start_container(&pod, &container("verbose", &["sh", "-c", &script]));
    let status = node.ask_json(&["inspect", &verbose]);
    let log = PathBuf::from(text(&status, "/status/logPath"));
    let process = u32::try_from(status["info"]["pid"].as_u64().unwrap()).unwrap();

    wait_for("a quarter of the output", Duration::from_secs(60), || {
        (std::fs::metadata(&log).unwrap().len() > OUTPUT_BYTES / 4).then_some(())
    });
    assert!(
        node.is_running(process),
        "it ended before the daemon was killed"
    );
    node.kill_daemon();
    // The container needs nobody to finish: it was never blocked.
    wait_for("the end of the output", Duration::from_secs(120), || {
        (!node.is_running(process)).then_some(())
    });
    node.start_daemon();
    let status = node.wait_until_exited(&verbose);
    assert_eq!(status["exitCode"], 0, "{status:#}");
    assert_eq!(output_bytes(&log), OUTPUT_BYTES);
    node.remove_pod(&pod);
    node.finish();
}
