//! The door of the domain: what `cri/` calls. Each request is admitted, handed to the pod's driver, and awaited.

use std::time::Duration;

use super::error::{PodError, PodErrorKind, Subject};
use super::view::{
    ContainerFilter, ContainerStatistics, ContainerView, ExecCommand, ExecOutput, RuntimeReport,
    SandboxFilter, SandboxStatistics, SandboxView,
};
use crate::oci::{ContainerConfig, LinuxResources, SandboxConfig};

/// All sandboxes and containers of the node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pods {}

fn unbuilt<T>() -> Result<T, PodError> {
    Err(PodError::new(
        PodErrorKind::Unimplemented,
        Subject::Runtime,
        "not built yet",
    ))
}

impl Pods {
    /// CRI RunPodSandbox; the id of the ready sandbox.
    pub async fn run_sandbox(
        &self,
        config: SandboxConfig,
        runtime_handler: &str,
    ) -> Result<String, PodError> {
        unbuilt()
    }
    /// CRI StopPodSandbox.
    pub async fn stop_sandbox(&self, id: &str) -> Result<(), PodError> {
        unbuilt()
    }
    /// CRI RemovePodSandbox.
    pub async fn remove_sandbox(&self, id: &str) -> Result<(), PodError> {
        unbuilt()
    }
    /// CRI PodSandboxStatus; the id may be an unambiguous prefix.
    pub fn sandbox_status(&self, id: &str) -> Result<SandboxView, PodError> {
        unbuilt()
    }
    /// CRI ListPodSandbox.
    pub fn list_sandboxes(&self, filter: &SandboxFilter) -> Vec<SandboxView> {
        Vec::new()
    }
    /// CRI CreateContainer; the container's id.
    pub async fn create_container(
        &self,
        sandbox_id: &str,
        config: ContainerConfig,
    ) -> Result<String, PodError> {
        unbuilt()
    }
    /// CRI StartContainer.
    pub async fn start_container(&self, id: &str) -> Result<(), PodError> {
        unbuilt()
    }
    /// CRI StopContainer; zero means SIGKILL at once.
    pub async fn stop_container(&self, id: &str, timeout: Duration) -> Result<(), PodError> {
        unbuilt()
    }
    /// CRI RemoveContainer.
    pub async fn remove_container(&self, id: &str) -> Result<(), PodError> {
        unbuilt()
    }
    /// CRI ContainerStatus.
    pub fn container_status(&self, id: &str) -> Result<ContainerView, PodError> {
        unbuilt()
    }
    /// CRI ListContainers.
    pub fn list_containers(&self, filter: &ContainerFilter) -> Vec<ContainerView> {
        Vec::new()
    }
    /// CRI ExecSync.
    pub async fn exec_sync(&self, id: &str, command: ExecCommand) -> Result<ExecOutput, PodError> {
        unbuilt()
    }
    /// CRI ReopenContainerLog.
    pub async fn reopen_log(&self, id: &str) -> Result<(), PodError> {
        unbuilt()
    }
    /// CRI UpdateContainerResources.
    pub async fn update_resources(
        &self,
        id: &str,
        resources: LinuxResources,
    ) -> Result<(), PodError> {
        unbuilt()
    }
    /// CRI ContainerStats.
    pub async fn container_statistics(&self, id: &str) -> Result<ContainerStatistics, PodError> {
        unbuilt()
    }
    /// CRI ListContainerStats: the running containers that the filter takes.
    pub async fn list_container_statistics(
        &self,
        filter: &ContainerFilter,
    ) -> Vec<ContainerStatistics> {
        Vec::new()
    }
    /// CRI PodSandboxStats.
    pub async fn sandbox_statistics(&self, id: &str) -> Result<SandboxStatistics, PodError> {
        unbuilt()
    }
    /// CRI ListPodSandboxStats.
    pub async fn list_sandbox_statistics(&self, filter: &SandboxFilter) -> Vec<SandboxStatistics> {
        Vec::new()
    }
    /// CRI Status.
    pub fn report(&self) -> RuntimeReport {
        RuntimeReport {
            network_trouble: None,
            runtime_trouble: None,
            config_json: String::new(),
            facts: std::collections::BTreeMap::new(),
        }
    }
}
