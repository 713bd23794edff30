//! Tables and properties of admission.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::oci::{ContainerMetadata, SandboxConfig};
use crate::pod::container_state::{Exit, unknown_exit};
use crate::pod::sandbox_state::ImageNames;

const ID: &str = "c1";

fn container(phase: ContainerPhase) -> Container {
    Container {
        id: ID.into(),
        config: Arc::new(config("web", 0)),
        created_at: 1,
        image: ImageNames::default(),
        log_path: PathBuf::new(),
        resources: LinuxResources::default(),
        stop_signal: 15,
        user: None,
        phase,
        removing: false,
    }
}

fn config(name: &str, attempt: u32) -> ContainerConfig {
    ContainerConfig {
        metadata: ContainerMetadata {
            name: name.into(),
            attempt,
        },
        ..ContainerConfig::default()
    }
}

fn pod(phase: SandboxPhase, containers: Vec<Container>) -> Pod {
    Pod {
        id: "s".into(),
        config: Arc::new(SandboxConfig::default()),
        resources: crate::oci::PodResources::default(),
        runtime_handler: String::new(),
        created_at: 1,
        phase,
        addresses: Vec::new(),
        network_namespace: PathBuf::new(),
        infra_pid: 1,
        containers: containers
            .into_iter()
            .map(|container| (container.id.clone(), container))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn ready(phase: ContainerPhase) -> Pod {
    pod(SandboxPhase::Ready, vec![container(phase)])
}

fn decide(pod: &Pod, jobs: &[Job], request: &Request) -> Verdict {
    admit(pod, jobs, Closing::No, request)
}

fn denied(verdict: &Verdict) -> Option<PodErrorKind> {
    match verdict {
        Verdict::Denied(kind, _) => Some(*kind),
        _ => None,
    }
}

fn exited() -> ContainerPhase {
    ContainerPhase::Exited(unknown_exit("", 1, 1))
}

fn id() -> String {
    ID.to_owned()
}

#[test]
fn stopping_what_is_stopped_is_done() {
    let stopped = pod(SandboxPhase::Stopped { leftovers: false }, vec![]);
    assert_eq!(decide(&stopped, &[], &Request::Stop), Verdict::Done);
}

#[test]
fn stopping_what_has_leftovers_tries_again() {
    let stopped = pod(SandboxPhase::Stopped { leftovers: true }, vec![]);
    assert_eq!(
        decide(&stopped, &[], &Request::Stop),
        Verdict::Begin(Job::Stop)
    );
}

#[test]
fn a_stop_lets_a_creation_end_first() {
    let pod = ready(ContainerPhase::Creating);
    let creation = Job::Create(id());
    assert_eq!(
        decide(&pod, std::slice::from_ref(&creation), &Request::Stop),
        Verdict::After(creation)
    );
}

#[test]
fn a_stop_does_not_wait_for_the_grace_of_a_container() {
    let pod = ready(ContainerPhase::Running {
        pid: 7,
        started_at: 1,
    });
    assert_eq!(
        decide(&pod, &[Job::StopContainer(id())], &Request::Stop),
        Verdict::Begin(Job::Stop)
    );
}

#[test]
fn the_same_container_again_joins_or_is_the_one_that_is_here() {
    let request = Request::Create(Box::new(config("web", 0)));
    let creating = ready(ContainerPhase::Creating);
    assert_eq!(
        decide(&creating, &[Job::Create(id())], &request),
        Verdict::Join(Job::Create(id()))
    );
    let created = ready(ContainerPhase::Created { pid: 7 });
    assert_eq!(decide(&created, &[], &request), Verdict::DoneAs(id()));
}

#[test]
fn the_same_name_with_another_configuration_already_exists() {
    let mut other = config("web", 0);
    other.working_directory = "/elsewhere".into();
    let verdict = decide(
        &ready(ContainerPhase::Created { pid: 7 }),
        &[],
        &Request::Create(Box::new(other)),
    );
    assert_eq!(denied(&verdict), Some(PodErrorKind::AlreadyExists));
}

#[test]
fn nothing_is_created_in_a_sandbox_that_is_not_ready_or_about_to_stop() {
    let request = Request::Create(Box::new(config("new", 0)));
    for phase in [
        SandboxPhase::Creating,
        SandboxPhase::InfraLost,
        SandboxPhase::Stopping,
        SandboxPhase::Stopped { leftovers: false },
        SandboxPhase::Removing,
    ] {
        let verdict = decide(&pod(phase, vec![]), &[], &request);
        assert_eq!(
            denied(&verdict),
            Some(PodErrorKind::FailedPrecondition),
            "{phase:?}"
        );
    }
    let closing = admit(
        &pod(SandboxPhase::Ready, vec![]),
        &[],
        Closing::Yes,
        &request,
    );
    assert_eq!(denied(&closing), Some(PodErrorKind::FailedPrecondition));
}

#[test]
fn only_a_created_container_is_started() {
    let start = Request::Start(id());
    let created = ready(ContainerPhase::Created { pid: 7 });
    assert_eq!(
        decide(&created, &[], &start),
        Verdict::Begin(Job::Start(id()))
    );
    let running = ContainerPhase::Running {
        pid: 7,
        started_at: 1,
    };
    for phase in [running, exited()] {
        assert_eq!(
            denied(&decide(&ready(phase), &[], &start)),
            Some(PodErrorKind::FailedPrecondition)
        );
    }
}

#[test]
fn a_removal_during_a_start_is_an_error() {
    let starting = ready(ContainerPhase::Starting { pid: 7 });
    let verdict = decide(
        &starting,
        &[Job::Start(id())],
        &Request::RemoveContainer(id()),
    );
    assert_eq!(denied(&verdict), Some(PodErrorKind::FailedPrecondition));
}

#[test]
fn a_second_stop_joins_the_first() {
    let running = ready(ContainerPhase::Running {
        pid: 7,
        started_at: 1,
    });
    assert_eq!(
        decide(
            &running,
            &[Job::StopContainer(id())],
            &Request::StopContainer(id())
        ),
        Verdict::Join(Job::StopContainer(id()))
    );
}

fn any_phase() -> impl Strategy<Value = ContainerPhase> {
    prop_oneof![
        Just(ContainerPhase::Creating),
        Just(ContainerPhase::Created { pid: 7 }),
        Just(ContainerPhase::Starting { pid: 7 }),
        Just(ContainerPhase::Running {
            pid: 7,
            started_at: 1
        }),
        (0..256_i32).prop_map(|code| ContainerPhase::Exited(Exit {
            code,
            ..unknown_exit("", 1, 1)
        })),
    ]
}

fn any_sandbox_phase() -> impl Strategy<Value = SandboxPhase> {
    prop_oneof![
        Just(SandboxPhase::Creating),
        Just(SandboxPhase::Ready),
        Just(SandboxPhase::InfraLost),
        Just(SandboxPhase::Stopping),
        any::<bool>().prop_map(|leftovers| SandboxPhase::Stopped { leftovers }),
        Just(SandboxPhase::Removing),
    ]
}

fn any_jobs() -> impl Strategy<Value = Vec<Job>> {
    prop::sample::subsequence(
        vec![
            Job::Run,
            Job::Stop,
            Job::Remove,
            Job::Reconnect,
            Job::Create(id()),
            Job::Start(id()),
            Job::StopContainer(id()),
            Job::RemoveContainer(id()),
            Job::Update(id()),
        ],
        0..4,
    )
}

fn any_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        Just(Request::Run),
        Just(Request::Stop),
        Just(Request::Remove),
        Just(Request::Create(Box::new(config("web", 0)))),
        Just(Request::Create(Box::new(config("other", 1)))),
        Just(Request::Start(id())),
        Just(Request::StopContainer(id())),
        Just(Request::RemoveContainer(id())),
        Just(Request::Update(id(), Box::default())),
    ]
}

