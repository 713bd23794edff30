//! Disks and file systems.

use super::{Figures, Metric, Value, counter, gauge, labelled};
use crate::pod::{FilesystemFigures, IoDevice};

pub(super) const METRICS: &[Metric] = &[
    counter(
        "container_blkio_device_usage_total",
        &["device", "major", "minor", "operation"],
        "Bytes of input and output by device.",
        |figures| {
            let devices = figures.cgroup.io.iter();
            devices
                .flat_map(|io| {
                    let counters = io.counters;
                    let (major, minor) = (counters.major.to_string(), counters.minor.to_string());
                    [
                        ("Read", counters.read_bytes),
                        ("Write", counters.written_bytes),
                    ]
                    .map(|(operation, bytes)| {
                        labelled([&io.device, &major, &minor, operation], bytes)
                    })
                })
                .collect()
        },
    ),
    counter(
        "container_fs_reads_bytes_total",
        &["device"],
        "Cumulative count of bytes read.",
        |figures| by_device(figures, |counters| counters.read_bytes),
    ),
    counter(
        "container_fs_reads_total",
        &["device"],
        "Cumulative count of reads completed.",
        |figures| by_device(figures, |counters| counters.reads),
    ),
    counter(
        "container_fs_writes_bytes_total",
        &["device"],
        "Cumulative count of bytes written.",
        |figures| by_device(figures, |counters| counters.written_bytes),
    ),
    counter(
        "container_fs_writes_total",
        &["device"],
        "Cumulative count of writes completed.",
        |figures| by_device(figures, |counters| counters.writes),
    ),
    gauge(
        "container_fs_usage_bytes",
        &["device"],
        "Number of bytes that are consumed by the container's writable layer.",
        |figures| {
            let container = figures.container;
            let layer = container.and_then(|container| container.writable_layer.as_ref());
            let used = layer.map_or(0, |layer| layer.used_bytes);
            of_filesystem(figures, |_| used)
        },
    ),
    gauge(
        "container_fs_limit_bytes",
        &["device"],
        "Number of bytes that the file system of the writable layer has.",
        |figures| of_filesystem(figures, |filesystem| filesystem.bytes),
    ),
    gauge(
        "container_fs_inodes_total",
        &["device"],
        "Number of inodes that the file system of the writable layer has.",
        |figures| of_filesystem(figures, |filesystem| filesystem.inodes),
    ),
    gauge(
        "container_fs_inodes_free",
        &["device"],
        "Number of free inodes on the file system of the writable layer.",
        |figures| of_filesystem(figures, |filesystem| filesystem.free_inodes),
    ),
];

fn by_device(figures: &Figures, value: fn(&IoDevice) -> u64) -> Vec<Value> {
    let devices = figures.cgroup.io.iter();
    devices
        .map(|io| labelled([&io.device], value(&io.counters)))
        .collect()
}

fn of_filesystem(figures: &Figures, value: impl Fn(&FilesystemFigures) -> u64) -> Vec<Value> {
    let container = figures.container;
    let filesystem = container.and_then(|container| container.filesystem.as_ref());
    filesystem
        .map(|filesystem| labelled([&filesystem.device], value(filesystem)))
        .into_iter()
        .collect()
}
