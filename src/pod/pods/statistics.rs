//! What containers and sandboxes use.

use super::{Pods, has_labels, matching, visible};
use crate::pod::error::{PodError, no_container, no_sandbox};
use crate::pod::metrics::{self, SandboxFigures};
use crate::pod::sandbox_state::SandboxPhase;
use crate::pod::statistics;
use crate::pod::view::{
    ContainerFilter, ContainerState, ContainerStatistics, SandboxFilter, SandboxStatistics,
};

impl Pods {
    /// CRI ContainerStats.
    ///
    /// # Errors
    /// `NotFound`, or if the cgroup cannot be read.
    pub async fn container_statistics(&self, id: &str) -> Result<ContainerStatistics, PodError> {
        let (id, slot) = self.container(id)?;
        let pod = slot.pod();
        let container = visible(&pod, &id).ok_or_else(|| no_container(&id))?;
        statistics::of_container(&self.parts, &self.rates, &pod, container).await
    }

    /// CRI ListContainerStats: the running containers that the filter takes. One that ends meanwhile is left out.
    pub async fn list_container_statistics(
        &self,
        filter: &ContainerFilter,
    ) -> Vec<ContainerStatistics> {
        let mut all = Vec::new();
        for slot in self.index.all() {
            let pod = slot.pod();
            for container in matching(&pod, filter) {
                if container.phase.state() != ContainerState::Running {
                    continue;
                }
                match statistics::of_container(&self.parts, &self.rates, &pod, container).await {
                    Ok(one) => all.push(one),
                    Err(error) => tracing::debug!(container = %container.id, %error, "not read"),
                }
            }
        }
        all
    }

    /// CRI PodSandboxStats.
    ///
    /// # Errors
    /// `NotFound`, or if the cgroup cannot be read.
    pub async fn sandbox_statistics(&self, id: &str) -> Result<SandboxStatistics, PodError> {
        let slot = self.index.sandbox(id).ok_or_else(|| no_sandbox(id))?;
        statistics::of_sandbox(&self.parts, &self.rates, &slot).await
    }

    /// CRI ListPodSandboxStats: the ready sandboxes that the filter takes.
    pub async fn list_sandbox_statistics(&self, filter: &SandboxFilter) -> Vec<SandboxStatistics> {
        let mut all = Vec::new();
        for slot in self.index.all() {
            let pod = slot.pod();
            let wanted = pod.phase == SandboxPhase::Ready
                && pod.id.starts_with(&filter.id)
                && has_labels(&pod.config.labels, &filter.labels);
            if !wanted {
                continue;
            }
            match statistics::of_sandbox(&self.parts, &self.rates, &slot).await {
                Ok(one) => all.push(one),
                Err(error) => tracing::debug!(sandbox = %pod.id, %error, "not read"),
            }
        }
        all
    }

    /// CRI ListPodSandboxMetrics: the ready sandboxes, with their running containers.
    pub async fn list_sandbox_figures(&self) -> Vec<SandboxFigures> {
        let mut all = Vec::new();
        for slot in self.index.all() {
            let pod = slot.pod();
            if pod.phase != SandboxPhase::Ready {
                continue;
            }
            match metrics::of_sandbox(&self.parts, &pod).await {
                Ok(one) => all.push(one),
                Err(error) => tracing::debug!(sandbox = %pod.id, %error, "not read"),
            }
        }
        all
    }
}
