//! Memory and huge pages. Figures of a controller that the host lacks are 0, as cAdvisor has them.

use super::{Metric, Value, counter, gauge, labelled, one};
use crate::pod::HugePages;

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "container_memory_cache",
        &[],
        "Number of bytes of page cache memory.",
        |figures| one(figures.cgroup.memory.file),
    ),
    gauge(
        "container_memory_rss",
        &[],
        "Size of RSS in bytes.",
        |figures| one(figures.cgroup.memory.anonymous),
    ),
    gauge(
        "container_memory_kernel_usage",
        &[],
        "Size of kernel memory allocated in bytes.",
        |figures| one(figures.cgroup.memory.kernel),
    ),
    gauge(
        "container_memory_mapped_file",
        &[],
        "Size of memory mapped files in bytes.",
        |figures| one(figures.cgroup.memory.file_mapped),
    ),
    gauge(
        "container_memory_swap",
        &[],
        "Container swap usage in bytes.",
        |figures| one(figures.cgroup.memory.swap_current.unwrap_or(0)),
    ),
    counter(
        "container_memory_failcnt",
        &[],
        "Number of times that memory usage hit the limit.",
        |figures| one(figures.cgroup.memory_events.max),
    ),
    gauge(
        "container_memory_usage_bytes",
        &[],
        "Current memory usage in bytes, including all memory regardless of when it was accessed.",
        |figures| one(figures.cgroup.memory.current),
    ),
    gauge(
        "container_memory_max_usage_bytes",
        &[],
        "Maximum memory usage recorded in bytes; before Linux 5.19 the current usage.",
        |figures| {
            let peak = figures.cgroup.details.memory_peak;
            one(peak.unwrap_or(figures.cgroup.memory.current))
        },
    ),
    gauge(
        "container_memory_working_set_bytes",
        &[],
        "Current working set in bytes.",
        |figures| one(figures.cgroup.memory.working_set()),
    ),
    counter(
        "container_memory_failures_total",
        &["failure_type", "scope"],
        "Cumulative count of memory allocation failures.",
        |figures| {
            // One cgroup of v2 counts for all below it.
            let memory = &figures.cgroup.memory;
            let faults = [
                ("pgfault", memory.page_faults),
                ("pgmajfault", memory.major_page_faults),
            ];
            let scopes = ["container", "hierarchy"];
            faults
                .into_iter()
                .flat_map(|(fault, count)| scopes.map(|scope| labelled([fault, scope], count)))
                .collect()
        },
    ),
    counter(
        "container_oom_events_total",
        &[],
        "Count of out of memory events observed for the container.",
        |figures| one(figures.cgroup.memory_events.oom_kill),
    ),
    gauge(
        "container_hugetlb_usage_bytes",
        &["pagesize"],
        "Current hugepage usage in bytes.",
        |figures| huge_pages(&figures.cgroup.details.huge_pages),
    ),
    gauge(
        "container_hugetlb_max_usage_bytes",
        &["pagesize"],
        "Maximum hugepage usage in bytes; cgroup v2 records no maximum, so this is the current usage.",
        |figures| huge_pages(&figures.cgroup.details.huge_pages),
    ),
];

fn huge_pages(sizes: &[HugePages]) -> Vec<Value> {
    sizes
        .iter()
        .map(|pages| labelled([&pages.page_size], pages.usage_bytes))
        .collect()
}
