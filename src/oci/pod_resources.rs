//! What a pod as a whole may use: the sum of its containers and of what running it costs, as the client has summed it.

use serde::{Deserialize, Serialize};

use super::sandbox_config::{HugepageLimit, LinuxResources, SandboxConfig};

/// The period that a quota without one is of: the kernel's own (Documentation/admin-guide/cgroup-v2.rst, cpu.max).
const USUAL_PERIOD: i64 = 100_000;

/// CRI `LinuxPodSandboxConfig.resources` and `overhead`, and what UpdatePodSandboxResources made of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PodResources {
    /// What running the pod costs, besides its containers.
    pub overhead: Option<LinuxResources>,
    /// The sum of the containers'.
    pub resources: Option<LinuxResources>,
}

impl PodResources {
    /// Those of a sandbox, as requested.
    #[must_use]
    pub fn of(config: &SandboxConfig) -> Self {
        Self {
            overhead: config.overhead.clone(),
            resources: config.resources.clone(),
        }
    }

    /// The limits of the pod's cgroup: those of the containers with the overhead on top. Without the former there are none,
    /// as an overhead by itself limits nothing.
    #[must_use]
    pub fn limits(&self) -> Option<LinuxResources> {
        let mut limits = self.resources.clone()?;
        if let Some(overhead) = &self.overhead {
            add(&mut limits, overhead);
        }
        // That is of processes, not of a cgroup.
        limits.oom_score_adj = 0;
        (limits != LinuxResources::default()).then_some(limits)
    }
}

/// Adds an overhead to what is limited; what is not stays without a limit.
fn add(limits: &mut LinuxResources, overhead: &LinuxResources) {
    let sum = |limit: &mut i64, more: i64| {
        if *limit > 0 && more > 0 {
            *limit = limit.saturating_add(more);
        }
    };
    let more_quota = scaled(overhead, period(limits));
    sum(&mut limits.cpu_quota, more_quota);
    sum(&mut limits.cpu_shares, overhead.cpu_shares);
    sum(&mut limits.memory_limit_bytes, overhead.memory_limit_bytes);
    sum(
        &mut limits.memory_swap_limit_bytes,
        overhead.memory_limit_bytes,
    );
    for more in &overhead.hugepage_limits {
        let same = |limit: &&mut HugepageLimit| limit.page_size == more.page_size;
        if let Some(limit) = limits.hugepage_limits.iter_mut().find(same) {
            limit.limit_bytes = limit.limit_bytes.saturating_add(more.limit_bytes);
        }
    }
}

fn period(resources: &LinuxResources) -> i64 {
    match resources.cpu_period {
        ..=0 => USUAL_PERIOD,
        period => period,
    }
}

/// The quota of `resources` in a period of that length.
fn scaled(resources: &LinuxResources, period_wanted: i64) -> i64 {
    let quota = i128::from(resources.cpu_quota) * i128::from(period_wanted);
    i64::try_from(quota / i128::from(period(resources))).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overhead_comes_on_top_of_what_is_limited() {
        let resources = LinuxResources {
            cpu_period: 50_000,
            cpu_quota: 25_000,
            cpu_shares: 512,
            memory_limit_bytes: 100,
            hugepage_limits: vec![HugepageLimit {
                page_size: "2MB".into(),
                limit_bytes: 2 << 20,
            }],
            oom_score_adj: -900,
            ..LinuxResources::default()
        };
        let overhead = LinuxResources {
            cpu_quota: 10_000,
            cpu_shares: 100,
            memory_limit_bytes: 20,
            hugepage_limits: vec![
                HugepageLimit {
                    page_size: "2MB".into(),
                    limit_bytes: 2 << 20,
                },
                HugepageLimit {
                    page_size: "1GB".into(),
                    limit_bytes: 1 << 30,
                },
            ],
            ..LinuxResources::default()
        };
        let pod = PodResources {
            overhead: Some(overhead),
            resources: Some(resources),
        };
        let limits = pod.limits().unwrap();
        // 10 ms in 100 are 5 in 50.
        assert_eq!((limits.cpu_quota, limits.cpu_period), (30_000, 50_000));
        assert_eq!((limits.cpu_shares, limits.memory_limit_bytes), (612, 120));
        assert_eq!(limits.hugepage_limits.len(), 1);
        assert_eq!(limits.hugepage_limits[0].limit_bytes, 4 << 20);
        assert_eq!(limits.oom_score_adj, 0);
    }

    #[test]
    fn what_has_no_limit_gets_none_by_its_overhead() {
        let overhead = LinuxResources {
            memory_limit_bytes: 20,
            ..LinuxResources::default()
        };
        let mut pod = PodResources {
            overhead: Some(overhead),
            resources: None,
        };
        assert_eq!(pod.limits(), None);
        pod.resources = Some(LinuxResources {
            cpu_quota: -1,
            memory_limit_bytes: -1,
            ..LinuxResources::default()
        });
        let limits = pod.limits().unwrap();
        assert_eq!((limits.cpu_quota, limits.memory_limit_bytes), (-1, -1));
    }
}
