//! UpdateContainerResources: changes limits, all or none.

use super::procedure::{Change, Context, Failure, Outcome};
use crate::oci::LinuxResources;

/// The whole procedure.
pub(super) async fn run(context: Context, id: String, wanted: LinuxResources) -> Outcome {
    let pod = context.slot.pod();
    let current = pod
        .containers
        .get(&id)
        .map(|container| container.resources.clone())
        .unwrap_or_default();
    let merged = merge(current, wanted);
    context
        .parts
        .cgroups
        .update_container(&context.cgroup_parent(), context.id(), &id, &merged)
        .await
        .map_err(Failure::clean)?;
    Ok(Change::ContainerUpdated(merged))
}

/// What the request leaves out stays as it is (CRI LinuxContainerResources: 0 and empty mean "not specified").
pub(super) fn merge(mut current: LinuxResources, wanted: LinuxResources) -> LinuxResources {
    fn number(current: &mut i64, wanted: i64) {
        if wanted != 0 {
            *current = wanted;
        }
    }
    fn text(current: &mut String, wanted: String) {
        if !wanted.is_empty() {
            *current = wanted;
        }
    }
    number(&mut current.cpu_period, wanted.cpu_period);
    number(&mut current.cpu_quota, wanted.cpu_quota);
    number(&mut current.cpu_shares, wanted.cpu_shares);
    number(&mut current.memory_limit_bytes, wanted.memory_limit_bytes);
    number(&mut current.oom_score_adj, wanted.oom_score_adj);
    number(
        &mut current.memory_swap_limit_bytes,
        wanted.memory_swap_limit_bytes,
    );
    text(&mut current.cpuset_cpus, wanted.cpuset_cpus);
    text(&mut current.cpuset_mems, wanted.cpuset_mems);
    for limit in wanted.hugepage_limits {
        current
            .hugepage_limits
            .retain(|old| old.page_size != limit.page_size);
        current.hugepage_limits.push(limit);
    }
    current.unified.extend(wanted.unified);
    current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_leaves_out_stays() {
        let current = LinuxResources {
            cpu_shares: 512,
            memory_limit_bytes: 1 << 20,
            cpuset_cpus: "0".into(),
            ..LinuxResources::default()
        };
        let wanted = LinuxResources {
            memory_limit_bytes: 2 << 20,
            ..LinuxResources::default()
        };
        let merged = merge(current, wanted);
        assert_eq!(merged.cpu_shares, 512);
        assert_eq!(merged.memory_limit_bytes, 2 << 20);
        assert_eq!(merged.cpuset_cpus, "0");
    }
}
