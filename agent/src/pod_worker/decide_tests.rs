//! Tables of situations, and properties that hold in all of them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::pod_worker::observed::tests::{made, sandbox_of};

fn pod(policy: &str, init: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "u" },
        "spec": {
            "restartPolicy": policy,
            "initContainers": init,
            "containers": [{ "name": "main" }, { "name": "other" }],
        },
    }))
    .unwrap()
}

fn healthy(_: &Container, _: &str) -> Health {
    Health {
        is_started: true,
        is_ready: true,
        failed: None,
    }
}

/// What the runtime has: of each container its state and its exit code.
fn observed(pod: &Pod, containers: &[(&str, State, i32)]) -> Observed {
    let mut sandbox = sandbox_of("s", 0, true);
    sandbox.hash = sandbox_hash(pod);
    let records = containers.iter().map(|&(name, state, exit_code)| {
        let mut record = made("s", 0, state);
        record.id = name.to_owned();
        record.exit_code = exit_code;
        record.hash = container_of(pod, name)
            .map(container_hash)
            .unwrap_or_default();
        (name.to_owned(), record)
    });
    Observed::new(vec![sandbox], records.collect())
}

fn plan_of(pod: &Pod, observed: &Observed) -> Plan {
    decide(&Situation {
        pod,
        observed,
        health: &healthy,
        busy: &BTreeSet::new(),
        backoffs: &BackOffs::default(),
        now: Timestamp::from_second(2000).unwrap(),
    })
}

#[test]
fn a_new_pod_gets_a_sandbox() {
    let plan = plan_of(&pod("Always", json!([])), &Observed::default());
    assert_eq!(plan.create_sandbox, Some(0));
    assert!(!plan.kill_pod && plan.start.is_empty());
}

#[test]
fn all_containers_begin_when_there_is_nothing_to_initialize() {
    let pod = pod("Always", json!([]));
    assert_eq!(plan_of(&pod, &observed(&pod, &[])).start, ["main", "other"]);
}

#[test]
fn init_containers_run_one_after_the_other() {
    let pod = pod("Always", json!([{ "name": "one" }, { "name": "two" }]));
    let start =
        |containers: &[(&str, State, i32)]| plan_of(&pod, &observed(&pod, containers)).start;
    assert_eq!(start(&[]), ["one"]);
    assert_eq!(start(&[("one", State::Running, 0)]), [""; 0]);
    assert_eq!(start(&[("one", State::Exited, 1)]), ["one"]);
    assert_eq!(start(&[("one", State::Exited, 0)]), ["two"]);
    let both = [("one", State::Exited, 0), ("two", State::Exited, 0)];
    assert_eq!(start(&both), ["main", "other"]);
}

#[test]
fn an_init_container_that_fails_ends_a_pod_that_never_restarts() {
    let pod = pod("Never", json!([{ "name": "one" }]));
    let plan = plan_of(&pod, &observed(&pod, &[("one", State::Exited, 1)]));
    assert!(plan.kill_pod && plan.start.is_empty());
}

#[test]
fn what_follows_a_sidecar_waits_until_it_has_started() {
    let pod = pod(
        "Always",
        json!([{ "name": "side", "restartPolicy": "Always" }]),
    );
    let observed = observed(&pod, &[("side", State::Running, 0)]);
    assert_eq!(plan_of(&pod, &observed).start, ["main", "other"]);
    let starting = |_: &Container, _: &str| Health::default();
    // Its startup probe has not succeeded yet; or its postStart hook is still running.
    let probed = (&starting as _, BTreeSet::new());
    let hooked = (&healthy as _, BTreeSet::from(["side".to_owned()]));
    for (health, busy) in [probed, hooked] {
        let plan = decide(&Situation {
            health,
            pod: &pod,
            observed: &observed,
            busy: &busy,
            backoffs: &BackOffs::default(),
            now: Timestamp::UNIX_EPOCH,
        });
        assert_eq!(plan, Plan::default());
    }
}

