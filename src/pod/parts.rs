//! What the domain needs of the rest, as traits: the composition root passes the real parts, tests pass fakes with
//! a ledger. Every release is idempotent and finds what it releases by the ids alone, so that the same call undoes a
//! failed step, stops a pod, and cleans up after a crash.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::error::PodError;
use super::runtime_handler::RuntimeHandlers;
use super::view::{InterfaceStatistics, MemoryStatistics, WritableLayer};
use crate::apparmor::AppArmor;
use crate::cgroup::{Cpu, Details, IoDevice, Memory, MemoryEvents, Pressures};
use crate::oci::{DeviceRules, ImageDefaults, LinuxResources, SandboxConfig};
use crate::seccomp::Filters;
use crate::selinux::Selinux;
use crate::shim_client::Connected;

/// A network namespace that has a path.
#[derive(Debug)]
pub struct NamespaceHandle {
    /// Where it is bound.
    pub path: PathBuf,
    /// It itself.
    pub descriptor: OwnedFd,
}

/// Network namespaces and what they are attached to.
#[async_trait]
pub trait SandboxNetworks: Debug + Send + Sync {
    /// Makes the namespace of a sandbox, with its sysctls.
    async fn create(
        &self,
        sandbox_id: &str,
        sysctls: &BTreeMap<String, String>,
    ) -> Result<NamespaceHandle, PodError>;
    /// Takes over the namespace that the infra process has made inside the pod's user namespace, and sets its sysctls.
    async fn adopt(
        &self,
        sandbox_id: &str,
        namespace: OwnedFd,
        sysctls: &BTreeMap<String, String>,
    ) -> Result<NamespaceHandle, PodError>;
    /// Attaches it as its configuration asks (host ports); the addresses, the main one first.
    async fn attach(
        &self,
        sandbox_id: &str,
        namespace: &NamespaceHandle,
        config: &SandboxConfig,
    ) -> Result<Vec<IpAddr>, PodError>;
    /// Detaches and removes it; no process is in it any more.
    async fn release(&self, sandbox_id: &str) -> Result<(), PodError>;
    /// Waits until nothing of the sandbox is left, its addresses given back; an error if that has failed meanwhile, and
    /// is tried again in the background.
    async fn wait_released(&self, sandbox_id: &str) -> Result<(), PodError>;
    /// Counters of the interfaces.
    async fn statistics(&self, sandbox_id: &str) -> Vec<InterfaceStatistics>;
    /// Takes the pods' networks of this node, as CRI `NetworkConfig.pod_cidr` has them.
    async fn set_pod_networks(&self, networks: &str) -> Result<(), PodError>;
    /// Whether pods can be attached.
    async fn report(&self) -> NetworkReport;
}

/// What the network says of itself.
#[derive(Debug, Clone, Default)]
pub struct NetworkReport {
    /// `None`: ready; else reason and message.
    pub trouble: Option<(String, String)>,
    /// Facts for Status.
    pub facts: BTreeMap<String, String>,
}

/// The cgroups of a sandbox.
#[derive(Debug, Clone)]
pub struct SandboxCgroups {
    /// Directory of the cgroup that the infra process is born in: its leaf, unless it is moved there later.
    pub infra: PathBuf,
    /// Directory of the shim's own cgroup.
    pub shim: PathBuf,
}

/// One reading of a cgroup.
#[derive(Debug, Clone, Copy, Default)]
pub struct CgroupReading {
    /// Processor time so far.
    pub cpu_usage_nanoseconds: u64,
    /// Memory, where there is a controller.
    pub memory: Option<MemoryStatistics>,
    /// Number of processes.
    pub process_count: Option<u64>,
    /// Waiting for resources, where the kernel keeps it (PSI).
    pub pressures: Pressures,
}

/// Everything that is known of a cgroup and its processes: what metrics are made of.
#[derive(Debug, Clone, Default)]
pub struct CgroupDetails {
    /// Path as `/proc/<pid>/cgroup` shows it.
    pub path: String,
    /// Processor time.
    pub cpu: Cpu,
    /// Memory; without a memory controller, what the processes have in memory.
    pub memory: Memory,
    /// What happened to the memory limit; zero without a controller.
    pub memory_events: MemoryEvents,
    /// Input and output by device.
    pub io: Vec<DeviceIo>,
    /// Waiting for resources.
    pub pressures: Pressures,
    /// Peaks, limits, huge pages.
    pub details: Details,
    /// The processes.
    pub processes: ProcessFigures,
}

/// Input and output on a device.
#[derive(Debug, Clone, Default)]
pub struct DeviceIo {
    /// `/dev/sda`, or `8:0` if it has no name.
    pub device: String,
    /// The counters.
    pub counters: IoDevice,
}

