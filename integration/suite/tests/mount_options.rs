//! Mount options by KEP-5855, which crictl does not know yet, so this is a client of its own: what they take from a program in
//! the container.
#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

use std::os::unix::fs::PermissionsExt;

use carpel_bench_endpoint::Connection;
use carpel_bench_endpoint::runtime_v1 as cri;
use carpel_integration::node::{Node, repository};
use carpel_integration::request::{BUSYBOX, container, pod};
use cri::runtime_service_client::RuntimeServiceClient;
use rustix::fs::{CWD, FileType, Mode};

const OPTIONS: [&str; 3] = ["noexec", "nodev", "nosuid"];

fn request(node: &Node, pod_id: &str, options: &[&str]) -> cri::CreateContainerRequest {
    let volume = node.work.join("volume").to_str().unwrap().to_owned();
    let mount = |path: String, options: &[&str]| cri::Mount {
        container_path: path,
        host_path: volume.clone(),
        mount_options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Default::default()
    };
    let mut mounts = vec![mount("/plain".to_owned(), &[])];
    mounts.extend(
        options
            .iter()
            .map(|option| mount(format!("/{option}"), &[*option])),
    );
    cri::CreateContainerRequest {
        pod_sandbox_id: pod_id.to_owned(),
        config: Some(cri::ContainerConfig {
            metadata: Some(cri::ContainerMetadata {
                name: options.join("-"),
                attempt: 0,
            }),
            image: Some(cri::ImageSpec {
                image: BUSYBOX.to_owned(),
                ..Default::default()
            }),
            command: vec!["sleep".to_owned(), "1000".to_owned()],
            mounts,
            linux: Some(cri::LinuxContainerConfig {
                security_context: Some(cri::LinuxContainerSecurityContext {
                    run_as_user: Some(cri::Int64Value { value: 1000 }),
                    namespace_options: Some(cri::NamespaceOption {
                        pid: cri::NamespaceMode::Container.into(),
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        sandbox_config: Some(cri::PodSandboxConfig {
            metadata: Some(cri::PodSandboxMetadata {
                name: "options".to_owned(),
                uid: "uid-options".to_owned(),
                namespace: "default".to_owned(),
                attempt: 0,
            }),
            ..Default::default()
        }),
    }
}

#[test]
fn root_mount_options_take_from_a_program_what_they_say() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    // A volume with a program that is setuid, and a device that anybody may read.
    let volume = node.work.join("volume");
    std::fs::create_dir(&volume).unwrap();
    let program = volume.join("who");
    std::fs::copy(
        repository().join("integration/tools/bin/image-nonewprivs"),
        &program,
    )
    .unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o4755)).unwrap();
    let zero = rustix::fs::makedev(1, 5);
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(
        CWD,
        volume.join("zero"),
        FileType::CharacterDevice,
        mode,
        zero,
    )
    .unwrap();
    let pod = node.run_pod(pod("options"));
    // Pulls the image.
    node.start_container(&pod, &container("first", &["sleep", "1000"]));

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (id, refused) = runtime.block_on(async {
        let channel = Connection::open(&node.socket).await.unwrap().channel;
        let mut client = RuntimeServiceClient::new(channel);
        let status = client.status(cri::StatusRequest::default()).await.unwrap();
        let features = status.into_inner().features.unwrap_or_default();
        assert!(features.mount_options, "{features:?}");
        let created = client
            .create_container(request(&node, &pod.0, &OPTIONS))
            .await;
        let id = created.unwrap().into_inner().container_id;
        let start = cri::StartContainerRequest {
            container_id: id.clone(),
        };
        client.start_container(start).await.unwrap();
        let refused = client
            .create_container(request(&node, &pod.0, &["suid"]))
            .await;
        (id, refused.unwrap_err())
    });
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("mount_options"), "{refused}");

    let said = |script: &str| node.ask_inside(&id, script);
    assert_eq!(said("/plain/who"), "Effective uid: 0");
    assert_eq!(said("/nosuid/who"), "Effective uid: 1000");
    assert_eq!(said("/nodev/who"), "Effective uid: 0");
    let executed = said("/noexec/who 2>&1 || echo status $?");
    assert!(executed.contains("Permission denied"), "{executed}");
    assert!(executed.ends_with("status 126"), "{executed}");
    for (place, reads) in [
        ("/plain", true),
        ("/noexec", true),
        ("/nosuid", true),
        ("/nodev", false),
    ] {
        let script = format!("head -c 3 {place}/zero >/dev/null 2>&1 && echo read || echo refused");
        let expected = if reads { "read" } else { "refused" };
        assert_eq!(said(&script), expected, "{place}");
    }
    node.remove_pod(&pod);
    node.finish();
}