#[test]
fn a_sidecar_is_restarted_beside_the_others_and_keeps_no_pod_alive() {
    let pod = pod(
        "Never",
        json!([{ "name": "side", "restartPolicy": "Always" }]),
    );
    let of = |state, main| {
        let containers = [("side", state, 0), ("main", main, 0), ("other", main, 0)];
        plan_of(&pod, &observed(&pod, &containers))
    };
    assert_eq!(of(State::Exited, State::Running).start, ["side"]);
    assert!(of(State::Running, State::Exited).kill_pod);
}

#[test]
fn the_restart_policy_says_who_begins_again() {
    for (policy, exit_code, again) in [
        ("Always", 0, true),
        ("Always", 1, true),
        ("OnFailure", 0, false),
        ("OnFailure", 1, true),
        ("Never", 1, false),
    ] {
        let pod = pod(policy, json!([]));
        let containers = [
            ("main", State::Exited, exit_code),
            ("other", State::Running, 0),
        ];
        let plan = plan_of(&pod, &observed(&pod, &containers));
        assert_eq!(!plan.start.is_empty(), again, "{policy} {exit_code}");
        assert!(!plan.kill_pod);
    }
}

#[test]
fn a_pod_whose_containers_have_ended_for_good_is_ended() {
    let pod = pod("OnFailure", json!([]));
    let containers = [("main", State::Exited, 0), ("other", State::Exited, 0)];
    assert!(plan_of(&pod, &observed(&pod, &containers)).kill_pod);
}

#[test]
fn a_container_that_failed_again_waits() {
    let pod = pod("Always", json!([]));
    let containers = [("main", State::Exited, 1), ("other", State::Running, 0)];
    let observed = observed(&pod, &containers);
    let ended = observed.latest("main").unwrap().finished_at;
    let mut backoffs = BackOffs::default();
    backoffs.next("main", ended, ended);
    let plan = |now| {
        decide(&Situation {
            pod: &pod,
            observed: &observed,
            health: &healthy,
            busy: &BTreeSet::new(),
            backoffs: &backoffs,
            now,
        })
    };
    let waiting = plan(ended);
    assert!(waiting.start.is_empty());
    assert_eq!(
        waiting.delayed[0].message,
        "back-off 10s restarting failed container=main pod=web_default(u)"
    );
    assert_eq!(plan(waiting.delayed[0].until).start, ["main"]);
}

#[test]
fn a_probe_that_failed_kills_and_a_change_too() {
    let pod = pod("Never", json!([]));
    let containers = [("main", State::Running, 0), ("other", State::Running, 0)];
    let mut observed = observed(&pod, &containers);
    observed.containers.get_mut("other").unwrap().latest.hash = "old".to_owned();
    let failing = |container: &Container, _: &str| Health {
        is_started: true,
        is_ready: true,
        failed: (container.name == "main").then_some(FailedProbe::Liveness),
    };
    let plan = decide(&Situation {
        health: &failing,
        pod: &pod,
        observed: &observed,
        busy: &BTreeSet::new(),
        backoffs: &BackOffs::default(),
        now: Timestamp::UNIX_EPOCH,
    });
    let said: Vec<&str> = plan.kill.iter().map(|kill| &*kill.message).collect();
    assert_eq!(
        said,
        [
            "Container main failed liveness probe",
            "Container other definition changed, will be restarted"
        ]
    );
}

#[test]
fn a_sandbox_that_died_is_replaced_unless_the_pod_never_restarts() {
    for (policy, attempt) in [("Always", Some(1)), ("Never", None)] {
        let pod = pod(policy, json!([]));
        let mut observed = observed(&pod, &[("main", State::Exited, 137)]);
        observed.sandbox.as_mut().unwrap().is_ready = false;
        let plan = plan_of(&pod, &observed);
        assert_eq!(
            (plan.create_sandbox, plan.kill_pod),
            (attempt, true),
            "{policy}"
        );
    }
}

#[test]
fn a_pod_that_was_changed_gets_another_sandbox_whatever_its_policy() {
    let before = pod("Never", json!([]));
    let observed = observed(&before, &[("main", State::Running, 0)]);
    let mut after = before;
    after.spec.as_mut().unwrap().hostname = Some("other".to_owned());
    let plan = plan_of(&after, &observed);
    assert!(plan.kill_pod);
    assert_eq!(plan.create_sandbox, Some(1));
}

