//! What was asked for comes back: a request is converted, shown in a status, and compared with itself.

use std::sync::Arc;

use prost::Message;
use serde_json::Value;

use super::*;
use crate::cri::from_cri;
use crate::oci::{ContainerConfig, SandboxConfig};
use crate::pod::*;

fn text(value: &str) -> String {
    value.to_owned()
}

fn request_mounts() -> Vec<wire::Mount> {
    let mapping = wire::IdMapping {
        host_id: 1000,
        container_id: 0,
        length: 10,
    };
    vec![
        wire::Mount {
            container_path: text("/data"),
            host_path: text("/srv"),
            readonly: true,
            selinux_relabel: true,
            recursive_read_only: true,
            uid_mappings: vec![mapping],
            gid_mappings: vec![mapping],
            mount_options: vec![text("noexec")],
            ..wire::Mount::default()
        },
        wire::Mount {
            container_path: text("/shared"),
            host_path: text("/mnt"),
            propagation: wire::MountPropagation::PropagationBidirectional as i32,
            ..wire::Mount::default()
        },
        wire::Mount {
            container_path: text("/image"),
            readonly: true,
            image: Some(wire::ImageSpec {
                image: text("data:1"),
                image_ref: text("sha256:9"),
                ..wire::ImageSpec::default()
            }),
            image_sub_path: text("sub"),
            ..wire::Mount::default()
        },
    ]
}

fn request_resources() -> wire::LinuxContainerResources {
    wire::LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: 50_000,
        cpu_shares: 512,
        memory_limit_in_bytes: 1 << 20,
        oom_score_adj: -500,
        cpuset_cpus: text("0-1"),
        cpuset_mems: text("0"),
        hugepage_limits: vec![wire::HugepageLimit {
            page_size: text("2MB"),
            limit: 4096,
        }],
        unified: [(text("memory.high"), text("9"))].into(),
        memory_swap_limit_in_bytes: 1 << 21,
    }
}

fn container_config() -> ContainerConfig {
    from_cri::container_config(Some(wire::ContainerConfig {
        metadata: Some(wire::ContainerMetadata {
            name: text("main"),
            attempt: 3,
        }),
        image: Some(wire::ImageSpec {
            image: text("sha256:1"),
            user_specified_image: text("busybox"),
            annotations: [(text("a"), text("b"))].into(),
            ..wire::ImageSpec::default()
        }),
        envs: vec![wire::KeyValue {
            key: text("A"),
            value: vec![b'v', 0xff],
        }],
        mounts: request_mounts(),
        labels: [(text("l"), text("1"))].into(),
        annotations: [(text("n"), text("2"))].into(),
        ..wire::ContainerConfig::default()
    }))
    .unwrap()
}

fn container_view() -> ContainerView {
    ContainerView {
        id: "c".repeat(64),
        sandbox_id: "5".repeat(64),
        config: Arc::new(container_config()),
        state: ContainerState::Exited,
        created_at: 1,
        started_at: 2,
        finished_at: 3,
        exit_code: 137,
        reason: text("OOMKilled"),
        message: text("m"),
        image_id: text("sha256:1"),
        image_name: text("docker.io/library/busybox:latest"),
        image_reference: text("docker.io/library/busybox@sha256:2"),
        image_volumes: BTreeMap::new(),
        log_path: text("/log/main.log"),
        resources: from_cri::linux_resources(request_resources(), "linux").unwrap(),
        user: Some(UserView {
            uid: 1000,
            gid: 7,
            supplemental_groups: vec![7, u32::MAX],
        }),
        stop_signal: 10,
        pid: 0,
        log: LogState::default(),
        runtime_specification: "{\"ociVersion\":\"1.2.0\"}".into(),
    }
}

fn sandbox_view(network: wire::NamespaceMode, addresses: &[&str]) -> SandboxView {
    let options = wire::NamespaceOption {
        network: network as i32,
        pid: wire::NamespaceMode::Container as i32,
        ..wire::NamespaceOption::default()
    };
    let config: SandboxConfig = from_cri::sandbox_config(Some(wire::PodSandboxConfig {
        metadata: Some(wire::PodSandboxMetadata {
            name: text("web"),
            uid: text("u"),
            namespace: text("n"),
            attempt: 1,
        }),
        linux: Some(wire::LinuxPodSandboxConfig {
            security_context: Some(wire::LinuxSandboxSecurityContext {
                namespace_options: Some(options),
                ..wire::LinuxSandboxSecurityContext::default()
            }),
            ..wire::LinuxPodSandboxConfig::default()
        }),
        ..wire::PodSandboxConfig::default()
    }))
    .unwrap();
    SandboxView {
        id: "5".repeat(64),
        config: Arc::new(config),
        runtime_handler: text("carpel"),
        state: SandboxState::NotReady,
        created_at: 9,
        addresses: addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect(),
        infra_pid: 42,
        network_namespace: text("/run/netns/carpel-5"),
    }
}

