//! The names that a kubelet expects, with the labels and values of a pod that has everything.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::cri::tests::{container_view, sandbox_view};
use crate::oci::{ContainerConfig, SandboxConfig};
use crate::pod::{
    Cpu, Details, DeviceIo, FilesystemFigures, HugePages, IoDevice, Memory, MemoryEvents, Pressure,
    PressureLine, Pressures, ProcessFigures, WritableLayer,
};

/// What critest expects of a runtime (Kubernetes 1.37).
const EXPECTED: &str = "container_blkio_device_usage_total container_cpu_cfs_periods_total \
container_cpu_cfs_throttled_periods_total container_cpu_cfs_throttled_seconds_total \
container_cpu_system_seconds_total container_cpu_usage_seconds_total container_cpu_user_seconds_total \
container_file_descriptors container_fs_inodes_free container_fs_inodes_total container_fs_limit_bytes \
container_fs_reads_bytes_total container_fs_reads_total container_fs_usage_bytes \
container_fs_writes_bytes_total container_fs_writes_total container_hugetlb_max_usage_bytes \
container_hugetlb_usage_bytes container_last_seen container_memory_cache container_memory_failcnt \
container_memory_failures_total container_memory_kernel_usage container_memory_mapped_file \
container_memory_max_usage_bytes container_memory_rss container_memory_swap container_memory_usage_bytes \
container_memory_working_set_bytes container_network_receive_bytes_total \
container_network_receive_errors_total container_network_receive_packets_dropped_total \
container_network_receive_packets_total container_network_transmit_bytes_total \
container_network_transmit_errors_total container_network_transmit_packets_dropped_total \
container_network_transmit_packets_total container_oom_events_total \
container_pressure_cpu_stalled_seconds_total container_pressure_cpu_waiting_seconds_total \
container_pressure_io_stalled_seconds_total container_pressure_io_waiting_seconds_total \
container_pressure_memory_stalled_seconds_total container_pressure_memory_waiting_seconds_total \
container_processes container_sockets container_spec_cpu_period container_spec_cpu_quota \
container_spec_cpu_shares container_spec_memory_limit_bytes \
container_spec_memory_reservation_limit_bytes container_spec_memory_swap_limit_bytes \
container_start_time_seconds container_threads container_threads_max container_ulimits_soft";

/// What may lack a value: the kernel or the host has none.
const OPTIONAL: &str = "container_blkio_device_usage_total container_fs_reads_bytes_total \
container_fs_reads_total container_fs_writes_bytes_total container_fs_writes_total \
container_hugetlb_max_usage_bytes container_hugetlb_usage_bytes \
container_pressure_cpu_stalled_seconds_total container_pressure_cpu_waiting_seconds_total \
container_pressure_io_stalled_seconds_total container_pressure_io_waiting_seconds_total \
container_pressure_memory_stalled_seconds_total container_pressure_memory_waiting_seconds_total \
container_spec_cpu_quota container_spec_memory_reservation_limit_bytes container_ulimits_soft";

const SECOND: u64 = 1_000_000;

fn words(text: &str) -> BTreeSet<&str> {
    text.split_whitespace().collect()
}

fn pressure(some: u64, full: u64) -> Option<Pressure> {
    let line = |seconds| PressureLine {
        total_microseconds: seconds * SECOND + 999_999,
        ..PressureLine::default()
    };
    Some(Pressure {
        some: line(some),
        full: line(full),
    })
}

fn full_cgroup() -> CgroupDetails {
    CgroupDetails {
        path: "/kubepods/pod1/c".to_owned(),
        cpu: Cpu {
            usage_microseconds: 9 * SECOND,
            user_microseconds: 5 * SECOND,
            system_microseconds: 4 * SECOND,
            periods: 10,
            throttled_periods: 11,
            throttled_microseconds: 12 * SECOND,
        },
        memory: Memory {
            current: 100,
            limit: Some(400),
            swap_current: Some(13),
            swap_limit: None,
            anonymous: 14,
            file: 15,
            shmem: 0,
            file_mapped: 16,
            kernel: 17,
            inactive_file: 30,
            page_faults: 18,
            major_page_faults: 19,
        },
        memory_events: MemoryEvents {
            max: 20,
            oom: 0,
            oom_kill: 21,
            oom_group_kill: 0,
        },
        io: vec![DeviceIo {
            device: "/dev/sda".to_owned(),
            counters: IoDevice {
                major: 8,
                minor: 0,
                read_bytes: 22,
                written_bytes: 23,
                reads: 24,
                writes: 25,
            },
        }],
        pressures: Pressures {
            cpu: pressure(26, 27),
            memory: pressure(28, 29),
            io: pressure(30, 31),
        },
        details: Details {
            memory_peak: Some(32),
            memory_low: Some(33),
            pids_limit: Some(34),
            huge_pages: vec![HugePages {
                page_size: "2MB".to_owned(),
                usage_bytes: 35,
            }],
        },
        processes: ProcessFigures {
            processes: 36,
            threads: 37,
            file_descriptors: 38,
            sockets: 39,
            open_files_limit: Some(40),
        },
    }
}

