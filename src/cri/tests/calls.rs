//! Each call: what reaches the domain, and what comes back.

use std::time::Duration;

use tonic::Code;

use super::Served;
use super::script::{container_view, sandbox_view};
use crate::cri::wire::runtime::*;
use crate::pod::PodErrorKind;

fn sandbox_config() -> PodSandboxConfig {
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: "web".to_owned(),
            uid: "u".to_owned(),
            namespace: "default".to_owned(),
            attempt: 0,
        }),
        ..PodSandboxConfig::default()
    }
}

#[tokio::test]
async fn version_sets_all_four_fields() {
    let served = Served::start().await;
    let mut client = served.runtime().await;
    let answer = client
        .version(VersionRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.version, "0.1.0");
    assert_eq!(answer.runtime_name, "carpel");
    assert_eq!(answer.runtime_api_version, "v1");
    assert_eq!(answer.runtime_version.split('.').count(), 3, "{answer:?}");
    drop(client);
    served.stop().await;
}

#[tokio::test]
async fn status_tells_conditions_handlers_and_configuration() {
    let served = Served::start().await;
    let trouble = ("NoBridge".to_owned(), "carpel0 is gone".to_owned());
    *served.script.network_trouble.lock().unwrap() = Some(trouble);
    let mut client = served.runtime().await;
    let answer = client
        .status(StatusRequest { verbose: true })
        .await
        .unwrap()
        .into_inner();
    let conditions: Vec<_> = answer
        .status
        .unwrap()
        .conditions
        .into_iter()
        .map(|condition| (condition.r#type, condition.status, condition.reason))
        .collect();
    assert_eq!(
        conditions,
        [
            ("RuntimeReady".to_owned(), true, String::new()),
            ("NetworkReady".to_owned(), false, "NoBridge".to_owned()),
        ]
    );
    let names: Vec<_> = answer
        .runtime_handlers
        .iter()
        .map(|handler| &*handler.name)
        .collect();
    assert_eq!(names, ["", "carpel"]);
    assert_eq!(answer.info["config"], "{\"stateDir\":\"/run/carpel\"}");
    assert_eq!(answer.info["kernel"], "\"6.1\"");
    let terse = client
        .status(StatusRequest { verbose: false })
        .await
        .unwrap();
    assert!(terse.into_inner().info.is_empty());
}

#[tokio::test]
async fn runtime_config_tells_the_cgroup_driver() {
    let served = Served::start().await;
    let mut client = served.runtime().await;
    let answer = client
        .runtime_config(RuntimeConfigRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        answer.linux.unwrap().cgroup_driver(),
        CgroupDriver::Cgroupfs
    );
    let update = UpdateRuntimeConfigRequest {
        runtime_config: Some(RuntimeConfig {
            network_config: Some(NetworkConfig {
                pod_cidr: "10.1.0.0/24".to_owned(),
            }),
        }),
    };
    client.update_runtime_config(update).await.unwrap();
    let nothing = UpdateRuntimeConfigRequest::default();
    client.update_runtime_config(nothing).await.unwrap();
    let asked = served.script.asked.lock().unwrap().clone();
    assert_eq!(asked, ["networks 10.1.0.0/24"]);
}

#[tokio::test]
async fn a_sandbox_is_run_by_the_handler_that_is_asked_for() {
    let served = Served::start().await;
    let mut client = served.runtime().await;
    for handler in ["", "carpel", "crun"] {
        let request = RunPodSandboxRequest {
            config: Some(sandbox_config()),
            runtime_handler: handler.to_owned(),
        };
        let answer = client.run_pod_sandbox(request).await.unwrap().into_inner();
        assert_eq!(answer.pod_sandbox_id, "made");
    }
    let asked = served.script.asked.lock().unwrap().clone();
    assert_eq!(
        asked,
        ["run web \"\"", "run web \"carpel\"", "run web \"crun\""]
    );
}

#[tokio::test]
async fn errors_keep_their_code_and_message() {
    let served = Served::start().await;
    let mut client = served.runtime().await;
    let request = PodSandboxStatusRequest {
        pod_sandbox_id: "4f".to_owned(),
        verbose: false,
    };
    let missing = client.pod_sandbox_status(request).await.unwrap_err();
    assert_eq!(
        (missing.code(), missing.message()),
        (Code::NotFound, "sandbox 4f: look up")
    );
    *served.script.failure.lock().unwrap() = Some(PodErrorKind::AlreadyExists);
    let request = RunPodSandboxRequest {
        config: Some(sandbox_config()),
        runtime_handler: String::new(),
    };
    let taken = client.run_pod_sandbox(request).await.unwrap_err();
    assert_eq!(
        (taken.code(), taken.message()),
        (Code::AlreadyExists, "runtime: scripted")
    );
    let request = RunPodSandboxRequest::default();
    let invalid = client.run_pod_sandbox(request).await.unwrap_err();
    assert_eq!(
        (invalid.code(), invalid.message()),
        (Code::InvalidArgument, "config: missing")
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of calls")]
async fn requests_reach_the_domain_as_they_are() {
    let served = Served::start().await;
    let mut client = served.runtime().await;
    let id = || "c1".to_owned();
    client
        .stop_pod_sandbox(StopPodSandboxRequest {
            pod_sandbox_id: id(),
        })
        .await
        .unwrap();
    client
        .remove_pod_sandbox(RemovePodSandboxRequest {
            pod_sandbox_id: id(),
        })
        .await
        .unwrap();
    client
        .start_container(StartContainerRequest { container_id: id() })
        .await
        .unwrap();
    for timeout in [7, 0, -3] {
        let request = StopContainerRequest {
            container_id: id(),
            timeout,
        };
        client.stop_container(request).await.unwrap();
    }
    client
        .remove_container(RemoveContainerRequest { container_id: id() })
        .await
        .unwrap();
    client
        .reopen_container_log(ReopenContainerLogRequest { container_id: id() })
        .await
        .unwrap();
    let update = UpdateContainerResourcesRequest {
        container_id: id(),
        linux: Some(LinuxContainerResources {
            cpu_shares: 512,
            ..LinuxContainerResources::default()
        }),
        ..UpdateContainerResourcesRequest::default()
    };
    client.update_container_resources(update).await.unwrap();
    let create = CreateContainerRequest {
        pod_sandbox_id: "s1".to_owned(),
        config: Some(ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: "main".to_owned(),
                attempt: 0,
            }),
            image: Some(ImageSpec {
                image: "busybox".to_owned(),
                ..ImageSpec::default()
            }),
            ..ContainerConfig::default()
        }),
        sandbox_config: None,
    };
    let made = client.create_container(create).await.unwrap().into_inner();
    assert_eq!(made.container_id, "made");
    assert_eq!(
        *served.script.asked.lock().unwrap(),
        [
            "stop sandbox c1",
            "remove sandbox c1",
            "start c1",
            "stop c1 within 7s",
            "stop c1 within 0ns",
            "stop c1 within 0ns",
            "remove c1",
            "reopen c1",
            "update c1 to 512 shares",
            "create main in s1",
        ]
    );
}

#[tokio::test]
async fn an_empty_id_is_invalid_everywhere() {
    let served = Served::start().await;
    let mut client = served.runtime().await;
    let refusals = [
        client
            .stop_pod_sandbox(StopPodSandboxRequest::default())
            .await
            .unwrap_err(),
        client
            .remove_pod_sandbox(RemovePodSandboxRequest::default())
            .await
            .unwrap_err(),
        client
            .pod_sandbox_status(PodSandboxStatusRequest::default())
            .await
            .unwrap_err(),
        client
            .pod_sandbox_stats(PodSandboxStatsRequest::default())
            .await
            .unwrap_err(),
        client
            .create_container(CreateContainerRequest::default())
            .await
            .unwrap_err(),
        client
            .start_container(StartContainerRequest::default())
            .await
            .unwrap_err(),
        client
            .stop_container(StopContainerRequest::default())
            .await
            .unwrap_err(),
        client
            .remove_container(RemoveContainerRequest::default())
            .await
            .unwrap_err(),
        client
            .container_status(ContainerStatusRequest::default())
            .await
            .unwrap_err(),
        client
            .container_stats(ContainerStatsRequest::default())
            .await
            .unwrap_err(),
        client
            .exec_sync(ExecSyncRequest::default())
            .await
            .unwrap_err(),
        client
            .reopen_container_log(ReopenContainerLogRequest::default())
            .await
            .unwrap_err(),
        client.exec(ExecRequest::default()).await.unwrap_err(),
        client.attach(AttachRequest::default()).await.unwrap_err(),
        client
            .port_forward(PortForwardRequest::default())
            .await
            .unwrap_err(),
    ];
    for refused in refusals {
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().ends_with("_id: missing"), "{refused}");
    }
    assert!(served.script.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn exec_sync_returns_output_and_code() {
    let served = Served::start().await;
    served.script.exec_may_end.add_permits(1);
    let mut client = served.runtime().await;
    let request = ExecSyncRequest {
        container_id: "c".to_owned(),
        cmd: vec!["true".to_owned()],
        timeout: 2,
    };
    let answer = client
        .exec_sync(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (answer.stdout.len(), &answer.stderr[..], answer.exit_code),
        (100, &[0xff][..], 3)
    );
    assert_eq!(
        served.script.asked.lock().unwrap()[0],
        "exec [\"true\"] in c within Some(2s)"
    );
    for (cmd, timeout, field) in [(vec![], 0, "cmd"), (vec!["a".to_owned()], -1, "timeout")] {
        let request = ExecSyncRequest {
            cmd,
            timeout,
            ..request.clone()
        };
        let refused = client.exec_sync(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with(field), "{refused}");
    }
}

#[tokio::test]
async fn a_client_that_gives_up_does_not_stop_the_procedure() {
    let served = Served::start().await;
    let mut client = served.runtime().await;
    let request = ExecSyncRequest {
        container_id: "c".to_owned(),
        cmd: vec!["slow".to_owned()],
        timeout: 0,
    };
    let call = tokio::spawn(async move { client.exec_sync(request).await });
    served.script.exec_begun.notified().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    served.script.exec_may_end.add_permits(1);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while served.script.asked.lock().unwrap().last().unwrap() != "exec ended" {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let mut other = served.runtime().await;
    other.version(VersionRequest::default()).await.unwrap();
}

#[tokio::test]
async fn lists_and_streams_have_the_same_items() {
    let served = Served::start().await;
    for number in 0..5 {
        let (id, other) = (format!("s{number}"), format!("c{number}"));
        served
            .script
            .sandboxes
            .lock()
            .unwrap()
            .push(sandbox_view(&id));
        served
            .script
            .containers
            .lock()
            .unwrap()
            .push(container_view(&other));
    }
    let mut client = served.runtime().await;
    let listed = client
        .list_pod_sandbox(ListPodSandboxRequest::default())
        .await
        .unwrap();
    let mut stream = client
        .stream_pod_sandboxes(StreamPodSandboxesRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut streamed = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        assert!(!message.pod_sandboxes.is_empty());
        streamed.extend(message.pod_sandboxes);
    }
    assert_eq!(streamed, listed.into_inner().items);
    assert_eq!(streamed.len(), 5);

    let listed = client
        .list_containers(ListContainersRequest::default())
        .await
        .unwrap();
    let mut stream = client
        .stream_containers(StreamContainersRequest::default())
        .await
        .unwrap()
        .into_inner();
    let streamed = stream.message().await.unwrap().unwrap().containers;
    assert_eq!(streamed, listed.into_inner().containers);
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of calls")]
async fn statistics_are_given_alone_in_lists_and_in_streams() {
    let served = Served::start().await;
    served
        .script
        .sandboxes
        .lock()
        .unwrap()
        .push(sandbox_view("s"));
    served
        .script
        .containers
        .lock()
        .unwrap()
        .push(container_view("c"));
    let mut client = served.runtime().await;
    let request = ContainerStatsRequest {
        container_id: "c".to_owned(),
    };
    let one = client
        .container_stats(request)
        .await
        .unwrap()
        .into_inner()
        .stats
        .unwrap();
    assert_eq!(one.cpu.unwrap().usage_nano_cores.unwrap().value, 0);
    let list = client
        .list_container_stats(ListContainerStatsRequest::default())
        .await
        .unwrap();
    assert_eq!(list.into_inner().stats, std::slice::from_ref(&one));
    let request = StreamContainerStatsRequest::default();
    let mut stream = client
        .stream_container_stats(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        stream.message().await.unwrap().unwrap().container_stats,
        [one]
    );
    assert!(stream.message().await.unwrap().is_none());

    let request = PodSandboxStatsRequest {
        pod_sandbox_id: "s".to_owned(),
    };
    let one = client
        .pod_sandbox_stats(request)
        .await
        .unwrap()
        .into_inner()
        .stats
        .unwrap();
    let process = one.linux.as_ref().unwrap().process.as_ref().unwrap();
    assert_eq!(process.process_count.as_ref().unwrap().value, 4);
    let list = client
        .list_pod_sandbox_stats(ListPodSandboxStatsRequest::default())
        .await
        .unwrap();
    assert_eq!(list.into_inner().stats, std::slice::from_ref(&one));
    let request = StreamPodSandboxStatsRequest::default();
    let mut stream = client
        .stream_pod_sandbox_stats(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        stream.message().await.unwrap().unwrap().pod_sandbox_stats,
        [one]
    );
    let request = ContainerStatsRequest {
        container_id: "other".to_owned(),
    };
    assert_eq!(
        client.container_stats(request).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn pod_level_resources_reach_the_sandbox() {
    let served = Served::start().await;
    served
        .script
        .sandboxes
        .lock()
        .unwrap()
        .push(sandbox_view("s"));
    let mut client = served.runtime().await;
    let shares = |cpu_shares| {
        Some(LinuxContainerResources {
            cpu_shares,
            ..LinuxContainerResources::default()
        })
    };
    let request = |id: &str| UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: id.to_owned(),
        overhead: shares(10),
        resources: shares(512),
    };
    client
        .update_pod_sandbox_resources(request("s"))
        .await
        .unwrap();
    assert_eq!(
        served.script.asked.lock().unwrap().as_slice(),
        ["update s to 512+10 shares"]
    );
    let missing = client
        .update_pod_sandbox_resources(request("t"))
        .await
        .unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}

#[tokio::test]
async fn what_is_not_built_says_so_by_name() {
    let served = Served::start().await;
    let mut client = served.runtime().await;
    let refusals = [
        (
            "CheckpointContainer",
            client
                .checkpoint_container(CheckpointContainerRequest::default())
                .await
                .unwrap_err(),
        ),
        (
            "CheckpointPod",
            client
                .checkpoint_pod(CheckpointPodRequest::default())
                .await
                .unwrap_err(),
        ),
        (
            "RestorePod",
            client
                .restore_pod(RestorePodRequest::default())
                .await
                .unwrap_err(),
        ),
    ];
    for (name, refused) in refusals {
        assert_eq!(refused.code(), Code::Unimplemented, "{name}");
        assert_eq!(
            refused.message(),
            format!("carpel does not have {name} yet")
        );
    }
}

#[tokio::test]
async fn too_many_listeners_are_refused() {
    let served = Served::start().await;
    let mut client = served.runtime().await;
    let refused = client.get_container_events(GetEventsRequest {}).await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_request_of_almost_16_mib_is_accepted_and_a_longer_one_refused() {
    let served = Served::start().await;
    let mut client = served.runtime().await;
    let request = |bytes: usize| {
        let mut config = sandbox_config();
        config
            .annotations
            .insert("large".to_owned(), "x".repeat(bytes));
        RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: String::new(),
        }
    };
    let large = 16 * 1024 * 1024 - 1024;
    client.run_pod_sandbox(request(large)).await.unwrap();
    let kept = served.script.last_sandbox.lock().unwrap().take().unwrap();
    assert_eq!(kept.annotations["large"].len(), large);
    let refused = client
        .run_pod_sandbox(request(17 * 1024 * 1024))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
}