#[test]
fn a_container_status_echoes_the_request() {
    let status = container_status(&container_view());
    assert_eq!(status.mounts, request_mounts());
    assert_eq!(status.resources.unwrap().linux, Some(request_resources()));
    assert_eq!(status.metadata.unwrap().attempt, 3);
    assert_eq!(status.labels["l"], "1");
    assert_eq!(status.annotations["n"], "2");
}

#[test]
fn a_container_status_tells_image_exit_user_and_signal() {
    let status = container_status(&container_view());
    let image = status.image.clone().unwrap();
    assert_eq!(image.image, "docker.io/library/busybox:latest");
    assert_eq!(image.user_specified_image, "busybox");
    assert_eq!(image.annotations["a"], "b");
    assert_eq!(status.image_ref, "docker.io/library/busybox@sha256:2");
    assert_eq!(status.image_id, "sha256:1");
    assert_eq!(
        (status.exit_code, &*status.reason, &*status.message),
        (137, "OOMKilled", "m")
    );
    assert_eq!(
        (status.created_at, status.started_at, status.finished_at),
        (1, 2, 3)
    );
    assert_eq!(status.state(), wire::ContainerState::ContainerExited);
    assert_eq!(status.stop_signal(), wire::Signal::Sigusr1);
    assert_eq!(status.log_path, "/log/main.log");
    let user = status.user.clone().unwrap().linux.unwrap();
    assert_eq!((user.uid, user.gid), (1000, 7));
    assert_eq!(user.supplemental_groups, [7, i64::from(u32::MAX)]);
}

#[test]
fn a_listed_container_has_the_image_id_as_reference() {
    let listed = container(&container_view());
    assert_eq!(
        (&*listed.image_ref, &*listed.image_id),
        ("sha256:1", "sha256:1")
    );
    assert_eq!(listed.image.unwrap().user_specified_image, "busybox");
    assert_eq!(listed.pod_sandbox_id, "5".repeat(64));
}

#[test]
fn verbose_information_is_json_with_the_keys_of_the_peers() {
    let info: Value = serde_json::from_str(&container_info(&container_view())["info"]).unwrap();
    assert_eq!(info["pid"], 0);
    assert_eq!(info["sandboxID"], "5".repeat(64));
    assert_eq!(info["runtimeSpec"]["ociVersion"], "1.2.0");
    assert_eq!(info["config"]["metadata"]["name"], "main");
    assert_eq!(info["config"]["environment"][0]["value"], "v\u{fffd}");

    let view = sandbox_view(wire::NamespaceMode::Pod, &[]);
    let info: Value = serde_json::from_str(&sandbox_info(&view)["info"]).unwrap();
    assert_eq!(info["pid"], 42);
    let namespace = &info["runtimeSpec"]["linux"]["namespaces"][0];
    assert_eq!(
        (&namespace["type"], &namespace["path"]),
        (&"network".into(), &"/run/netns/carpel-5".into())
    );
}

#[test]
fn a_sandbox_status_echoes_namespaces_and_addresses() {
    let view = sandbox_view(wire::NamespaceMode::Pod, &["10.88.0.2", "fd00::2"]);
    let status = sandbox_status(&view);
    assert_eq!(status.state(), wire::PodSandboxState::SandboxNotready);
    let options = status.linux.unwrap().namespaces.unwrap().options.unwrap();
    assert_eq!(options.network(), wire::NamespaceMode::Pod);
    assert_eq!(options.pid(), wire::NamespaceMode::Container);
    let network = status.network.unwrap();
    assert_eq!(network.ip, "10.88.0.2");
    assert_eq!(network.additional_ips[0].ip, "fd00::2");
    assert_eq!(status.runtime_handler, "carpel");
}

