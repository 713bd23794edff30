//! The procedures of pods against fakes with a ledger: whatever fails, nothing is left, and nothing is lost.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use std::time::Duration;

use carpel::pod::{
    ContainerFilter, ContainerState, ExecCommand, PodErrorKind, Pods, SandboxFilter, SandboxState,
    WantedStreams,
};
use support::disk::SmallDisk;
use support::node::{Node, container, sandbox, wait_until};

async fn ready(pods: &Pods, name: &str) -> String {
    pods.run_sandbox(sandbox(name), "").await.unwrap()
}

async fn running(pods: &Pods, sandbox_id: &str, name: &str) -> String {
    let id = pods
        .create_container(sandbox_id, container(name))
        .await
        .unwrap();
    pods.start_container(&id).await.unwrap();
    id
}

fn reason(pods: &Pods, id: &str) -> (ContainerState, String, i32) {
    let view = pods.container_status(id).unwrap();
    (view.state, view.reason, view.exit_code)
}

#[tokio::test]
async fn the_life_of_a_pod_leaves_nothing() {
    let node = Node::new();
    let pods = node.daemon().await;
    let pod = ready(&pods, "web").await;
    let view = pods.sandbox_status(&pod).unwrap();
    assert_eq!(view.state, SandboxState::Ready);
    assert_eq!(view.addresses.len(), 1);
    let one = running(&pods, &pod, "one").await;
    assert_eq!(reason(&pods, &one).0, ContainerState::Running);
    pods.stop_container(&one, Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(
        reason(&pods, &one),
        (ContainerState::Exited, "Error".into(), 143)
    );
    pods.remove_container(&one).await.unwrap();
    pods.stop_sandbox(&pod).await.unwrap();
    assert_eq!(
        pods.sandbox_status(&pod).unwrap().state,
        SandboxState::NotReady
    );
    assert_eq!(node.ledger.held(), [""; 0]);
    pods.remove_sandbox(&pod).await.unwrap();
    assert!(node.pod_folders().is_empty());
    assert!(pods.list_sandboxes(&SandboxFilter::default()).is_empty());
}

#[tokio::test]
async fn the_network_is_attached_before_any_process_of_the_pod() {
    let node = Node::new();
    let pods = node.daemon().await;
    let pod = ready(&pods, "web").await;
    let steps = node.ledger.steps();
    let at = |what: &str| steps.iter().position(|step| *step == what).unwrap();
    assert_eq!(at(&format!("cgroup {pod}")), 0, "{steps:?}");
    assert_eq!(at(&format!("shim {pod} infra")), 4, "{steps:?}");
    assert!(at(&format!("namespace {pod}")) < at(&format!("address {pod}")));
    pods.remove_sandbox(&pod).await.unwrap();
}

#[tokio::test]
async fn whichever_step_of_a_sandbox_fails_all_is_undone() {
    for step in 0.. {
        let node = Node::new();
        let pods = node.daemon().await;
        node.ledger.fail_after(step);
        let result = pods.run_sandbox(sandbox("web"), "").await;
        if !node.ledger.has_failed() {
            assert_eq!(step, 5, "every step was made to fail once");
            assert!(result.is_ok());
            break;
        }
        assert!(result.is_err(), "step {step}");
        assert_eq!(node.ledger.held(), [""; 0], "step {step}");
        assert!(node.pod_folders().is_empty(), "step {step}");
        assert!(pods.list_sandboxes(&SandboxFilter::default()).is_empty());
        // The key is free again.
        ready(&pods, "web").await;
    }
}

#[tokio::test]
async fn whichever_step_of_a_container_fails_all_is_undone() {
    for step in 0.. {
        let node = Node::new();
        let pods = node.daemon().await;
        let pod = ready(&pods, "web").await;
        let before = node.ledger.held();
        node.ledger.fail_after(step);
        let result = pods.create_container(&pod, container("one")).await;
        if !node.ledger.has_failed() {
            assert_eq!(step, 3, "every step was made to fail once");
            assert!(result.is_ok());
            break;
        }
        assert!(result.is_err(), "step {step}");
        assert_eq!(node.ledger.held(), before, "step {step}");
        assert!(pods.list_containers(&ContainerFilter::default()).is_empty());
        pods.create_container(&pod, container("one")).await.unwrap();
    }
}

#[tokio::test]
async fn a_sandbox_whose_undo_fails_too_can_be_stopped_again() {
    let node = Node::new();
    let pods = node.daemon().await;
    node.ledger.fail_after(3);
    node.ledger.set_stuck(true);
    pods.run_sandbox(sandbox("web"), "").await.unwrap_err();
    let left = pods.list_sandboxes(&SandboxFilter::default());
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].state, SandboxState::NotReady);
    pods.stop_sandbox(&left[0].id).await.unwrap_err();
    node.ledger.set_stuck(false);
    pods.stop_sandbox(&left[0].id).await.unwrap();
    pods.remove_sandbox(&left[0].id).await.unwrap();
    assert_eq!(node.ledger.held(), [""; 0]);
}

