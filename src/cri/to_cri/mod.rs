//! The domain's values to answers: everything that was asked for is echoed, nothing is looked up here.

mod container;
mod event;
mod image;
mod sandbox;
mod statistics;
#[cfg(test)]
mod tests;

pub(super) use container::{container, container_info, container_status};
pub(super) use event::container_event;
pub(super) use image::{filesystem_usage, image, image_info};
pub(super) use sandbox::{sandbox, sandbox_info, sandbox_status};
pub(super) use statistics::{container_stats, sandbox_stats};

use std::collections::BTreeMap;

use crate::cri::wire::runtime as wire;
use crate::oci::{IdMapping, LinuxResources, NamespaceMode, NamespaceOptions};

/// The key of verbose answers that crictl and critest read.
const INFO: &str = "info";

/// Verbose information: one JSON text.
fn info(value: &serde_json::Value) -> BTreeMap<String, String> {
    BTreeMap::from([(INFO.to_owned(), value.to_string())])
}

fn namespace_options(options: &NamespaceOptions) -> wire::NamespaceOption {
    wire::NamespaceOption {
        network: namespace_mode(options.network),
        pid: namespace_mode(options.pid),
        ipc: namespace_mode(options.ipc),
        target_id: options.target_id.clone(),
        userns_options: options.user.as_ref().map(|user| wire::UserNamespace {
            mode: namespace_mode(user.mode),
            uids: id_mappings(&user.uids),
            gids: id_mappings(&user.gids),
        }),
    }
}

fn namespace_mode(mode: NamespaceMode) -> i32 {
    let mode = match mode {
        NamespaceMode::Pod => wire::NamespaceMode::Pod,
        NamespaceMode::Container => wire::NamespaceMode::Container,
        NamespaceMode::Node => wire::NamespaceMode::Node,
        NamespaceMode::Target => wire::NamespaceMode::Target,
    };
    mode as i32
}

fn id_mappings(mappings: &[IdMapping]) -> Vec<wire::IdMapping> {
    mappings
        .iter()
        .map(|mapping| wire::IdMapping {
            host_id: mapping.host_id,
            container_id: mapping.container_id,
            length: mapping.length,
        })
        .collect()
}

fn linux_resources(resources: &LinuxResources) -> wire::LinuxContainerResources {
    wire::LinuxContainerResources {
        cpu_period: resources.cpu_period,
        cpu_quota: resources.cpu_quota,
        cpu_shares: resources.cpu_shares,
        memory_limit_in_bytes: resources.memory_limit_bytes,
        oom_score_adj: resources.oom_score_adj,
        cpuset_cpus: resources.cpuset_cpus.clone(),
        cpuset_mems: resources.cpuset_mems.clone(),
        hugepage_limits: resources
            .hugepage_limits
            .iter()
            .map(|limit| wire::HugepageLimit {
                page_size: limit.page_size.clone(),
                limit: limit.limit_bytes,
            })
            .collect(),
        unified: resources.unified.clone(),
        memory_swap_limit_in_bytes: resources.memory_swap_limit_bytes,
    }
}
