//! Tables: what is told of a pod, for what is and what was.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use serde_json::{Value, json};

use super::{StatusInputs, Verdict, Waiting, pod_status};
use crate::pod_worker::observed_tests::{made, sandbox_of};
use crate::pod_worker::{Health, Observed, State};

fn pod(policy: &str, init: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": "web", "uid": "u", "generation": 2 },
        "spec": {
            "restartPolicy": policy,
            "initContainers": init,
            "containers": [{ "name": "main", "image": "busybox" }],
        },
    }))
    .unwrap()
}

fn observed(containers: &[(&str, State, i32)]) -> Observed {
    let records = containers.iter().map(|&(name, state, exit_code)| {
        let mut record = made("s", 0, state);
        record.exit_code = exit_code;
        (name.to_owned(), record)
    });
    Observed::new(vec![sandbox_of("s", 0, true)], records.collect())
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(5000 + second).unwrap()
}

#[derive(Default)]
struct Case {
    previous: PodStatus,
    waiting: BTreeMap<String, Waiting>,
    verdict: Option<Verdict>,
    unready: bool,
    second: i64,
}

impl Case {
    fn status(&self, pod: &Pod, observed: &Observed) -> PodStatus {
        let health = |_: &Container, _: &str| Health {
            is_started: true,
            is_ready: !self.unready,
            failed: None,
        };
        pod_status(&StatusInputs {
            pod,
            observed,
            previous: &self.previous,
            health: &health,
            waiting: &self.waiting,
            starting: &|_| false,
            verdict: self.verdict.as_ref(),
            unschedulable: None,
            host_ips: &["192.0.2.1".to_owned()],
            runtime_name: "carpel",
            now: at(self.second),
        })
    }
}

fn condition(status: &PodStatus, name: &str) -> (String, String, String) {
    let all = status.conditions.as_ref().unwrap();
    let found = all
        .iter()
        .find(|condition| condition.type_ == name)
        .unwrap();
    (
        found.status.clone(),
        found.reason.clone().unwrap_or_default(),
        found.message.clone().unwrap_or_default(),
    )
}

fn told(status: &str, reason: &str, message: &str) -> (String, String, String) {
    (status.to_owned(), reason.to_owned(), message.to_owned())
}

#[test]
fn phases_follow_the_containers() {
    let init = || json!([{ "name": "init" }]);
    let none = || json!([]);
    let main = |state, code| ("main", state, code);
    let first = |state, code| ("init", state, code);
    let table = [
        ("Always", none(), vec![], "Pending"),
        ("Always", none(), vec![main(State::Created, 0)], "Pending"),
        ("Always", none(), vec![main(State::Running, 0)], "Running"),
        ("Always", none(), vec![main(State::Exited, 1)], "Running"),
        ("Always", none(), vec![main(State::Exited, 0)], "Running"),
        (
            "OnFailure",
            none(),
            vec![main(State::Exited, 0)],
            "Succeeded",
        ),
        ("OnFailure", none(), vec![main(State::Exited, 1)], "Running"),
        ("Never", none(), vec![main(State::Exited, 0)], "Succeeded"),
        ("Never", none(), vec![main(State::Exited, 1)], "Failed"),
        ("Always", init(), vec![first(State::Running, 0)], "Pending"),
        ("Always", init(), vec![first(State::Exited, 1)], "Pending"),
        ("Never", init(), vec![first(State::Exited, 1)], "Failed"),
        ("Always", init(), vec![first(State::Exited, 0)], "Pending"),
        (
            "Always",
            init(),
            vec![first(State::Exited, 0), main(State::Running, 0)],
            "Running",
        ),
    ];
    for (policy, init, containers, phase) in table {
        let status = Case::default().status(&pod(policy, init), &observed(&containers));
        assert_eq!(
            status.phase.as_deref(),
            Some(phase),
            "{policy} {containers:?}"
        );
    }
}

#[test]
fn one_that_could_not_be_started_waits_only_if_it_is_started_again() {
    let case = Case {
        waiting: BTreeMap::from([(
            "main".to_owned(),
            Waiting {
                reason: "RunContainerError".to_owned(),
                message: "no such program".to_owned(),
            },
        )]),
        ..Case::default()
    };
    let state = |policy| {
        let observed = observed(&[("main", State::Exited, 128)]);
        let status = case.status(&pod(policy, json!([])), &observed);
        let containers = status.container_statuses.unwrap();
        containers[0].state.clone().unwrap()
    };
    assert_eq!(state("Never").terminated.unwrap().exit_code, 128);
    for policy in ["Always", "OnFailure"] {
        let reason = state(policy).waiting.unwrap().reason;
        assert_eq!(reason.as_deref(), Some("RunContainerError"), "{policy}");
    }
}

#[test]
fn a_running_pod_is_ready_in_all_ways() {
    let pod = pod("Always", json!([]));
    let status = Case::default().status(&pod, &observed(&[("main", State::Running, 0)]));
    for name in [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ] {
        assert_eq!(condition(&status, name), told("True", "", ""), "{name}");
    }
    assert_eq!(status.pod_ip.as_deref(), Some("10.88.0.2"));
    let main = &status.container_statuses.as_ref().unwrap()[0];
    assert!(main.ready && main.started == Some(true));
    assert_eq!(main.container_id.as_deref(), Some("carpel://s-0"));
    assert_eq!(status.observed_generation, Some(2));
}

