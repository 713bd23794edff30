//! CRI `LinuxContainerResources` to `LinuxResources`.

use super::InvalidField;
use crate::cri::wire::runtime as wire;
use crate::oci::{HugepageLimit, LinuxResources};

/// Legal values of `/proc/<pid>/oom_score_adj` (proc_pid_oom_score_adj(5)).
const OOM_SCORE_ADJ: std::ops::RangeInclusive<i64> = -1000..=1000;

/// Limits; `at` is the path of the message in the request.
pub(in crate::cri) fn linux_resources(
    resources: wire::LinuxContainerResources,
    at: &str,
) -> Result<LinuxResources, InvalidField> {
    if !OOM_SCORE_ADJ.contains(&resources.oom_score_adj) {
        let problem = format!("{} is not in -1000 to 1000", resources.oom_score_adj);
        return Err(InvalidField::new(format!("{at}.oom_score_adj"), problem));
    }
    for (name, value) in [
        ("cpu_period", resources.cpu_period),
        ("cpu_shares", resources.cpu_shares),
    ] {
        if value < 0 {
            let problem = format!("{value} is negative");
            return Err(InvalidField::new(format!("{at}.{name}"), problem));
        }
    }
    // A name in `unified` becomes a file name in the container's cgroup.
    if let Some(name) = resources.unified.keys().find(|name| !is_cgroup_file(name)) {
        let problem = format!("{name:?} is not the name of a cgroup file");
        return Err(InvalidField::new(format!("{at}.unified"), problem));
    }
    Ok(LinuxResources {
        cpu_period: resources.cpu_period,
        cpu_quota: resources.cpu_quota,
        cpu_shares: resources.cpu_shares,
        memory_limit_bytes: resources.memory_limit_in_bytes,
        oom_score_adj: resources.oom_score_adj,
        cpuset_cpus: resources.cpuset_cpus,
        cpuset_mems: resources.cpuset_mems,
        hugepage_limits: resources
            .hugepage_limits
            .into_iter()
            .map(|limit| HugepageLimit {
                page_size: limit.page_size,
                limit_bytes: limit.limit,
            })
            .collect(),
        unified: resources.unified,
        memory_swap_limit_bytes: resources.memory_swap_limit_in_bytes,
    })
}

fn is_cgroup_file(name: &str) -> bool {
    name.contains('.') && !name.contains(['/', '\0']) && !name.starts_with('.')
}