fn figures() -> SandboxFigures {
    let mut container = container_view("c");
    container.started_at = 50_999_999_999;
    container.config = std::sync::Arc::new(ContainerConfig {
        labels: BTreeMap::from([(CONTAINER_NAME.to_owned(), "web".to_owned())]),
        ..ContainerConfig::default()
    });
    container.resources.cpu_quota = 41;
    container.resources.memory_limit_bytes = 400;
    container.resources.memory_swap_limit_bytes = -1;
    let mut sandbox = sandbox_view("s");
    sandbox.config = std::sync::Arc::new(SandboxConfig {
        labels: BTreeMap::from([
            (POD_NAME.to_owned(), "web-0".to_owned()),
            (POD_NAMESPACE.to_owned(), "shop".to_owned()),
        ]),
        ..SandboxConfig::default()
    });
    SandboxFigures {
        sandbox,
        seen_at: 60_000_000_000,
        cgroup: CgroupDetails {
            path: "/kubepods/pod1".to_owned(),
            ..CgroupDetails::default()
        },
        interfaces: vec![InterfaceStatistics {
            name: "eth0".to_owned(),
            rx_bytes: 1,
            rx_errors: 2,
            tx_bytes: 3,
            tx_errors: 4,
            rx_packets: 5,
            rx_dropped: 6,
            tx_packets: 7,
            tx_dropped: 8,
        }],
        containers: vec![ContainerFigures {
            container,
            seen_at: 61_000_000_000,
            cgroup: full_cgroup(),
            writable_layer: Some(WritableLayer {
                used_bytes: 42,
                ..WritableLayer::default()
            }),
            filesystem: Some(FilesystemFigures {
                device: "/dev/sdb".to_owned(),
                bytes: 43,
                inodes: 44,
                free_inodes: 45,
            }),
        }],
    }
}

/// Own labels and values of a metric, by its name.
fn values(metrics: &[wire::Metric], name: &str) -> Vec<(String, u64)> {
    let mine = metrics.iter().filter(|metric| metric.name == name);
    mine.map(|metric| {
        let own = metric.label_values[LABELS.len()..].join(",");
        (own, metric.value.as_ref().unwrap().value)
    })
    .collect()
}

#[test]
fn the_descriptors_are_the_names_that_are_expected_with_help_and_labels() {
    let descriptors = descriptors().descriptors;
    let names: BTreeSet<&str> = descriptors.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names.len(), descriptors.len(), "a name is there twice");
    assert_eq!(names, words(EXPECTED));
    assert_eq!(names.len(), 56);
    for descriptor in descriptors {
        assert!(!descriptor.help.is_empty(), "{}", descriptor.name);
        assert!(
            descriptor
                .label_keys
                .starts_with(&LABELS.map(str::to_owned))
        );
    }
}

#[test]
fn every_metric_has_a_value_and_as_many_label_values_as_keys() {
    let pod = of_sandbox(&figures());
    let containers = &pod.container_metrics;
    let all: Vec<_> = pod.metrics.iter().chain(&containers[0].metrics).collect();
    for descriptor in descriptors().descriptors {
        let mut found = 0;
        for metric in all.iter().filter(|metric| metric.name == descriptor.name) {
            assert_eq!(
                metric.label_values.len(),
                descriptor.label_keys.len(),
                "{}",
                metric.name
            );
            found += 1;
        }
        assert!(found > 0, "{} has no value", descriptor.name);
    }
}

#[test]
fn what_a_poor_host_lacks_is_only_what_may_be_lacking() {
    let mut figures = figures();
    figures.containers[0].cgroup = CgroupDetails::default();
    figures.containers[0].container.resources = crate::oci::LinuxResources::default();
    let pod = of_sandbox(&figures);
    let mut names: BTreeSet<&str> = pod.metrics.iter().map(|one| one.name.as_str()).collect();
    let of_container = pod.container_metrics[0].metrics.iter();
    names.extend(of_container.map(|metric| metric.name.as_str()));
    let all = words(EXPECTED);
    let lacking: BTreeSet<&str> = all.difference(&names).copied().collect();
    assert!(lacking.is_subset(&words(OPTIONAL)), "{lacking:?}");
}

