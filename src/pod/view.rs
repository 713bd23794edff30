//! What the pods look like from outside: plain values that `cri/to_cri.rs` turns into messages.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::log_state::LogState;
use super::process_streams::WantedStreams;
use super::runtime_handler::HandlerReport;
pub use crate::cgroup::{
    Cpu, Details, HugePages, IoDevice, Memory, MemoryEvents, Pressure, PressureLine, Pressures,
};
use crate::oci::{ContainerConfig, LinuxResources, SandboxConfig};

/// Wall-clock time in nanoseconds since the epoch, as the CRI has it; 0 means "not yet".
pub type Timestamp = i64;

/// CRI `PodSandboxState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxState {
    /// Its infra process runs and its network is attached.
    Ready,
    /// Anything else.
    NotReady,
}

/// A sandbox as PodSandboxStatus and ListPodSandbox show it.
#[derive(Debug, Clone)]
pub struct SandboxView {
    /// 64 hexadecimal digits.
    pub id: String,
    /// What was asked for.
    pub config: Arc<SandboxConfig>,
    /// Runtime handler, as asked for.
    pub runtime_handler: String,
    /// State.
    pub state: SandboxState,
    /// When it was made.
    pub created_at: Timestamp,
    /// Addresses, the main one first; empty in the host's network.
    pub addresses: Vec<IpAddr>,
    /// Pid of the infra process on the host; 0 if there is none.
    pub infra_pid: i32,
    /// Path of the network namespace; empty in the host's network.
    pub network_namespace: String,
}

/// CRI `ContainerState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Its first process runs.
    Running,
    /// Its first process has exited.
    Exited,
    /// The runtime cannot tell.
    Unknown,
}

/// CRI `LinuxContainerUser`: whom the first process was started as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserView {
    /// uid.
    pub uid: u32,
    /// gid.
    pub gid: u32,
    /// Supplemental groups.
    pub supplemental_groups: Vec<u32>,
}

/// A container as ContainerStatus and ListContainers show it.
#[derive(Debug, Clone)]
pub struct ContainerView {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Sandbox.
    pub sandbox_id: String,
    /// What was asked for.
    pub config: Arc<ContainerConfig>,
    /// State.
    pub state: ContainerState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its first process was started.
    pub started_at: Timestamp,
    /// When its first process exited.
    pub finished_at: Timestamp,
    /// Exit code; 128 + signal for a killed one, 255 for an unknown one.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `Unknown`; empty before the exit.
    pub reason: String,
    /// More about the reason.
    pub message: String,
    /// The image's id.
    pub image_id: String,
    /// A tag of the image, else its id: ContainerStatus.image.image.
    pub image_name: String,
    /// A repo digest of the image, else its id: ContainerStatus.image_ref.
    pub image_reference: String,
    /// The id of each image that is mounted as a volume, by the index of the mount in `config`.
    pub image_volumes: BTreeMap<usize, String>,
    /// Absolute path of the log; empty without one.
    pub log_path: String,
    /// The limits in force.
    pub resources: LinuxResources,
    /// User; `None` before the container was made.
    pub user: Option<UserView>,
    /// The effective stop signal, a Linux signal number.
    pub stop_signal: i32,
    /// Pid of the first process on the host; 0 if it does not run.
    pub pid: i32,
    /// What is wrong with its log; for ContainerStatus alone.
    pub log: LogState,
    /// The OCI runtime specification as JSON, for verbose status.
    pub runtime_specification: Arc<str>,
}

/// A sandbox with its containers at one moment, as PodSandboxStatus shows it.
#[derive(Debug, Clone)]
pub struct PodSnapshot {
    /// The moment, or a little before it: to be compared with `PodEvent::created_at`.
    pub timestamp: Timestamp,
    /// The sandbox.
    pub sandbox: SandboxView,
    /// All its containers.
    pub containers: Vec<ContainerView>,
}

/// CRI `ContainerEventType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It has been made.
    Created,
    /// Its first process runs.
    Started,
    /// Its first process has ended.
    Stopped,
    /// It is gone.
    Deleted,
}

/// Something that happened to a container or a sandbox, with the pod's state right after it.
#[derive(Debug, Clone)]
pub struct PodEvent {
    /// The container's id, or the sandbox's.
    pub id: String,
    /// What.
    pub kind: EventKind,
    /// When it was told; later events of the daemon have later times.
    pub created_at: Timestamp,
    /// The sandbox; of one that is gone, its last state.
    pub sandbox: SandboxView,
    /// All containers that the pod has now.
    pub containers: Vec<ContainerView>,
}

/// Which sandboxes to list: all conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct SandboxFilter {
    /// Id, or a prefix of it; empty matches all.
    pub id: String,
    /// State.
    pub state: Option<SandboxState>,
    /// Labels that must be equal.
    pub labels: BTreeMap<String, String>,
}

/// Which containers to list: all conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct ContainerFilter {
    /// Id, or a prefix of it; empty matches all.
    pub id: String,
    /// Sandbox's id, or a prefix of it; empty matches all.
    pub sandbox_id: String,
    /// State.
    pub state: Option<ContainerState>,
    /// Labels that must be equal.
    pub labels: BTreeMap<String, String>,
}

