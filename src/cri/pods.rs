//! What the CRI needs of the domain, as a trait: the daemon hands in `Pods`, the tests a script.

use std::time::Duration;

use crate::oci::{ContainerConfig, LinuxResources, PodResources, SandboxConfig};
use crate::pod::{
    ContainerFilter, ContainerStatistics, ContainerView, ExecCommand, ExecOutput, PodError,
    PodEvents, PodSnapshot, Pods, RuntimeReport, SandboxFigures, SandboxFilter, SandboxStatistics,
    SandboxView,
};

/// Sandboxes and containers. Dropping a future gives up waiting and nothing else: the procedure goes on.
pub trait PodService: Clone + Send + Sync + 'static {
    /// CRI RunPodSandbox; the id of the ready sandbox.
    fn run_sandbox(
        &self,
        config: SandboxConfig,
        runtime_handler: &str,
    ) -> impl Future<Output = Result<String, PodError>> + Send;
    /// CRI StopPodSandbox.
    fn stop_sandbox(&self, id: &str) -> impl Future<Output = Result<(), PodError>> + Send;
    /// CRI RemovePodSandbox.
    fn remove_sandbox(&self, id: &str) -> impl Future<Output = Result<(), PodError>> + Send;
    /// CRI PodSandboxStatus.
    ///
    /// # Errors
    /// `NotFound` if there is no such sandbox.
    fn pod_snapshot(&self, id: &str) -> Result<PodSnapshot, PodError>;
    /// CRI GetContainerEvents.
    ///
    /// # Errors
    /// `ResourceExhausted` while too many clients listen.
    fn events(&self) -> Result<PodEvents, PodError>;
    /// CRI ListPodSandbox.
    fn list_sandboxes(&self, filter: &SandboxFilter) -> Vec<SandboxView>;
    /// CRI CreateContainer; the container's id.
    fn create_container(
        &self,
        sandbox_id: &str,
        config: ContainerConfig,
    ) -> impl Future<Output = Result<String, PodError>> + Send;
    /// CRI StartContainer.
    fn start_container(&self, id: &str) -> impl Future<Output = Result<(), PodError>> + Send;
    /// CRI StopContainer; zero means SIGKILL at once.
    fn stop_container(
        &self,
        id: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), PodError>> + Send;
    /// CRI RemoveContainer.
    fn remove_container(&self, id: &str) -> impl Future<Output = Result<(), PodError>> + Send;
    /// CRI ContainerStatus.
    ///
    /// # Errors
    /// `NotFound` if there is no such container.
    fn container_status(&self, id: &str) -> Result<ContainerView, PodError>;
    /// CRI ListContainers.
    fn list_containers(&self, filter: &ContainerFilter) -> Vec<ContainerView>;
    /// CRI ExecSync.
    fn exec_sync(
        &self,
        id: &str,
        command: ExecCommand,
    ) -> impl Future<Output = Result<ExecOutput, PodError>> + Send;
    /// Refuses a sandbox whose ports cannot be forwarded; its whole id otherwise.
    ///
    /// # Errors
    /// `NotFound`, `FailedPrecondition` if it does not run.
    fn check_port_forward(&self, id: &str) -> Result<String, PodError>;
    /// CRI ReopenContainerLog.
    fn reopen_log(&self, id: &str) -> impl Future<Output = Result<(), PodError>> + Send;
    /// CRI UpdateContainerResources.
    fn update_resources(
        &self,
        id: &str,
        resources: LinuxResources,
    ) -> impl Future<Output = Result<(), PodError>> + Send;
    /// CRI UpdatePodSandboxResources.
    fn update_sandbox_resources(
        &self,
        id: &str,
        resources: PodResources,
    ) -> impl Future<Output = Result<(), PodError>> + Send;
    /// CRI ContainerStats.
    fn container_statistics(
        &self,
        id: &str,
    ) -> impl Future<Output = Result<ContainerStatistics, PodError>> + Send;
    /// CRI ListContainerStats.
    fn list_container_statistics(
        &self,
        filter: &ContainerFilter,
    ) -> impl Future<Output = Vec<ContainerStatistics>> + Send;
    /// CRI PodSandboxStats.
    fn sandbox_statistics(
        &self,
        id: &str,
    ) -> impl Future<Output = Result<SandboxStatistics, PodError>> + Send;
    /// CRI ListPodSandboxStats.
    fn list_sandbox_statistics(
        &self,
        filter: &SandboxFilter,
    ) -> impl Future<Output = Vec<SandboxStatistics>> + Send;
    /// CRI ListPodSandboxMetrics.
    fn list_sandbox_figures(&self) -> impl Future<Output = Vec<SandboxFigures>> + Send;
    /// CRI UpdateRuntimeConfig.
    fn set_pod_networks(&self, networks: &str)
    -> impl Future<Output = Result<(), PodError>> + Send;
    /// CRI Status.
    fn report(&self) -> impl Future<Output = RuntimeReport> + Send;
}