#[test]
fn conditions_say_who_is_not_ready() {
    let case = Case {
        unready: true,
        ..Case::default()
    };
    let pod = pod("Always", json!([{ "name": "init" }]));
    let status = case.status(&pod, &observed(&[("init", State::Running, 0)]));
    assert_eq!(
        condition(&status, "Initialized"),
        told(
            "False",
            "ContainersNotInitialized",
            "containers with incomplete status: [init]"
        )
    );
    assert_eq!(
        condition(&status, "Ready"),
        told(
            "False",
            "ContainersNotReady",
            "containers with unready status: [main]"
        )
    );
    let waiting = status.container_statuses.unwrap()[0]
        .state
        .clone()
        .unwrap()
        .waiting
        .unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("PodInitializing"));
}

#[test]
fn a_pod_that_has_ended_says_so() {
    let pod = pod("Never", json!([]));
    let status = Case::default().status(&pod, &observed(&[("main", State::Exited, 0)]));
    assert_eq!(
        condition(&status, "Initialized"),
        told("True", "PodCompleted", "")
    );
    assert_eq!(
        condition(&status, "Ready"),
        told("False", "PodCompleted", "")
    );
    let status = Case::default().status(&pod, &observed(&[("main", State::Exited, 3)]));
    assert_eq!(
        condition(&status, "ContainersReady"),
        told("False", "PodFailed", "")
    );
}

#[test]
fn a_condition_keeps_its_time_until_it_changes() {
    let pod = pod("Always", json!([]));
    let running = observed(&[("main", State::Running, 0)]);
    let previous = Case::default().status(&pod, &running);
    let time = |status: &PodStatus| {
        let all = status.conditions.clone().unwrap();
        let found = all.into_iter().find(|it| it.type_ == "Ready").unwrap();
        found.last_transition_time.unwrap().0
    };
    let mut case = Case {
        previous,
        second: 60,
        ..Case::default()
    };
    assert_eq!(time(&case.status(&pod, &running)), at(0));
    case.unready = true;
    assert_eq!(time(&case.status(&pod, &running)), at(60));
}

#[test]
fn a_container_that_waits_says_why_and_what_was_before() {
    let waiting = Waiting {
        reason: "CrashLoopBackOff".to_owned(),
        message: "back-off 10s".to_owned(),
    };
    let case = Case {
        waiting: BTreeMap::from([("main".to_owned(), waiting)]),
        ..Case::default()
    };
    let status = case.status(
        &pod("Always", json!([])),
        &observed(&[("main", State::Exited, 7)]),
    );
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let main = &status.container_statuses.as_ref().unwrap()[0];
    let waiting = main.state.as_ref().unwrap().waiting.as_ref().unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
    let before = main
        .last_state
        .as_ref()
        .unwrap()
        .terminated
        .as_ref()
        .unwrap();
    assert_eq!(
        (before.exit_code, before.reason.as_deref()),
        (7, Some("Error"))
    );
}

#[test]
fn a_container_that_vanished_is_unknown_and_one_that_ended_is_remembered() {
    let pod = pod("Never", json!([]));
    let of = |state| {
        let previous = Case::default().status(&pod, &observed(&[("main", state, 0)]));
        let case = Case {
            previous,
            ..Case::default()
        };
        let status = case.status(&pod, &Observed::default());
        let main = status.container_statuses.unwrap().remove(0);
        main.state.unwrap().terminated.unwrap()
    };
    assert_eq!(
        of(State::Running).reason.as_deref(),
        Some("ContainerStatusUnknown")
    );
    assert_eq!(of(State::Exited).reason.as_deref(), Some("Completed"));
}

#[test]
fn a_container_that_ends_before_its_start_is_told_has_ended_once() {
    let pod = pod("Never", json!([]));
    let observed = observed(&[("main", State::Exited, 0)]);
    let status = |previous: &PodStatus, is_starting: bool| {
        pod_status(&StatusInputs {
            pod: &pod,
            observed: &observed,
            previous,
            health: &|_, _| Health::default(),
            waiting: &BTreeMap::new(),
            starting: &|_| is_starting,
            verdict: None,
            unschedulable: None,
            host_ips: &[],
            runtime_name: "carpel",
            now: at(0),
        })
    };
    let first = status(&PodStatus::default(), true);
    assert_eq!(first.phase.as_deref(), Some("Succeeded"));
    let second = status(&first, false);
    assert_eq!(second.container_statuses.unwrap()[0].last_state, None);
}

#[test]
fn a_container_that_was_changed_does_not_end_the_pod() {
    let pod = pod("Never", json!([]));
    let mut observed = observed(&[("main", State::Exited, 137)]);
    let record = &mut observed.containers.get_mut("main").unwrap().latest;
    record.hash = "of another manifest".to_owned();
    let status = Case::default().status(&pod, &observed);
    assert_eq!(status.phase.as_deref(), Some("Running"));
}

#[test]
fn a_verdict_fails_the_pod() {
    let case = Case {
        verdict: Some(Verdict {
            reason: "DeadlineExceeded".to_owned(),
            message: "too long".to_owned(),
        }),
        ..Case::default()
    };
    let status = case.status(
        &pod("Always", json!([])),
        &observed(&[("main", State::Running, 0)]),
    );
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
}
