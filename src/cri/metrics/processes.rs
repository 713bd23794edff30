//! Processes, and when they were seen.

use super::{Metric, gauge, labelled, one};
use crate::pod::Timestamp;

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "container_processes",
        &[],
        "Number of processes running inside the container.",
        |figures| one(figures.cgroup.processes.processes),
    ),
    gauge(
        "container_threads",
        &[],
        "Number of threads running inside the container.",
        |figures| one(figures.cgroup.processes.threads),
    ),
    gauge(
        "container_threads_max",
        &[],
        "Maximum number of threads allowed inside the container, infinity if value is zero.",
        |figures| one(figures.cgroup.details.pids_limit.unwrap_or(0)),
    ),
    gauge(
        "container_file_descriptors",
        &[],
        "Number of open file descriptors for the container.",
        |figures| one(figures.cgroup.processes.file_descriptors),
    ),
    gauge(
        "container_sockets",
        &[],
        "Number of open sockets for the container.",
        |figures| one(figures.cgroup.processes.sockets),
    ),
    gauge(
        "container_ulimits_soft",
        &["ulimit"],
        "Soft ulimit values for the container root process; one without a limit is left out.",
        |figures| {
            let limit = figures.cgroup.processes.open_files_limit;
            let limit = limit.map(|limit| labelled(["max_open_files"], limit));
            limit.into_iter().collect()
        },
    ),
    gauge(
        "container_last_seen",
        &[],
        "Last time a container was seen by the exporter, in seconds since the epoch.",
        |figures| one(seconds_of(figures.seen_at)),
    ),
    gauge(
        "container_start_time_seconds",
        &[],
        "Start time of the container since unix epoch in seconds.",
        |figures| one(seconds_of(figures.started_at)),
    ),
];

fn seconds_of(timestamp: Timestamp) -> u64 {
    u64::try_from(timestamp / 1_000_000_000).unwrap_or(0)
}