#[test]
fn an_empty_address_is_told_in_the_hosts_network_only() {
    let host = sandbox_status(&sandbox_view(wire::NamespaceMode::Node, &[]));
    assert_eq!(host.network.unwrap().ip, "");
    let pod = sandbox_status(&sandbox_view(wire::NamespaceMode::Pod, &[]));
    assert_eq!(pod.network, None);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one value for each field")]
fn statistics_keep_their_numbers() {
    let memory = MemoryStatistics {
        timestamp: 4,
        usage_bytes: 10,
        working_set_bytes: 8,
        rss_bytes: 6,
        available_bytes: 2,
        page_faults: 3,
        major_page_faults: 1,
        swap_usage_bytes: Some(5),
        swap_available_bytes: 13,
    };
    let line = |total_microseconds| PressureLine {
        average10: 1.5,
        total_microseconds,
        ..PressureLine::default()
    };
    let pressure = |total| {
        Some(Pressure {
            some: line(total),
            full: line(total + 1),
        })
    };
    let pressures = Pressures {
        cpu: pressure(20),
        memory: pressure(30),
        io: pressure(40),
    };
    let of_container = ContainerStatistics {
        container: container_view(),
        cpu: CpuStatistics {
            timestamp: 4,
            usage_nanoseconds: 7,
            usage_nano_cores: 9,
        },
        memory: Some(memory),
        process_count: Some(2),
        pressures,
        writable_layer: Some(WritableLayer {
            timestamp: 4,
            mountpoint: text("/var/lib/carpel"),
            used_bytes: 11,
            inodes_used: 12,
        }),
    };
    let stats = container_stats(&of_container);
    let usage = stats.memory.as_ref().unwrap();
    assert_eq!(usage.working_set_bytes.as_ref().unwrap().value, 8);
    assert_eq!(usage.major_page_faults.as_ref().unwrap().value, 1);
    assert_eq!(
        stats
            .swap
            .as_ref()
            .unwrap()
            .swap_usage_bytes
            .as_ref()
            .unwrap()
            .value,
        5
    );
    assert_eq!(
        stats
            .cpu
            .as_ref()
            .unwrap()
            .usage_core_nano_seconds
            .as_ref()
            .unwrap()
            .value,
        7
    );
    let swap = stats.swap.as_ref().unwrap();
    assert_eq!(swap.swap_available_bytes.as_ref().unwrap().value, 13);
    let psi = |psi: &Option<wire::PsiStats>| {
        let psi = psi.as_ref().unwrap();
        let (some, full) = (psi.some.as_ref().unwrap(), psi.full.as_ref().unwrap());
        assert_eq!(some.avg10, 1.5);
        (some.total, full.total)
    };
    assert_eq!(psi(&stats.cpu.as_ref().unwrap().psi), (20, 21));
    assert_eq!(psi(&usage.psi), (30, 31));
    assert_eq!(psi(&stats.io.as_ref().unwrap().psi), (40, 41));
    let layer = stats.writable_layer.as_ref().unwrap();
    assert_eq!(layer.inodes_used.as_ref().unwrap().value, 12);
    let interface = |name: &str| InterfaceStatistics {
        name: text(name),
        rx_bytes: 1,
        rx_errors: 2,
        tx_bytes: 3,
        tx_errors: 4,
        ..InterfaceStatistics::default()
    };
    let of_sandbox = SandboxStatistics {
        sandbox: sandbox_view(wire::NamespaceMode::Pod, &[]),
        cpu: of_container.cpu,
        memory: None,
        process_count: Some(5),
        pressures: Pressures {
            io: None,
            ..pressures
        },
        interfaces: vec![interface("eth0"), interface("net1")],
        containers: vec![of_container],
    };
    let linux = sandbox_stats(&of_sandbox).linux.unwrap();
    let network = linux.network.unwrap();
    assert_eq!(network.default_interface.unwrap().name, "eth0");
    assert_eq!(network.interfaces.len(), 1);
    assert_eq!(network.interfaces[0].tx_errors.as_ref().unwrap().value, 4);
    assert_eq!(linux.containers, [stats]);
    assert!(linux.memory.is_none() && linux.io.is_none());
    assert_eq!(psi(&linux.cpu.unwrap().psi), (20, 21));
}

#[test]
fn the_bytes_of_a_status_are_those_of_the_contract() {
    // ContainerStatus.state = 3, exit_code = 7, stop_signal = 19 (wire.tsv).
    let status = wire::ContainerStatus {
        state: wire::ContainerState::ContainerExited as i32,
        exit_code: 1,
        stop_signal: wire::Signal::Sigterm as i32,
        ..wire::ContainerStatus::default()
    };
    assert_eq!(status.encode_to_vec(), [0x18, 2, 0x38, 1, 0x98, 0x01, 23]);
}
