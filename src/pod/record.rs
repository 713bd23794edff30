//! What is kept of a pod on disk. `docs/state-on-disk.md` describes it, golden files hold it.
//!
//! * identity, below `<root>/pods/<sandbox id>`: `sandbox.json`, and `containers/<container id>.json`, each written once;
//! * live state, below `<run directory>/pods/<sandbox id>`: `state.json`, replaced at every transition.
//!
//! Both are replaced by rename without fsync: they survive SIGKILL of the daemon at any instruction; what a power cut
//! tears is discarded, and /run does not outlive the boot anyway.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::container_state::{ContainerPhase, ResolvedUser};
use super::sandbox_state::{Container, ImageNames, Pod, SandboxPhase};
use super::view::Timestamp;
use crate::oci::{ContainerConfig, LinuxResources, PodResources, SandboxConfig};
use crate::persist::{self, Durability, PersistError};

/// The version of all three records; a reader refuses a newer one.
pub(super) const VERSION: u32 = 1;

/// `sandbox.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SandboxRecord {
    /// [`VERSION`].
    pub version: u32,
    /// Sandbox id.
    pub id: String,
    /// The boot of the machine that it was made in.
    pub boot_id: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Runtime handler, as asked for.
    pub runtime_handler: String,
    /// The SELinux categories of its containers; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub selinux_categories: String,
    /// What was asked for.
    pub config: SandboxConfig,
}

/// `containers/<container id>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ContainerRecord {
    /// [`VERSION`].
    pub version: u32,
    /// Container id.
    pub id: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// What its image was called.
    pub image: ImageNames,
    /// Absolute path of the log.
    pub log_path: PathBuf,
    /// A Linux signal number.
    pub stop_signal: i32,
    /// What was asked for.
    pub config: ContainerConfig,
}

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LiveRecord {
    /// [`VERSION`].
    pub version: u32,
    /// Where the sandbox is.
    pub phase: SandboxPhase,
    /// Addresses, the main one first.
    pub addresses: Vec<IpAddr>,
    /// Path of the network namespace.
    pub network_namespace: PathBuf,
    /// Pid of the infra process.
    pub infra_pid: i32,
    /// Overhead and resources in force, if an update has made them others than those of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<PodResources>,
    /// Where the containers are.
    pub containers: BTreeMap<String, LiveContainer>,
}

/// A container in `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LiveContainer {
    /// Where it is.
    pub phase: ContainerPhase,
    /// A removal has been asked for.
    pub removing: bool,
    /// Known once it has been made.
    pub user: Option<ResolvedUser>,
    /// The limits in force.
    pub resources: LinuxResources,
}

impl LiveRecord {
    /// The live part of a pod.
    pub(super) fn of(pod: &Pod) -> Self {
        Self {
            version: VERSION,
            phase: pod.phase,
            addresses: pod.addresses.clone(),
            network_namespace: pod.network_namespace.clone(),
            infra_pid: pod.infra_pid,
            resources: (pod.resources != PodResources::of(&pod.config))
                .then(|| pod.resources.clone()),
            containers: pod
                .containers
                .iter()
                .map(|(id, container)| (id.clone(), LiveContainer::of(container)))
                .collect(),
        }
    }
}

impl LiveContainer {
    fn of(container: &Container) -> Self {
        Self {
            phase: container.phase.clone(),
            removing: container.removing,
            user: container.user.clone(),
            resources: container.resources.clone(),
        }
    }
}

impl ContainerRecord {
    /// The lasting part of a container.
    pub(super) fn of(container: &Container) -> Self {
        Self {
            version: VERSION,
            id: container.id.clone(),
            created_at: container.created_at,
            image: container.image.clone(),
            log_path: container.log_path.clone(),
            stop_signal: container.stop_signal,
            config: (*container.config).clone(),
        }
    }

    /// The container again, with what is known of its live state; `None` after a reboot.
    pub(super) fn restore(self, live: Option<LiveContainer>) -> Option<Container> {
        let live = live?;
        Some(Container {
            id: self.id,
            config: Arc::new(self.config),
            created_at: self.created_at,
            image: self.image,
            log_path: self.log_path,
            resources: live.resources,
            stop_signal: self.stop_signal,
            user: live.user,
            phase: live.phase,
            removing: live.removing,
        })
    }
}

/// Where the files of a pod are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodDirectories {
    /// `<root>/pods/<sandbox id>`.
    pub identity: PathBuf,
    /// `<run directory>/pods/<sandbox id>`.
    pub live: PathBuf,
}

impl PodDirectories {
    /// Of that sandbox.
    pub(super) fn new(root: &Path, run_directory: &Path, sandbox_id: &str) -> Self {
        Self {
            identity: root.join("pods").join(sandbox_id),
            live: run_directory.join("pods").join(sandbox_id),
        }
    }

    /// The sandbox's identity.
    pub(super) fn sandbox_record(&self) -> PathBuf {
        self.identity.join("sandbox.json")
    }

    /// The folder of the containers' identities.
    pub(super) fn container_records(&self) -> PathBuf {
        self.identity.join("containers")
    }

    /// A container's identity.
    pub(super) fn container_record(&self, container_id: &str) -> PathBuf {
        self.container_records()
            .join(format!("{container_id}.json"))
    }

    /// The live state of sandbox and containers.
    pub(super) fn live_record(&self) -> PathBuf {
        self.live.join("state.json")
    }

    /// The bundle of a container: config.json and the shim's exit.json.
    pub(super) fn bundle(&self, container_id: &str) -> PathBuf {
        self.live.join("containers").join(container_id)
    }

    /// The OCI runtime specification of a container.
    pub(super) fn specification(&self, container_id: &str) -> PathBuf {
        self.bundle(container_id).join("config.json")
    }

    /// What the shim wrote of a container's exit.
    pub(super) fn exit_record(&self, container_id: &str) -> PathBuf {
        self.bundle(container_id).join("exit.json")
    }

    /// Where the directories behind the image's volumes of a container are.
    pub(super) fn volumes(&self, container_id: &str) -> PathBuf {
        self.identity.join("volumes").join(container_id)
    }

    /// The tmpfs that the containers have at /dev/shm.
    pub(super) fn shm(&self) -> PathBuf {
        self.live.join("shm")
    }
}

/// Writes the identity of a sandbox.
pub(super) fn write_sandbox(
    directories: &PodDirectories,
    record: &SandboxRecord,
) -> Result<(), PersistError> {
    persist::write_json(&directories.sandbox_record(), record, Durability::Rename)
}

/// Writes the identity of a container.
pub(super) fn write_container(
    directories: &PodDirectories,
    record: &ContainerRecord,
) -> Result<(), PersistError> {
    persist::write_json(
        &directories.container_record(&record.id),
        record,
        Durability::Rename,
    )
}

/// Writes the live state of a pod.
pub(super) fn write_live(directories: &PodDirectories, pod: &Pod) -> Result<(), PersistError> {
    persist::write_json(
        &directories.live_record(),
        &LiveRecord::of(pod),
        Durability::Live,
    )
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