fn state() -> impl Strategy<Value = Option<(State, i32)>> {
    prop_oneof![
        Just(None),
        Just(Some((State::Created, 0))),
        Just(Some((State::Running, 0))),
        Just(Some((State::Exited, 0))),
        Just(Some((State::Exited, 1))),
        Just(Some((State::Unknown, 0))),
    ]
}

proptest! {
    #[test]
    fn whatever_is_there_nothing_that_runs_is_started_and_nothing_that_is_busy_is_touched(
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        states in prop::collection::vec(state(), 5),
        busy in prop::collection::btree_set(0..5_usize, 0..5),
    ) {
        const NAMES: [&str; 5] = ["one", "side", "two", "main", "other"];
        let init = json!([
            { "name": "one" },
            { "name": "side", "restartPolicy": "Always" },
            { "name": "two" },
        ]);
        let pod = pod(policy, init);
        let containers: Vec<(&str, State, i32)> = NAMES
            .into_iter()
            .zip(&states)
            .filter_map(|(name, state)| state.map(|(state, code)| (name, state, code)))
            .collect();
        let observed = observed(&pod, &containers);
        let busy: BTreeSet<String> = busy.into_iter().map(|index| NAMES[index].to_owned()).collect();
        let plan = decide(&Situation {
            pod: &pod,
            observed: &observed,
            health: &healthy,
            busy: &busy,
            backoffs: &BackOffs::default(),
            now: Timestamp::from_second(2000).unwrap(),
        });
        for name in &plan.start {
            let runs = observed.current(name).is_some_and(|it| it.state == State::Running);
            prop_assert!(!runs, "{name} runs already");
            prop_assert!(!busy.contains(name), "{name} is busy");
        }
        for kill in &plan.kill {
            prop_assert!(!busy.contains(&kill.name));
        }
        prop_assert!(plan.create_sandbox.is_none(), "the sandbox is good");
        let twice: BTreeSet<&String> = plan.start.iter().collect();
        prop_assert_eq!(twice.len(), plan.start.len());
        // Main containers begin only when every init container before them is done.
        let has_begun = ["main", "other"].iter().any(|name| observed.current(name).is_some());
        if plan.start.iter().any(|name| name == "main") && !has_begun {
            for name in ["one", "two"] {
                let record = observed.current(name);
                prop_assert!(record.is_some_and(|it| it.exit_code == 0 && it.state == State::Exited));
            }
        }
    }
}

/// As `pod`, with a policy of its own for the first container.
fn pod_with_own(policy: &str, own: Value) -> Pod {
    let mut pod = serde_json::to_value(pod(policy, json!([]))).unwrap();
    let main = &mut pod["spec"]["containers"][0];
    for (key, value) in own.as_object().unwrap() {
        main[key] = value.clone();
    }
    serde_json::from_value(pod).unwrap()
}

#[test]
fn a_container_may_have_a_restart_policy_of_its_own() {
    let ended = |code| {
        [
            ("main", State::Exited, code),
            ("other", State::Exited, code),
        ]
    };
    let start = |pod: &Pod, code| plan_of(pod, &observed(pod, &ended(code))).start;
    let never = pod_with_own("Always", json!({ "restartPolicy": "Never" }));
    assert_eq!(start(&never, 1), ["other"]);
    let rule = json!({ "action": "Restart", "exitCodes": { "operator": "In", "values": [42] } });
    let own = json!({ "restartPolicy": "Never", "restartPolicyRules": [rule] });
    let rules = pod_with_own("Never", own);
    assert_eq!(start(&rules, 42), ["main"]);
    let plan = plan_of(&rules, &observed(&rules, &ended(1)));
    assert!(plan.kill_pod && plan.start.is_empty());
}

#[test]
fn an_init_container_with_rules_is_tried_again() {
    let rule = json!({ "action": "Restart", "exitCodes": { "operator": "In", "values": [42] } });
    let init = json!([{ "name": "one", "restartPolicy": "Never", "restartPolicyRules": [rule] }]);
    let pod = pod("Always", init);
    let plan = |code| plan_of(&pod, &observed(&pod, &[("one", State::Exited, code)]));
    assert_eq!(plan(42).start, ["one"]);
    assert!(plan(1).kill_pod);
}
