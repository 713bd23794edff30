//! The states of a sandbox with its containers. Pure.
//!
//! ```text
//!             all steps done          infra process died
//! Creating ─────────────────▶ Ready ─────────────────────▶ InfraLost
//!    │ a step failed,           │ stop, or the shim died       │
//!    │ its undo too             ▼                              │
//!    ├───────────────────▶  Stopping ◀─────────────────────────┘
//!    │ all undone               │ all released           a step failed
//!    ▼                          ▼                              │
//!  (gone)                    Stopped { leftovers: no / yes } ◀─┘
//!                               │ remove
//!                               ▼
//!                            Removing ──▶ (gone)
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::container_state::{ContainerPhase, ResolvedUser};
use super::view::{SandboxState, SandboxView, Timestamp};
use crate::oci::{ContainerConfig, LinuxResources, NamespaceMode, PodResources, SandboxConfig};

/// Where a sandbox is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SandboxPhase {
    /// Being made: an unfinished one is undone by recovery.
    Creating,
    /// Its infra process runs and its network is attached.
    Ready,
    /// The infra process died; containers may still run until the sandbox is stopped.
    InfraLost,
    /// Being stopped: an unfinished stop is carried on by recovery.
    Stopping,
    /// Nothing of it runs.
    Stopped {
        /// Did a step of the stop fail? Then the next StopPodSandbox tries again.
        leftovers: bool,
    },
    /// Being removed: an unfinished removal is carried on by recovery.
    Removing,
}

/// A container of a pod: what it was made of, and where it is in its life.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// What was asked for.
    pub config: Arc<ContainerConfig>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// What the image is called.
    pub image: ImageNames,
    /// Absolute path of the log; empty without one.
    pub log_path: PathBuf,
    /// The limits in force.
    pub resources: LinuxResources,
    /// A Linux signal number.
    pub stop_signal: i32,
    /// Known once it has been made.
    pub user: Option<ResolvedUser>,
    /// Where it is.
    pub phase: ContainerPhase,
    /// A removal has been asked for.
    pub removing: bool,
}

impl Container {
    /// One that is being made is not to be seen yet.
    pub(super) fn is_visible(&self) -> bool {
        self.phase != ContainerPhase::Creating
    }
}

/// The images of a container: the three names of its own in the CRI, and those of its volumes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct ImageNames {
    /// `Image.id`.
    pub id: String,
    /// A tag, else the id.
    pub name: String,
    /// A repo digest, else the id.
    pub reference: String,
    /// The id of each image that is mounted as a volume, by the index of the mount.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<usize, String>,
}

/// A sandbox and its containers, as the driver holds them and readers see them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pod {
    /// 64 hexadecimal digits.
    pub id: String,
    /// What was asked for.
    pub config: Arc<SandboxConfig>,
    /// Overhead and resources in force: those of the configuration, or of the last update.
    pub resources: PodResources,
    /// Runtime handler, as asked for.
    pub runtime_handler: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Where it is.
    pub phase: SandboxPhase,
    /// Addresses, the main one first.
    pub addresses: Vec<IpAddr>,
    /// Path of the network namespace; empty in the host's network.
    pub network_namespace: PathBuf,
    /// Pid of the infra process; 0 if there is none.
    pub infra_pid: i32,
    /// By id.
    pub containers: BTreeMap<String, Container>,
}

impl Pod {
    /// Does the pod use the network of the host?
    pub(super) fn has_host_network(&self) -> bool {
        self.config.security.namespaces.network == NamespaceMode::Node
    }

    /// The limits of the pod's own cgroup, if there are any that are Carpel's to set. A client that names a parent has a
    /// cgroup for the pod there, which it limits itself; and the sum that it tells leaves out the containers that have no
    /// limit, so that it must not be taken for one of all of them.
    pub(super) fn limits(&self) -> Option<LinuxResources> {
        match self.config.cgroup_parent.as_str() {
            "" => self.resources.limits(),
            _ => None,
        }
    }

    /// What was asked for, with the resources in force.
    fn config_in_force(&self) -> Arc<SandboxConfig> {
        if PodResources::of(&self.config) == self.resources {
            return Arc::clone(&self.config);
        }
        let mut config = (*self.config).clone();
        config.overhead.clone_from(&self.resources.overhead);
        config.resources.clone_from(&self.resources.resources);
        Arc::new(config)
    }

    /// Is a container with this name and attempt here?
    pub(super) fn container_of(&self, config: &ContainerConfig) -> Option<&Container> {
        self.containers
            .values()
            .find(|container| container.config.metadata == config.metadata)
    }

    /// As PodSandboxStatus shows it.
    pub(super) fn view(&self) -> SandboxView {
        SandboxView {
            id: self.id.clone(),
            config: self.config_in_force(),
            runtime_handler: self.runtime_handler.clone(),
            state: match self.phase {
                SandboxPhase::Ready => SandboxState::Ready,
                SandboxPhase::Creating
                | SandboxPhase::InfraLost
                | SandboxPhase::Stopping
                | SandboxPhase::Stopped { .. }
                | SandboxPhase::Removing => SandboxState::NotReady,
            },
            created_at: self.created_at,
            addresses: self.addresses.clone(),
            infra_pid: self.infra_pid,
            network_namespace: self.network_namespace.display().to_string(),
        }
    }
}
