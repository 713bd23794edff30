//! The page, as a scraper reads it.

use std::time::{Duration, Instant};

use super::*;
use crate::pod::{Activity, ContainerState, RunningStage, SandboxState};

fn activity() -> Activity {
    let long_ago = Instant::now().checked_sub(Duration::from_secs(61)).unwrap();
    let stage = |name, since| RunningStage {
        sandbox_id: "s".to_owned(),
        name,
        since,
    };
    Activity {
        sandboxes: vec![
            SandboxState::Ready,
            SandboxState::NotReady,
            SandboxState::Ready,
        ],
        containers: vec![ContainerState::Running],
        shims: 2,
        stages: vec![
            stage("attach the network", long_ago),
            stage("make its cgroups", Instant::now()),
        ],
        lost_log_lines: 7,
        event_clients: 1,
    }
}

fn ended(recorder: &Recorder, method: &str, code: &str, milliseconds: u64) {
    recorder.call_started(method);
    recorder.call_ended(CallResult {
        method,
        code,
        took: Duration::from_millis(milliseconds),
    });
}

#[track_caller]
fn assert_line(page: &str, line: &str) {
    assert!(
        page.lines().any(|one| one == line),
        "{line} is not in\n{page}"
    );
}

#[test]
fn calls_are_counted_by_method_and_code_and_timed() {
    let recorder = Recorder::default();
    ended(&recorder, "Version", "OK", 3);
    ended(&recorder, "Version", "OK", 30);
    ended(&recorder, "PullImage", "Unknown", 70_000);
    recorder.call_started("PullImage");
    let page = recorder.page(&Activity::default());
    for line in [
        "carpel_rpc_duration_seconds_count{method=\"Version\",code=\"OK\"} 2",
        "carpel_rpc_duration_seconds_bucket{le=\"0.002\",method=\"Version\",code=\"OK\"} 0",
        "carpel_rpc_duration_seconds_bucket{le=\"0.005\",method=\"Version\",code=\"OK\"} 1",
        "carpel_rpc_duration_seconds_bucket{le=\"0.05\",method=\"Version\",code=\"OK\"} 2",
        "carpel_rpc_duration_seconds_count{method=\"PullImage\",code=\"Unknown\"} 1",
        "carpel_rpc_running{method=\"Version\"} 0",
        "carpel_rpc_running{method=\"PullImage\"} 1",
        "carpel_image_pulls_total{code=\"Unknown\"} 1",
        "# TYPE carpel_rpc_duration_seconds histogram",
        "# EOF",
    ] {
        assert_line(&page, line);
    }
}

#[test]
fn what_the_domain_does_is_read_for_each_page() {
    let recorder = Recorder::default();
    let page = recorder.page(&activity());
    for line in [
        "carpel_sandboxes{state=\"ready\"} 2",
        "carpel_sandboxes{state=\"notready\"} 1",
        "carpel_containers{state=\"running\"} 1",
        "carpel_containers{state=\"exited\"} 0",
        "carpel_shims 2",
        "carpel_lost_log_lines_total 7",
        "carpel_event_clients 1",
        "carpel_stuck_stages{stage=\"attach the network\"} 1",
    ] {
        assert_line(&page, line);
    }
    assert!(!page.contains("make its cgroups"), "{page}");
    let mut later = Activity {
        lost_log_lines: 9,
        ..Activity::default()
    };
    let page = recorder.page(&later);
    assert_line(&page, "carpel_lost_log_lines_total 9");
    assert_line(&page, "carpel_shims 0");
    assert!(!page.contains("carpel_stuck_stages{"), "{page}");
    later.lost_log_lines = 9;
    assert_line(&recorder.page(&later), "carpel_lost_log_lines_total 9");
}