/// What ExecSync gives back.
#[derive(Debug, Clone, Default)]
pub struct ExecOutput {
    /// At most 16 MiB.
    pub stdout: Vec<u8>,
    /// At most 16 MiB.
    pub stderr: Vec<u8>,
    /// Exit code; 128 + signal for a killed one.
    pub exit_code: i32,
}

/// What a streaming URL is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamRequest {
    /// CRI Exec.
    Exec {
        /// In which container.
        container_id: String,
        /// Program and arguments.
        arguments: Vec<String>,
        /// With which streams.
        wanted: WantedStreams,
    },
    /// CRI Attach.
    Attach {
        /// To which container.
        container_id: String,
        /// To which streams.
        wanted: WantedStreams,
    },
    /// CRI PortForward.
    PortForward {
        /// Into which sandbox.
        sandbox_id: String,
        /// To which ports, for a client that does not say it itself.
        ports: Vec<u16>,
    },
}

/// A command for ExecSync.
#[derive(Debug, Clone)]
pub struct ExecCommand {
    /// Program and arguments; at least one.
    pub arguments: Vec<String>,
    /// `None`: no limit.
    pub timeout: Option<Duration>,
}

/// Processor time of a cgroup.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuStatistics {
    /// When it was read.
    pub timestamp: Timestamp,
    /// Used so far.
    pub usage_nanoseconds: u64,
    /// Used a second, over the time since the last reading; 0 if there was none.
    pub usage_nano_cores: u64,
}

/// Memory of a cgroup; `None` where the memory controller is missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryStatistics {
    /// When it was read.
    pub timestamp: Timestamp,
    /// `memory.current`.
    pub usage_bytes: u64,
    /// Usage without inactive file pages.
    pub working_set_bytes: u64,
    /// Anonymous memory.
    pub rss_bytes: u64,
    /// Limit minus working set; 0 without a limit.
    pub available_bytes: u64,
    /// Page faults.
    pub page_faults: u64,
    /// Major page faults.
    pub major_page_faults: u64,
    /// `memory.swap.current`.
    pub swap_usage_bytes: Option<u64>,
    /// `memory.swap.max` without what is used; 0 without a limit.
    pub swap_available_bytes: u64,
}

/// A container's use of the machine, as ContainerStats shows it.
#[derive(Debug, Clone)]
pub struct ContainerStatistics {
    /// Whose.
    pub container: ContainerView,
    /// Processor time.
    pub cpu: CpuStatistics,
    /// Memory.
    pub memory: Option<MemoryStatistics>,
    /// Number of processes.
    pub process_count: Option<u64>,
    /// Waiting for resources (PSI).
    pub pressures: Pressures,
    /// The writable layer: path of the file system, bytes, inodes.
    pub writable_layer: Option<WritableLayer>,
}

/// Use of a container's writable layer.
#[derive(Debug, Clone, Default)]
pub struct WritableLayer {
    /// When it was read.
    pub timestamp: Timestamp,
    /// A path on the file system that holds it.
    pub mountpoint: String,
    /// Allocated bytes.
    pub used_bytes: u64,
    /// Inodes.
    pub inodes_used: u64,
}

/// A sandbox's use of the machine, as PodSandboxStats shows it.
#[derive(Debug, Clone)]
pub struct SandboxStatistics {
    /// Whose.
    pub sandbox: SandboxView,
    /// Processor time of the pod.
    pub cpu: CpuStatistics,
    /// Memory of the pod.
    pub memory: Option<MemoryStatistics>,
    /// Number of processes of the pod.
    pub process_count: Option<u64>,
    /// Waiting for resources (PSI).
    pub pressures: Pressures,
    /// Network interfaces, the default one first.
    pub interfaces: Vec<InterfaceStatistics>,
    /// The running containers.
    pub containers: Vec<ContainerStatistics>,
}

/// Counters of a network interface of a pod.
#[derive(Debug, Clone, Default)]
pub struct InterfaceStatistics {
    /// Name in the pod.
    pub name: String,
    /// Received bytes.
    pub rx_bytes: u64,
    /// Receive errors.
    pub rx_errors: u64,
    /// Sent bytes.
    pub tx_bytes: u64,
    /// Send errors.
    pub tx_errors: u64,
    /// Received packets.
    pub rx_packets: u64,
    /// Received packets that were dropped.
    pub rx_dropped: u64,
    /// Sent packets.
    pub tx_packets: u64,
    /// Packets that were dropped instead of sent.
    pub tx_dropped: u64,
}

/// What the runtime says of itself: CRI Status.
#[derive(Debug, Clone)]
pub struct RuntimeReport {
    /// `None`: the network is ready; else reason and message.
    pub network_trouble: Option<(String, String)>,
    /// `None`: the runtime is ready; else reason and message.
    pub runtime_trouble: Option<(String, String)>,
    /// The runtime handlers with what each can do, sorted; the default one also under the empty name.
    pub handlers: Vec<HandlerReport>,
    /// The whole configuration as JSON, with `stateDir` (critest reads it).
    pub config_json: String,
    /// Host facts for `info`: kernel, cgroup controllers, lowered limits.
    pub facts: BTreeMap<String, String>,
}