/// Figures of all processes of a cgroup together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessFigures {
    /// Processes.
    pub processes: u64,
    /// Their threads.
    pub threads: u64,
    /// Open files.
    pub file_descriptors: u64,
    /// Those of them that are sockets.
    pub sockets: u64,
    /// The soft limit of open files of the first process; `None` if there is no process, or no limit.
    pub open_files_limit: Option<u64>,
}

/// A file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesystemFigures {
    /// `/dev/sda1`, or `0:35` if its device has no name.
    pub device: String,
    /// All bytes.
    pub bytes: u64,
    /// All inodes; 0 where they are not counted.
    pub inodes: u64,
    /// Free inodes.
    pub free_inodes: u64,
}

/// Control groups of pods.
#[async_trait]
pub trait PodCgroups: Debug + Send + Sync {
    /// Is this parent one that sandboxes can be made below?
    ///
    /// # Errors
    /// `InvalidArgument` if not.
    fn check_parent(&self, parent: &str) -> Result<(), PodError>;
    /// Makes the groups of a sandbox.
    ///
    /// # Errors
    /// If a group cannot be made.
    fn create_sandbox(&self, parent: &str, sandbox_id: &str) -> Result<SandboxCgroups, PodError>;
    /// The infra process runs: with systemd as the driver the sandbox's groups are made of it now.
    ///
    /// # Errors
    /// If they cannot be made.
    async fn settle_sandbox(
        &self,
        parent: &str,
        sandbox_id: &str,
        infra_pid: i32,
    ) -> Result<(), PodError>;
    /// Makes the leaf of a container with the limits and device rules of its specification; its directory.
    ///
    /// # Errors
    /// If the leaf cannot be made or a limit not be set; then there is no leaf.
    fn create_container(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: &str,
        resources: &oci_spec::runtime::LinuxResources,
    ) -> Result<PathBuf, PodError>;
    /// Sees to it that the device rules hold which the leaf was made with, after another runtime has had it.
    ///
    /// # Errors
    /// If they cannot be put back.
    fn keep_device_rules(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: &str,
        resources: &oci_spec::runtime::LinuxResources,
    ) -> Result<(), PodError>;
    /// Changes the limits of a container, all or none.
    async fn update_container(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: &str,
        resources: &LinuxResources,
    ) -> Result<(), PodError>;
    /// Sets the limits of a sandbox as a whole, all or none.
    async fn limit_sandbox(
        &self,
        parent: &str,
        sandbox_id: &str,
        resources: &LinuxResources,
    ) -> Result<(), PodError>;
    /// Kills all processes of a container and waits until none is left.
    async fn kill_container(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: &str,
        deadline: Duration,
    ) -> Result<(), PodError>;
    /// Kills all processes of a sandbox, not the shim, and waits until none is left.
    async fn kill_sandbox(
        &self,
        parent: &str,
        sandbox_id: &str,
        deadline: Duration,
    ) -> Result<(), PodError>;
    /// Kills the shim of a sandbox and waits until it is gone.
    async fn kill_shim(
        &self,
        parent: &str,
        sandbox_id: &str,
        deadline: Duration,
    ) -> Result<(), PodError>;
    /// Removes the leaf of a container.
    async fn remove_container(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: &str,
    ) -> Result<(), PodError>;
    /// Removes all groups of a sandbox but the shim's.
    async fn remove_sandbox(&self, parent: &str, sandbox_id: &str) -> Result<(), PodError>;
    /// Removes the group of a sandbox's shim.
    async fn remove_shim(&self, parent: &str, sandbox_id: &str) -> Result<(), PodError>;
    /// Reads the group of a container, or of the whole sandbox with `None`.
    ///
    /// # Errors
    /// If it is not there.
    fn read(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: Option<&str>,
    ) -> Result<CgroupReading, PodError>;
    /// Everything that is known of the group of a container, or of the whole sandbox with `None`.
    ///
    /// # Errors
    /// If it is not there.
    fn details(
        &self,
        parent: &str,
        sandbox_id: &str,
        container_id: Option<&str>,
    ) -> Result<CgroupDetails, PodError>;
    /// Where the leaf of a container is, as `/proc/<pid>/cgroup` shows it.
    fn container_path(&self, parent: &str, sandbox_id: &str, container_id: &str) -> String;
}

/// An image that a container can be made of.
#[derive(Debug, Clone)]
pub struct ContainerImage {
    /// `Image.id`.
    pub id: String,
    /// A tag, else the id.
    pub name: String,
    /// A repo digest, else the id.
    pub reference: String,
    /// An OCI artifact: it can be mounted, and no container can be made of it.
    pub is_artifact: bool,
    /// What the image's configuration says about its containers.
    pub defaults: ImageDefaults,
}

