//! What containers and sandboxes use of the machine: one reading of their cgroups, and the rate since the last one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::clock;
use super::error::PodError;
use super::parts::{CgroupReading, Parts};
use super::sandbox_state::{Container, Pod};
use super::slot::PodSlot;
use super::view::{
    ContainerState, ContainerStatistics, CpuStatistics, MemoryStatistics, SandboxStatistics,
    Timestamp,
};

/// A rate is only taken over at least this time: the counters of shorter ones are too coarse.
const SHORTEST_SPAN_NANOSECONDS: i64 = 100_000_000;

/// The last reading of each cgroup, for rates.
#[derive(Debug, Default)]
pub(super) struct Rates {
    last: Mutex<HashMap<String, Sample>>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Timestamp,
    usage_nanoseconds: u64,
    nano_cores: u64,
}

impl Rates {
    /// The rate since the last reading; since the start with the first one.
    fn rate(&self, id: &str, started_at: Timestamp, at: Timestamp, usage: u64) -> u64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.get(id).copied().unwrap_or(Sample {
            at: started_at,
            usage_nanoseconds: 0,
            nano_cores: 0,
        });
        let span = at.saturating_sub(before.at);
        if span < SHORTEST_SPAN_NANOSECONDS && last.contains_key(id) {
            return before.nano_cores;
        }
        let nano_cores = per_second(usage.saturating_sub(before.usage_nanoseconds), span);
        let sample = Sample {
            at,
            usage_nanoseconds: usage,
            nano_cores,
        };
        last.insert(id.to_owned(), sample);
        nano_cores
    }

    /// Forgets what is not there any more.
    pub(super) fn retain(&self, known: impl Fn(&str) -> bool) {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|id, _| known(id));
    }
}

fn per_second(usage_nanoseconds: u64, span_nanoseconds: i64) -> u64 {
    let span = u128::try_from(span_nanoseconds).unwrap_or(0).max(1);
    let rate = u128::from(usage_nanoseconds) * 1_000_000_000 / span;
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// One container's.
pub(super) async fn of_container(
    parts: &Parts,
    rates: &Rates,
    pod: &Pod,
    container: &Container,
) -> Result<ContainerStatistics, PodError> {
    let now = clock::now();
    let reading = if container.phase.state() == ContainerState::Running {
        parts
            .cgroups
            .read(&pod.config.cgroup_parent, &pod.id, Some(&container.id))?
    } else {
        CgroupReading::default()
    };
    let writable_layer = parts.images.writable_layer(&container.id).await;
    Ok(ContainerStatistics {
        container: super::pods::view(pod, container),
        cpu: cpu(
            rates,
            &container.id,
            container.phase.started_at(),
            now,
            &reading,
        ),
        memory: reading.memory.map(|memory| timed(memory, now)),
        process_count: reading.process_count,
        pressures: reading.pressures,
        writable_layer,
    })
}

/// A sandbox's with its running containers.
pub(super) async fn of_sandbox(
    parts: &Parts,
    rates: &Rates,
    slot: &PodSlot,
) -> Result<SandboxStatistics, PodError> {
    let pod = slot.pod();
    let now = clock::now();
    let reading = parts
        .cgroups
        .read(&pod.config.cgroup_parent, &pod.id, None)?;
    let mut containers = Vec::new();
    for container in pod.containers.values() {
        if container.phase.state() == ContainerState::Running {
            containers.push(of_container(parts, rates, &pod, container).await?);
        }
    }
    let interfaces = if pod.has_host_network() {
        Vec::new()
    } else {
        parts.networks.statistics(&pod.id).await
    };
    Ok(SandboxStatistics {
        sandbox: pod.view(),
        cpu: cpu(rates, &pod.id, pod.created_at, now, &reading),
        memory: reading.memory.map(|memory| timed(memory, now)),
        process_count: reading.process_count,
        pressures: reading.pressures,
        interfaces,
        containers,
    })
}

fn cpu(
    rates: &Rates,
    id: &str,
    started_at: Timestamp,
    now: Timestamp,
    reading: &CgroupReading,
) -> CpuStatistics {
    CpuStatistics {
        timestamp: now,
        usage_nanoseconds: reading.cpu_usage_nanoseconds,
        usage_nano_cores: rates.rate(id, started_at, now, reading.cpu_usage_nanoseconds),
    }
}

fn timed(memory: MemoryStatistics, timestamp: Timestamp) -> MemoryStatistics {
    MemoryStatistics {
        timestamp,
        ..memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn the_first_rate_is_that_since_the_start() {
        let rates = Rates::default();
        assert_eq!(
            rates.rate("a", SECOND, 3 * SECOND, 1_000_000_000),
            500_000_000
        );
    }

    #[test]
    fn later_rates_are_those_since_the_last_reading() {
        let rates = Rates::default();
        rates.rate("a", 0, SECOND, 1_000_000_000);
        assert_eq!(rates.rate("a", 0, 2 * SECOND, 1_250_000_000), 250_000_000);
    }

    #[test]
    fn a_reading_right_after_another_repeats_its_rate() {
        let rates = Rates::default();
        let first = rates.rate("a", 0, SECOND, 1_000_000_000);
        assert_eq!(rates.rate("a", 0, SECOND + 5, 1_000_000_000), first);
    }
}
