//! What metrics are made of: everything that is known of each pod and its running containers at one moment.

use super::clock;
use super::error::PodError;
use super::parts::{CgroupDetails, FilesystemFigures, Parts};
use super::pods;
use super::sandbox_state::Pod;
use super::view::{
    ContainerState, ContainerView, InterfaceStatistics, SandboxView, Timestamp, WritableLayer,
};

/// A pod's.
#[derive(Debug, Clone)]
pub struct SandboxFigures {
    /// Whose.
    pub sandbox: SandboxView,
    /// When it was read.
    pub seen_at: Timestamp,
    /// Of the whole pod.
    pub cgroup: CgroupDetails,
    /// Network interfaces but loopback; none in the host's network.
    pub interfaces: Vec<InterfaceStatistics>,
    /// The running containers.
    pub containers: Vec<ContainerFigures>,
}

/// A container's.
#[derive(Debug, Clone)]
pub struct ContainerFigures {
    /// Whose.
    pub container: ContainerView,
    /// When it was read.
    pub seen_at: Timestamp,
    /// Its leaf.
    pub cgroup: CgroupDetails,
    /// Use of the writable layer.
    pub writable_layer: Option<WritableLayer>,
    /// The file system that the writable layer is on.
    pub filesystem: Option<FilesystemFigures>,
}

/// A pod's figures; a container that ends meanwhile is left out.
///
/// # Errors
/// If the pod's cgroup cannot be read.
pub(super) async fn of_sandbox(parts: &Parts, pod: &Pod) -> Result<SandboxFigures, PodError> {
    let seen_at = clock::now();
    let parent = &pod.config.cgroup_parent;
    let cgroup = parts.cgroups.details(parent, &pod.id, None)?;
    let mut containers = Vec::new();
    for container in pod.containers.values() {
        if container.phase.state() != ContainerState::Running {
            continue;
        }
        let cgroup = match parts.cgroups.details(parent, &pod.id, Some(&container.id)) {
            Ok(cgroup) => cgroup,
            Err(error) => {
                tracing::debug!(container = %container.id, %error, "not read");
                continue;
            }
        };
        let writable_layer = parts.images.writable_layer(&container.id).await;
        containers.push(ContainerFigures {
            container: pods::view(pod, container),
            seen_at: clock::now(),
            cgroup,
            filesystem: writable_layer
                .as_ref()
                .and_then(|layer| parts.images.filesystem(&layer.mountpoint)),
            writable_layer,
        });
    }
    let interfaces = if pod.has_host_network() {
        Vec::new()
    } else {
        parts.networks.statistics(&pod.id).await
    };
    Ok(SandboxFigures {
        sandbox: pod.view(),
        seen_at,
        cgroup,
        interfaces,
        containers,
    })
}