#[tokio::test]
async fn the_same_sandbox_asked_for_ten_times_at_once_is_one() {
    let node = Node::new();
    let pods = node.daemon().await;
    let asked: Vec<_> = (0..10)
        .map(|_| {
            let pods = pods.clone();
            tokio::spawn(async move { pods.run_sandbox(sandbox("web"), "").await })
        })
        .collect();
    let mut ids = Vec::new();
    for one in asked {
        ids.push(one.await.unwrap().unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn the_same_key_with_another_configuration_already_exists() {
    let node = Node::new();
    let pods = node.daemon().await;
    let pod = ready(&pods, "web").await;
    let mut other = sandbox("web");
    other.hostname = "another".into();
    let error = pods.run_sandbox(other, "").await.unwrap_err();
    assert_eq!(error.kind(), PodErrorKind::AlreadyExists);
    assert!(error.to_string().contains(&pod), "{error}");
}

#[tokio::test]
async fn a_client_that_leaves_does_not_cancel_the_procedure() {
    let node = Node::new();
    let pods = node.daemon().await;
    let leaving = pods.run_sandbox(sandbox("web"), "");
    // The first poll hands the request over; then the client is gone.
    let left = tokio::time::timeout(Duration::ZERO, leaving).await;
    assert!(left.is_err());
    let id = ready(&pods, "web").await;
    assert_eq!(pods.list_sandboxes(&SandboxFilter::default()).len(), 1);
    assert_eq!(pods.sandbox_status(&id).unwrap().state, SandboxState::Ready);
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_is_a_start_error() {
    let node = Node::new();
    let pods = node.daemon().await;
    let pod = ready(&pods, "web").await;
    let id = pods.create_container(&pod, container("one")).await.unwrap();
    node.ledger.fail_after(0);
    let error = pods.start_container(&id).await.unwrap_err();
    assert_eq!(error.kind(), PodErrorKind::InvalidArgument);
    assert_eq!(
        reason(&pods, &id),
        (ContainerState::Exited, "StartError".into(), 128)
    );
}

#[tokio::test]
async fn a_shim_that_dies_takes_its_pod_with_it() {
    let node = Node::new();
    let pods = node.daemon().await;
    let pod = ready(&pods, "web").await;
    let ended = running(&pods, &pod, "ended").await;
    let lost = running(&pods, &pod, "lost").await;
    node.shim(&pod).exit(&ended, 3, 0);
    node.shim(&pod).kill();
    wait_until("the sandbox is stopped", || {
        node.ledger
            .held()
            .iter()
            .all(|held| held.starts_with("snapshot"))
    })
    .await;
    assert_eq!(
        pods.sandbox_status(&pod).unwrap().state,
        SandboxState::NotReady
    );
    assert_eq!(
        reason(&pods, &ended),
        (ContainerState::Exited, "Error".into(), 3)
    );
    assert_eq!(
        reason(&pods, &lost),
        (ContainerState::Exited, "Unknown".into(), 255)
    );
    pods.remove_sandbox(&pod).await.unwrap();
    assert_eq!(node.ledger.held(), [""; 0]);
}

#[tokio::test]
async fn an_infra_process_that_dies_makes_the_sandbox_not_ready() {
    let node = Node::new();
    let pods = node.daemon().await;
    let pod = ready(&pods, "web").await;
    node.shim(&pod).lose_infra();
    wait_until("not ready", || {
        pods.sandbox_status(&pod).unwrap().state == SandboxState::NotReady
    })
    .await;
    let error = pods
        .create_container(&pod, container("new"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), PodErrorKind::FailedPrecondition);
    pods.remove_sandbox(&pod).await.unwrap();
    assert_eq!(node.ledger.held(), [""; 0]);
}

#[tokio::test]
async fn a_stop_does_not_depend_on_the_shim() {
    let node = Node::new();
    let pods = node.daemon().await;
    let pod = ready(&pods, "web").await;
    let id = running(&pods, &pod, "one").await;
    node.shim(&pod).stop_answering();
    pods.stop_container(&id, Duration::ZERO).await.unwrap();
    assert_eq!(
        reason(&pods, &id),
        (ContainerState::Exited, "Error".into(), 137)
    );
    pods.remove_sandbox(&pod).await.unwrap();
    assert_eq!(node.ledger.held(), [""; 0]);
}

#[tokio::test]
async fn an_exec_tells_its_exit_code() {
    let node = Node::new();
    let pods = node.daemon().await;
    let pod = ready(&pods, "web").await;
    let id = running(&pods, &pod, "one").await;
    let command = ExecCommand {
        arguments: vec!["true".into()],
        timeout: Some(Duration::from_secs(5)),
    };
    assert_eq!(pods.exec_sync(&id, command).await.unwrap().exit_code, 5);
}

#[tokio::test]
async fn an_exec_with_streams_tells_its_exit_code() {
    let node = Node::new();
    let pods = node.daemon().await;
    let pod = ready(&pods, "web").await;
    let id = running(&pods, &pod, "one").await;
    let command = ExecCommand {
        arguments: vec!["true".into()],
        timeout: None,
    };
    let wanted = WantedStreams {
        stdin: true,
        stdout: true,
        ..WantedStreams::default()
    };
    let running = pods.exec(&id, command, wanted).await.unwrap();
    assert_eq!(running.exited.await, Ok(5));
    assert!(running.streams.stdin.is_some() && running.streams.stderr.is_none());
}

/// A shim that was started by a daemon before Attach was invented.
#[tokio::test]
async fn an_old_shim_refuses_to_attach_and_nothing_else_changes() {
    let node = Node::new();
    let pods = node.daemon().await;
    let pod = ready(&pods, "web").await;
    let id = running(&pods, &pod, "one").await;
    let wanted = WantedStreams {
        stdout: true,
        ..WantedStreams::default()
    };
    let refused = pods.attach(&id, wanted).await.unwrap_err();
    assert_eq!(refused.kind(), PodErrorKind::InvalidArgument);
    let why = refused.source.unwrap().to_string();
    assert!(why.contains("does not know the operation"), "{why}");
    pods.stop_container(&id, Duration::ZERO).await.unwrap();
    let refused = pods.attach(&id, wanted).await.unwrap_err();
    assert_eq!(refused.kind(), PodErrorKind::FailedPrecondition);
    pods.remove_sandbox(&pod).await.unwrap();
    assert_eq!(node.ledger.held(), [""; 0]);
}

#[tokio::test]
async fn a_new_daemon_finds_everything_again() {
    let node = Node::new();
    let (pod, alive, ended) = node.in_dying_daemon(async |pods| {
        let pod = ready(&pods, "web").await;
        let alive = running(&pods, &pod, "alive").await;
        let ended = running(&pods, &pod, "ended").await;
        (pod, alive, ended)
    });
    // While no daemon hears it.
    node.shim(&pod).exit(&ended, 7, 0);
    let pods = node.daemon().await;
    let view = pods.sandbox_status(&pod).unwrap();
    assert_eq!(view.state, SandboxState::Ready);
    assert_eq!(*view.config, sandbox("web"));
    assert_eq!(reason(&pods, &alive).0, ContainerState::Running);
    assert_eq!(
        reason(&pods, &ended),
        (ContainerState::Exited, "Error".into(), 7)
    );
    assert_eq!(
        pods.container_status(&alive).unwrap().started_at,
        1_000_000_000
    );
    // And it can go on with them.
    pods.stop_container(&alive, Duration::from_secs(1))
        .await
        .unwrap();
    pods.remove_sandbox(&pod).await.unwrap();
    assert_eq!(node.ledger.held(), [""; 0]);
    assert!(node.pod_folders().is_empty());
}

#[tokio::test]
async fn after_a_reboot_pods_are_not_ready_and_containers_unknown() {
    let node = Node::new();
    let (pod, id) = node.in_dying_daemon(async |pods| {
        let pod = ready(&pods, "web").await;
        let id = running(&pods, &pod, "one").await;
        (pod, id)
    });
    node.reboot();
    let pods = node.daemon().await;
    assert_eq!(
        pods.sandbox_status(&pod).unwrap().state,
        SandboxState::NotReady
    );
    assert_eq!(
        reason(&pods, &id),
        (ContainerState::Exited, "Unknown".into(), 255)
    );
    // Its address has been given back without anybody asking.
    wait_until("released", || {
        !node
            .ledger
            .held()
            .iter()
            .any(|held| held.starts_with("address"))
    })
    .await;
    pods.remove_sandbox(&pod).await.unwrap();
    assert_eq!(node.ledger.held(), [""; 0]);
}

#[tokio::test]
async fn unknown_ids_are_fine_to_stop_and_remove_and_not_found_else() {
    let node = Node::new();
    let pods = node.daemon().await;
    pods.stop_sandbox("nothing").await.unwrap();
    pods.remove_sandbox("nothing").await.unwrap();
    pods.stop_container("nothing", Duration::ZERO)
        .await
        .unwrap();
    pods.remove_container("nothing").await.unwrap();
    for error in [
        pods.sandbox_status("nothing").unwrap_err(),
        pods.container_status("nothing").unwrap_err(),
        pods.start_container("nothing").await.unwrap_err(),
        pods.reopen_log("nothing").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), PodErrorKind::NotFound);
        assert!(error.to_string().contains("nothing"), "{error}");
    }
}

#[tokio::test]
async fn a_handler_that_is_not_configured_is_refused_by_name() {
    let node = Node::new();
    let pods = node.daemon().await;
    for handler in ["", "carpel"] {
        pods.run_sandbox(sandbox(&format!("by{handler}")), handler)
            .await
            .unwrap();
    }
    let error = pods
        .run_sandbox(sandbox("other"), "kata")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), PodErrorKind::InvalidArgument);
    let message = error.to_string();
    assert!(
        message.contains("runtime_handler: no handler \"kata\""),
        "{message}"
    );
}

