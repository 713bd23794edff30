//! The limits of a container; 0 means none, as cAdvisor has it.

use super::{Figures, Metric, gauge, maybe};
use crate::oci::LinuxResources;

/// The kernel's default, in microseconds.
const DEFAULT_CPU_PERIOD: u64 = 100_000;

/// The kernel's default weight, as shares.
const DEFAULT_CPU_SHARES: u64 = 1024;

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "container_spec_cpu_period",
        &[],
        "CPU period of the container.",
        |figures| {
            let limit = limit(figures, |resources| resources.cpu_period);
            maybe(limit.map(|period| {
                if period == 0 {
                    DEFAULT_CPU_PERIOD
                } else {
                    period
                }
            }))
        },
    ),
    gauge(
        "container_spec_cpu_quota",
        &[],
        "CPU quota of the container; left out without one.",
        |figures| {
            let limit = limit(figures, |resources| resources.cpu_quota);
            maybe(limit.filter(|quota| *quota != 0))
        },
    ),
    gauge(
        "container_spec_cpu_shares",
        &[],
        "CPU share of the container.",
        |figures| {
            let limit = limit(figures, |resources| resources.cpu_shares);
            maybe(limit.map(|shares| {
                if shares == 0 {
                    DEFAULT_CPU_SHARES
                } else {
                    shares
                }
            }))
        },
    ),
    gauge(
        "container_spec_memory_limit_bytes",
        &[],
        "Memory limit for the container.",
        |figures| maybe(limit(figures, |resources| resources.memory_limit_bytes)),
    ),
    gauge(
        "container_spec_memory_reservation_limit_bytes",
        &[],
        "Memory reservation limit for the container.",
        |figures| {
            let reserved = figures.cgroup.details.memory_low.unwrap_or(0);
            maybe(figures.container.map(|_| reserved))
        },
    ),
    gauge(
        "container_spec_memory_swap_limit_bytes",
        &[],
        "Memory and swap limit for the container, together.",
        |figures| {
            maybe(limit(figures, |resources| {
                resources.memory_swap_limit_bytes
            }))
        },
    ),
];

/// A limit in force, of a container; negative ones mean none.
fn limit(figures: &Figures, of: fn(&LinuxResources) -> i64) -> Option<u64> {
    let container = figures.container?;
    Some(u64::try_from(of(&container.container.resources)).unwrap_or(0))
}
