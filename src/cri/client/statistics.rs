//! StreamContainerStats, for people and scripts.

use serde::Serialize;

use super::{Client, ClientError, call};
use crate::cri::wire::runtime as wire;

const CALL: &str = "StreamContainerStats";

/// The labels that the kubelet sets.
const POD_NAME: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";

/// What a container uses of the machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContainerUsage {
    /// Its id.
    pub id: String,
    /// Its name in the pod.
    pub name: String,
    /// The pod's name, if the container has the kubelet's label.
    pub pod: String,
    /// The pod's namespace, if the container has the kubelet's label.
    pub namespace: String,
    /// When it was read, in nanoseconds since the epoch.
    pub timestamp: i64,
    /// Processor time so far.
    pub cpu_nanoseconds: u64,
    /// Processor time a second: 1e9 is one processor.
    pub cpu_nano_cores: u64,
    /// Memory that cannot be taken back easily.
    pub memory_working_set_bytes: u64,
    /// All memory.
    pub memory_usage_bytes: u64,
    /// What is left of the limit; `None` without one.
    pub memory_available_bytes: Option<u64>,
    /// Swap.
    pub swap_bytes: Option<u64>,
    /// Bytes of the writable layer.
    pub writable_layer_bytes: Option<u64>,
    /// Inodes of the writable layer.
    pub writable_layer_inodes: Option<u64>,
    /// Percent of the last 10 seconds in which some task has waited for a processor.
    pub cpu_pressure_percent: Option<f64>,
    /// The same for memory.
    pub memory_pressure_percent: Option<f64>,
    /// The same for input and output.
    pub io_pressure_percent: Option<f64>,
}

impl Client {
    /// What the running containers use.
    ///
    /// # Errors
    /// `Call` if the daemon refuses.
    pub async fn container_usage(&self) -> Result<Vec<ContainerUsage>, ClientError> {
        let request = wire::StreamContainerStatsRequest::default();
        let answers = self.runtime().stream_container_stats(request).await;
        let mut answers = answers.map_err(call(CALL))?.into_inner();
        let mut all = Vec::new();
        while let Some(part) = answers.message().await.map_err(call(CALL))? {
            all.extend(part.container_stats.into_iter().map(usage));
        }
        Ok(all)
    }
}

fn usage(stats: wire::ContainerStats) -> ContainerUsage {
    let attributes = stats.attributes.unwrap_or_default();
    let label = |key| attributes.labels.get(key).cloned().unwrap_or_default();
    let cpu = stats.cpu.unwrap_or_default();
    let memory = stats.memory.unwrap_or_default();
    let layer = stats.writable_layer.unwrap_or_default();
    let waiting = |psi: Option<wire::PsiStats>| Some(psi?.some?.avg10);
    ContainerUsage {
        pod: label(POD_NAME),
        namespace: label(POD_NAMESPACE),
        id: attributes.id,
        name: attributes.metadata.unwrap_or_default().name,
        timestamp: cpu.timestamp,
        cpu_nanoseconds: known(cpu.usage_core_nano_seconds).unwrap_or(0),
        cpu_nano_cores: known(cpu.usage_nano_cores).unwrap_or(0),
        memory_working_set_bytes: known(memory.working_set_bytes).unwrap_or(0),
        memory_usage_bytes: known(memory.usage_bytes).unwrap_or(0),
        // The CRI has 0 for "no limit".
        memory_available_bytes: known(memory.available_bytes).filter(|bytes| *bytes > 0),
        swap_bytes: stats.swap.and_then(|swap| known(swap.swap_usage_bytes)),
        writable_layer_bytes: known(layer.used_bytes),
        writable_layer_inodes: known(layer.inodes_used),
        cpu_pressure_percent: waiting(cpu.psi),
        memory_pressure_percent: waiting(memory.psi),
        io_pressure_percent: waiting(stats.io.and_then(|io| io.psi)),
    }
}

fn known(value: Option<wire::UInt64Value>) -> Option<u64> {
    value.map(|value| value.value)
}
