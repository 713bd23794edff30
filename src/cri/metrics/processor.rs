//! Processor time, and waiting for it.

use super::{Metric, Value, counter, labelled, maybe, one, seconds};
use crate::pod::{Pressure, PressureLine};

pub(super) const METRICS: &[Metric] = &[
    counter(
        "container_cpu_user_seconds_total",
        &[],
        "Cumulative user cpu time consumed in seconds.",
        |figures| one(seconds(figures.cgroup.cpu.user_microseconds)),
    ),
    counter(
        "container_cpu_system_seconds_total",
        &[],
        "Cumulative system cpu time consumed in seconds.",
        |figures| one(seconds(figures.cgroup.cpu.system_microseconds)),
    ),
    counter(
        "container_cpu_usage_seconds_total",
        &["cpu"],
        "Cumulative cpu time consumed in seconds.",
        |figures| {
            vec![labelled(
                ["total"],
                seconds(figures.cgroup.cpu.usage_microseconds),
            )]
        },
    ),
    counter(
        "container_cpu_cfs_periods_total",
        &[],
        "Number of elapsed enforcement period intervals.",
        |figures| one(figures.cgroup.cpu.periods),
    ),
    counter(
        "container_cpu_cfs_throttled_periods_total",
        &[],
        "Number of throttled period intervals.",
        |figures| one(figures.cgroup.cpu.throttled_periods),
    ),
    counter(
        "container_cpu_cfs_throttled_seconds_total",
        &[],
        "Total time duration the container has been throttled.",
        |figures| one(seconds(figures.cgroup.cpu.throttled_microseconds)),
    ),
    counter(
        "container_pressure_cpu_waiting_seconds_total",
        &[],
        "Time in which some tasks have waited for cpu, in seconds.",
        |figures| pressure(figures.cgroup.pressures.cpu, |both| both.some),
    ),
    counter(
        "container_pressure_cpu_stalled_seconds_total",
        &[],
        "Time in which all tasks have waited for cpu, in seconds.",
        |figures| pressure(figures.cgroup.pressures.cpu, |both| both.full),
    ),
    counter(
        "container_pressure_memory_waiting_seconds_total",
        &[],
        "Time in which some tasks have waited for memory, in seconds.",
        |figures| pressure(figures.cgroup.pressures.memory, |both| both.some),
    ),
    counter(
        "container_pressure_memory_stalled_seconds_total",
        &[],
        "Time in which all tasks have waited for memory, in seconds.",
        |figures| pressure(figures.cgroup.pressures.memory, |both| both.full),
    ),
    counter(
        "container_pressure_io_waiting_seconds_total",
        &[],
        "Time in which some tasks have waited for input or output, in seconds.",
        |figures| pressure(figures.cgroup.pressures.io, |both| both.some),
    ),
    counter(
        "container_pressure_io_stalled_seconds_total",
        &[],
        "Time in which all tasks have waited for input or output, in seconds.",
        |figures| pressure(figures.cgroup.pressures.io, |both| both.full),
    ),
];

/// None where the kernel does not keep it.
fn pressure(pressure: Option<Pressure>, line: fn(Pressure) -> PressureLine) -> Vec<Value> {
    maybe(pressure.map(|pressure| seconds(line(pressure).total_microseconds)))
}