#[tokio::test]
async fn a_container_of_an_artifact_is_refused() {
    let node = Node::new();
    let pods = node.daemon().await;
    let id = ready(&pods, "web").await;
    let mut request = container("web");
    request.image.image = "artifact".into();
    let error = pods.create_container(&id, request).await.unwrap_err();
    assert_eq!(error.kind(), PodErrorKind::InvalidArgument);
    assert!(error.to_string().contains("can only be mounted"), "{error}");
}

#[tokio::test]
async fn a_missing_image_is_named() {
    let node = Node::new();
    let pods = node.daemon().await;
    let pod = ready(&pods, "web").await;
    let mut config = container("one");
    config.image.image = "absent:1".into();
    let error = pods.create_container(&pod, config).await.unwrap_err();
    assert_eq!(error.kind(), PodErrorKind::NotFound);
    assert!(error.to_string().contains("absent:1"), "{error}");
}

#[tokio::test]
async fn root_a_full_disk_is_told_and_leaves_nothing() {
    for place in [Node::root, Node::run_directory] {
        let node = Node::new();
        let Some(disk) = SmallDisk::mount(&place(&node)) else {
            return;
        };
        let pods = node.daemon().await;
        disk.fill();
        let error = pods.run_sandbox(sandbox("web"), "").await.unwrap_err();
        assert_eq!(error.kind(), PodErrorKind::ResourceExhausted, "{error:?}");
        assert!(pods.list_sandboxes(&SandboxFilter::default()).is_empty());
        assert_eq!(node.ledger.held(), [""; 0]);
        assert!(node.pod_folders().is_empty());

        disk.free();
        let pod = ready(&pods, "web").await;
        let before = node.ledger.held();
        disk.fill();
        let error = pods
            .create_container(&pod, container("one"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), PodErrorKind::ResourceExhausted, "{error:?}");
        assert!(pods.list_containers(&ContainerFilter::default()).is_empty());
        assert_eq!(node.ledger.held(), before);

        disk.free();
        pods.create_container(&pod, container("one")).await.unwrap();
        pods.remove_sandbox(&pod).await.unwrap();
        assert_eq!(node.ledger.held(), [""; 0]);
        assert!(node.pod_folders().is_empty());
    }
}