impl PodService for Pods {
    async fn run_sandbox(
        &self,
        config: SandboxConfig,
        runtime_handler: &str,
    ) -> Result<String, PodError> {
        self.run_sandbox(config, runtime_handler).await
    }

    async fn stop_sandbox(&self, id: &str) -> Result<(), PodError> {
        self.stop_sandbox(id).await
    }

    async fn remove_sandbox(&self, id: &str) -> Result<(), PodError> {
        self.remove_sandbox(id).await
    }

    fn pod_snapshot(&self, id: &str) -> Result<PodSnapshot, PodError> {
        self.pod_snapshot(id)
    }

    fn events(&self) -> Result<PodEvents, PodError> {
        self.events()
    }

    fn list_sandboxes(&self, filter: &SandboxFilter) -> Vec<SandboxView> {
        self.list_sandboxes(filter)
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: ContainerConfig,
    ) -> Result<String, PodError> {
        self.create_container(sandbox_id, config).await
    }

    async fn start_container(&self, id: &str) -> Result<(), PodError> {
        self.start_container(id).await
    }

    async fn stop_container(&self, id: &str, timeout: Duration) -> Result<(), PodError> {
        self.stop_container(id, timeout).await
    }

    async fn remove_container(&self, id: &str) -> Result<(), PodError> {
        self.remove_container(id).await
    }

    fn container_status(&self, id: &str) -> Result<ContainerView, PodError> {
        self.container_status(id)
    }

    fn list_containers(&self, filter: &ContainerFilter) -> Vec<ContainerView> {
        self.list_containers(filter)
    }

    async fn exec_sync(&self, id: &str, command: ExecCommand) -> Result<ExecOutput, PodError> {
        self.exec_sync(id, command).await
    }

    fn check_port_forward(&self, id: &str) -> Result<String, PodError> {
        self.check_port_forward(id)
    }

    async fn reopen_log(&self, id: &str) -> Result<(), PodError> {
        self.reopen_log(id).await
    }

    async fn update_resources(&self, id: &str, resources: LinuxResources) -> Result<(), PodError> {
        self.update_resources(id, resources).await
    }

    async fn update_sandbox_resources(
        &self,
        id: &str,
        resources: PodResources,
    ) -> Result<(), PodError> {
        self.update_sandbox_resources(id, resources).await
    }

    async fn container_statistics(&self, id: &str) -> Result<ContainerStatistics, PodError> {
        self.container_statistics(id).await
    }

    async fn list_container_statistics(
        &self,
        filter: &ContainerFilter,
    ) -> Vec<ContainerStatistics> {
        self.list_container_statistics(filter).await
    }

    async fn sandbox_statistics(&self, id: &str) -> Result<SandboxStatistics, PodError> {
        self.sandbox_statistics(id).await
    }

    async fn list_sandbox_statistics(&self, filter: &SandboxFilter) -> Vec<SandboxStatistics> {
        self.list_sandbox_statistics(filter).await
    }

    async fn list_sandbox_figures(&self) -> Vec<SandboxFigures> {
        self.list_sandbox_figures().await
    }

    async fn set_pod_networks(&self, networks: &str) -> Result<(), PodError> {
        self.set_pod_networks(networks).await
    }

    async fn report(&self) -> RuntimeReport {
        self.report().await
    }
}
