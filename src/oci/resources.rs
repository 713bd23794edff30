//! CRI's limits in OCI terms. Which cgroup files they become is `cgroup/`'s business.

use std::collections::HashMap;

use oci_spec::runtime::{
    LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxResources as SpecResources,
};

use super::error::OciError;
use super::sandbox_config::LinuxResources;

/// `resources` as `linux.resources`, without device rules; 0 and empty mean "not specified" and leave a limit as it is.
///
/// # Errors
///
/// A number that cannot be: negative shares or period, an oom_score_adj out of range, more swap and memory than fits.
pub fn linux_resources(resources: &LinuxResources) -> Result<SpecResources, OciError> {
    let mut specification = SpecResources::default();
    specification.set_cpu(cpu(resources)?);
    specification.set_memory(memory(resources)?);
    if !resources.hugepage_limits.is_empty() {
        let limits = resources
            .hugepage_limits
            .iter()
            .map(|limit| {
                let mut specified = LinuxHugepageLimit::default();
                specified.set_page_size(limit.page_size.clone());
                // Clients write "no limit" as the largest number.
                specified.set_limit(i64::try_from(limit.limit_bytes).unwrap_or(i64::MAX));
                specified
            })
            .collect();
        specification.set_hugepage_limits(Some(limits));
    }
    if !resources.unified.is_empty() {
        let unified: HashMap<_, _> = resources.unified.clone().into_iter().collect();
        specification.set_unified(Some(unified));
    }
    oom_score_adj(resources, -1000)?;
    Ok(specification)
}

fn cpu(resources: &LinuxResources) -> Result<Option<LinuxCpu>, OciError> {
    let shares = not_negative("linux.resources.cpu_shares", resources.cpu_shares)?;
    let period = not_negative("linux.resources.cpu_period", resources.cpu_period)?;
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(shares);
    cpu.set_period(period);
    cpu.set_quota(Some(resources.cpu_quota).filter(|quota| *quota != 0));
    cpu.set_cpus(Some(resources.cpuset_cpus.clone()).filter(|cpus| !cpus.is_empty()));
    cpu.set_mems(Some(resources.cpuset_mems.clone()).filter(|mems| !mems.is_empty()));
    Ok((cpu != LinuxCpu::default()).then_some(cpu))
}

/// As containerd: with a memory limit and no word about swap, there is none.
fn memory(resources: &LinuxResources) -> Result<Option<LinuxMemory>, OciError> {
    let limit = Some(resources.memory_limit_bytes).filter(|limit| *limit != 0);
    let swap = Some(resources.memory_swap_limit_bytes)
        .filter(|swap| *swap != 0)
        .or(limit);
    if let (Some(limit), Some(swap)) = (limit, swap)
        && swap >= 0
        && (limit < 0 || swap < limit)
    {
        return Err(OciError::value(
            "linux.resources.memory_swap_limit_in_bytes",
            swap,
            "memory and swap together, so not less than memory_limit_in_bytes",
        ));
    }
    let mut memory = LinuxMemory::default();
    memory.set_limit(limit);
    memory.set_swap(swap);
    Ok((memory != LinuxMemory::default()).then_some(memory))
}

fn not_negative(field: &'static str, value: i64) -> Result<Option<u64>, OciError> {
    match u64::try_from(value) {
        Ok(0) => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(OciError::value(field, value, "negative")),
    }
}

/// The oom_score_adj, not below what the daemon may give; the second value says if it was raised.
pub(super) fn oom_score_adj(
    resources: &LinuxResources,
    lowest: i32,
) -> Result<(i32, Option<String>), OciError> {
    let asked = i32::try_from(resources.oom_score_adj)
        .ok()
        .filter(|adjustment| (-1000..=1000).contains(adjustment))
        .ok_or_else(|| {
            OciError::value(
                "linux.resources.oom_score_adj",
                resources.oom_score_adj,
                "not between -1000 and 1000",
            )
        })?;
    if asked >= lowest {
        return Ok((asked, None));
    }
    let note =
        format!("oom_score_adj {asked} is raised to {lowest}: the daemon lacks CAP_SYS_RESOURCE");
    Ok((lowest, Some(note)))
}