/// The directories of an overlay file system.
#[derive(Debug, Clone, Default)]
pub struct RootDirectories {
    /// Topmost first.
    pub lower: Vec<PathBuf>,
    /// Writable.
    pub upper: PathBuf,
    /// Of the same file system as `upper`.
    pub work: PathBuf,
}

/// What a container is made of on disk.
#[derive(Debug, Clone, Default)]
pub struct PreparedImages {
    /// The container's root.
    pub root: RootDirectories,
    /// The layers of each image that is mounted as a volume, by its id: at least two directories, topmost first.
    pub volumes: BTreeMap<String, Vec<PathBuf>>,
}

/// Images, as far as containers need them.
#[async_trait]
pub trait ContainerImages: Debug + Send + Sync {
    /// The image of that id, tag or digest, if it is here.
    fn find(&self, reference: &str) -> Option<ContainerImage>;
    /// Keeps the image for the container, and those of its volumes, and makes the container's root file system.
    async fn prepare(
        &self,
        image_id: &str,
        volumes: &[String],
        container_id: &str,
    ) -> Result<PreparedImages, PodError>;
    /// Gives all of it back.
    async fn release(&self, container_id: &str) -> Result<(), PodError>;
    /// Use of the container's writable layer.
    async fn writable_layer(&self, container_id: &str) -> Option<WritableLayer>;
    /// The file system that a path is on.
    fn filesystem(&self, path: &str) -> Option<FilesystemFigures>;
}

/// Starts shims and finds them again.
#[async_trait]
pub trait Shims: Debug + Send + Sync {
    /// Starts the shim of a sandbox in that cgroup, whose directory it is.
    async fn spawn(&self, sandbox_id: &str, cgroup: &Path) -> Result<Connected, PodError>;
    /// Finds the shim that listens in a pod's directory; `None` if none does.
    async fn connect(
        &self,
        sandbox_id: &str,
        directory: &Path,
    ) -> Result<Option<Connected>, PodError>;
}

/// What the domain is told by the configuration and the host.
#[derive(Debug, Clone)]
pub struct PodSettings {
    /// Durable state: `<root>/pods/<sandbox id>`.
    pub root: PathBuf,
    /// Live state: `<run directory>/pods/<sandbox id>`.
    pub run_directory: PathBuf,
    /// Size of a pod's /dev/shm in bytes.
    pub shm_size_bytes: u64,
    /// Open the unprivileged ports and ping to every pod with a network of its own, as containerd does.
    pub default_sysctls: DefaultSysctls,
    /// RLIMIT_NOFILE before the daemon raised its own: soft and hard. Shims take it back.
    pub open_files: (u64, u64),
    /// Identifies this boot of the machine: /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// The capability sets that a container can have at the most: the daemon's bounding set, one bit each.
    pub bounding_capabilities: u64,
    /// The lowest oom_score_adj that the daemon may give: -1000 with CAP_SYS_RESOURCE, else what it has itself.
    pub lowest_oom_score_adj: i32,
    /// Are device rules in force on this host?
    pub device_rules: DeviceRules,
    /// How devices are given to containers.
    pub devices: DeviceSettings,
    /// Who makes the containers of pods.
    pub handlers: RuntimeHandlers,
    /// Can pods have user namespaces of their own here?
    pub user_namespaces: bool,
    /// The whole configuration as JSON, for Status.
    pub config_json: String,
    /// Facts of the host, for Status.
    pub facts: BTreeMap<String, String>,
}

/// Are `net.ipv4.ip_unprivileged_port_start=0` and an open `ping_group_range` set unless the pod sets them?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultSysctls {
    /// Yes.
    Set,
    /// No: the kernel's own defaults hold.
    Leave,
}

/// How devices are given to containers.
#[derive(Debug, Clone, Default)]
pub struct DeviceSettings {
    /// Where CDI specifications are, a later directory over an earlier one.
    pub cdi_directories: Vec<PathBuf>,
    /// Whom device nodes belong to in a container.
    pub owner: DeviceOwner,
}

/// Whom device nodes belong to in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceOwner {
    /// Whom they belong to on the host.
    #[default]
    AsOnTheHost,
    /// The user and the group that the container runs as.
    RunAs,
}

/// Everything that the domain is built on.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Networks.
    pub networks: Arc<dyn SandboxNetworks>,
    /// Cgroups.
    pub cgroups: Arc<dyn PodCgroups>,
    /// Images.
    pub images: Arc<dyn ContainerImages>,
    /// Shims.
    pub shims: Arc<dyn Shims>,
    /// Compiled seccomp profiles.
    pub filters: Arc<Filters>,
    /// AppArmor of this node.
    pub apparmor: Arc<AppArmor>,
    /// SELinux of this node.
    pub selinux: Arc<Selinux>,
    /// Settings.
    pub settings: Arc<PodSettings>,
}