proptest! {
    /// A job that runs is never begun a second time, and what is waited for does run.
    #[test]
    fn a_job_is_begun_once_and_only_running_ones_are_waited_for(
        sandbox in any_sandbox_phase(),
        phase in any_phase(),
        jobs in any_jobs(),
        request in any_request(),
    ) {
        let pod = pod(sandbox, vec![container(phase)]);
        match decide(&pod, &jobs, &request) {
            Verdict::Begin(job) => prop_assert!(!jobs.contains(&job)),
            Verdict::Join(job) | Verdict::After(job) => prop_assert!(jobs.contains(&job)),
            Verdict::Done | Verdict::DoneAs(_) | Verdict::BeginCreate | Verdict::Denied(..) => {}
        }
    }

    /// Stop and remove are never refused: whatever the state, asking again gets there.
    #[test]
    fn stop_and_remove_of_a_sandbox_are_never_denied(
        sandbox in any_sandbox_phase(),
        phase in any_phase(),
        jobs in any_jobs(),
    ) {
        let pod = pod(sandbox, vec![container(phase)]);
        for request in [Request::Stop, Request::Remove, Request::StopContainer(id())] {
            prop_assert_eq!(denied(&decide(&pod, &jobs, &request)), None);
        }
    }

    /// Nothing new is begun in a sandbox that is going.
    #[test]
    fn nothing_new_is_begun_unless_ready(phase in any_phase(), jobs in any_jobs()) {
        let pod = pod(SandboxPhase::Removing, vec![container(phase)]);
        for request in [Request::Start(id()), Request::Create(Box::new(config("new", 0)))] {
            let verdict = decide(&pod, &jobs, &request);
            prop_assert!(!matches!(verdict, Verdict::Begin(_) | Verdict::BeginCreate));
        }
    }
}