#[test]
fn labels_are_those_of_the_kubelet() {
    let pod = of_sandbox(&figures());
    let labels = |metric: &wire::Metric| metric.label_values[..LABELS.len()].join(" ");
    assert_eq!(labels(&pod.metrics[0]), "/kubepods/pod1 s   web-0 shop");
    let container = &pod.container_metrics[0];
    assert_eq!(container.container_id, "c");
    assert_eq!(
        labels(&container.metrics[0]),
        "/kubepods/pod1/c c busybox:1 web web-0 shop"
    );
    assert_eq!(pod.metrics[0].timestamp, 60_000_000_000);
    assert_eq!(container.metrics[0].timestamp, 61_000_000_000);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row for each metric")]
fn values_are_taken_from_where_they_belong() {
    let pod = of_sandbox(&figures());
    let of_container = &pod.container_metrics[0].metrics;
    let cases: &[(&str, &[(&str, u64)])] = &[
        ("container_cpu_usage_seconds_total", &[("total", 9)]),
        ("container_cpu_user_seconds_total", &[("", 5)]),
        ("container_cpu_system_seconds_total", &[("", 4)]),
        ("container_cpu_cfs_periods_total", &[("", 10)]),
        ("container_cpu_cfs_throttled_periods_total", &[("", 11)]),
        ("container_cpu_cfs_throttled_seconds_total", &[("", 12)]),
        ("container_memory_swap", &[("", 13)]),
        ("container_memory_rss", &[("", 14)]),
        ("container_memory_cache", &[("", 15)]),
        ("container_memory_mapped_file", &[("", 16)]),
        ("container_memory_kernel_usage", &[("", 17)]),
        ("container_memory_working_set_bytes", &[("", 70)]),
        ("container_memory_usage_bytes", &[("", 100)]),
        (
            "container_memory_failures_total",
            &[
                ("pgfault,container", 18),
                ("pgfault,hierarchy", 18),
                ("pgmajfault,container", 19),
                ("pgmajfault,hierarchy", 19),
            ],
        ),
        ("container_memory_failcnt", &[("", 20)]),
        ("container_oom_events_total", &[("", 21)]),
        (
            "container_blkio_device_usage_total",
            &[("/dev/sda,8,0,Read", 22), ("/dev/sda,8,0,Write", 23)],
        ),
        ("container_fs_reads_bytes_total", &[("/dev/sda", 22)]),
        ("container_fs_writes_bytes_total", &[("/dev/sda", 23)]),
        ("container_fs_reads_total", &[("/dev/sda", 24)]),
        ("container_fs_writes_total", &[("/dev/sda", 25)]),
        ("container_pressure_cpu_waiting_seconds_total", &[("", 26)]),
        ("container_pressure_cpu_stalled_seconds_total", &[("", 27)]),
        (
            "container_pressure_memory_waiting_seconds_total",
            &[("", 28)],
        ),
        (
            "container_pressure_memory_stalled_seconds_total",
            &[("", 29)],
        ),
        ("container_pressure_io_waiting_seconds_total", &[("", 30)]),
        ("container_pressure_io_stalled_seconds_total", &[("", 31)]),
        ("container_memory_max_usage_bytes", &[("", 32)]),
        ("container_spec_memory_reservation_limit_bytes", &[("", 33)]),
        ("container_threads_max", &[("", 34)]),
        ("container_hugetlb_usage_bytes", &[("2MB", 35)]),
        ("container_processes", &[("", 36)]),
        ("container_threads", &[("", 37)]),
        ("container_file_descriptors", &[("", 38)]),
        ("container_sockets", &[("", 39)]),
        ("container_ulimits_soft", &[("max_open_files", 40)]),
        ("container_spec_cpu_quota", &[("", 41)]),
        ("container_spec_cpu_period", &[("", 100_000)]),
        ("container_spec_cpu_shares", &[("", 1024)]),
        ("container_spec_memory_limit_bytes", &[("", 400)]),
        ("container_spec_memory_swap_limit_bytes", &[("", 0)]),
        ("container_fs_usage_bytes", &[("/dev/sdb", 42)]),
        ("container_fs_limit_bytes", &[("/dev/sdb", 43)]),
        ("container_fs_inodes_total", &[("/dev/sdb", 44)]),
        ("container_fs_inodes_free", &[("/dev/sdb", 45)]),
        ("container_start_time_seconds", &[("", 50)]),
        ("container_last_seen", &[("", 61)]),
    ];
    for (name, wanted) in cases {
        let wanted: Vec<(String, u64)> = wanted
            .iter()
            .map(|(label, value)| ((*label).to_owned(), *value))
            .collect();
        assert_eq!(values(of_container, name), wanted, "{name}");
    }
    let network = [
        ("receive_bytes", 1),
        ("receive_errors", 2),
        ("transmit_bytes", 3),
        ("transmit_errors", 4),
        ("receive_packets", 5),
        ("receive_packets_dropped", 6),
        ("transmit_packets", 7),
        ("transmit_packets_dropped", 8),
    ];
    for (name, value) in network {
        let name = format!("container_network_{name}_total");
        assert_eq!(
            values(&pod.metrics, &name),
            [("eth0".to_owned(), value)],
            "{name}"
        );
        assert!(values(of_container, &name).is_empty());
    }
}

#[test]
fn what_only_rises_is_a_counter() {
    for metric in all() {
        let says_total = metric.name.ends_with("_total") || metric.name.ends_with("_failcnt");
        // cAdvisor's names of gauges that end like counters.
        let is_gauge = metric.name == "container_fs_inodes_total";
        let is_counter = metric.kind == wire::MetricType::Counter;
        assert_eq!(is_counter, says_total && !is_gauge, "{}", metric.name);
    }
}
