//! What a pod sandbox is asked to be: our own copy of CRI's `PodSandboxConfig`, without wire types.
//!
//! Every value is kept as the client sent it (labels and annotations byte for byte), because it is persisted
//! in the pod's record and echoed by PodSandboxStatus.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The key of a sandbox: CRI `PodSandboxMetadata`. Two sandboxes never share all four.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct SandboxMetadata {
    /// Pod name.
    pub name: String,
    /// Pod uid.
    pub uid: String,
    /// Pod namespace.
    pub namespace: String,
    /// How many sandboxes this pod had before.
    pub attempt: u32,
}

/// CRI `PodSandboxConfig`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxConfig {
    /// The key.
    pub metadata: SandboxMetadata,
    /// Hostname of the uts namespace; empty means the host's or a default, by network mode.
    pub hostname: String,
    /// Host directory of the container logs; empty means that no container of the pod is logged.
    pub log_directory: String,
    /// DNS; `None` means the host's resolver.
    pub dns: Option<DnsConfig>,
    /// Ports.
    pub port_mappings: Vec<PortMapping>,
    /// Labels, byte for byte.
    pub labels: BTreeMap<String, String>,
    /// Annotations, byte for byte.
    pub annotations: BTreeMap<String, String>,
    /// CRI `LinuxPodSandboxConfig.cgroup_parent`, in cgroupfs syntax; empty means `/carpel`.
    pub cgroup_parent: String,
    /// Sysctls of the pod's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// CRI `LinuxPodSandboxConfig.overhead`: see [`PodResources`](super::PodResources).
    pub overhead: Option<LinuxResources>,
    /// CRI `LinuxPodSandboxConfig.resources`: the sum of the containers'.
    pub resources: Option<LinuxResources>,
    /// Security context.
    pub security: SandboxSecurity,
}

/// CRI `DNSConfig`: the lines of /etc/resolv.conf.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsConfig {
    /// `nameserver` lines.
    pub servers: Vec<String>,
    /// The `search` line.
    pub searches: Vec<String>,
    /// The `options` line.
    pub options: Vec<String>,
}

/// Transport protocol of a port mapping. CRI `Protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// CRI `PortMapping`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PortMapping {
    /// Protocol.
    pub protocol: Protocol,
    /// Port in the pod.
    pub container_port: i32,
    /// Port of the host; 0 means none (CRI 1.33).
    pub host_port: i32,
    /// Address of the host; empty means all.
    pub host_ip: String,
}

/// CRI `NamespaceMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// Shared by the pod.
    #[default]
    Pod,
    /// The container's own.
    Container,
    /// The host's.
    Node,
    /// Another container's.
    Target,
}

/// CRI `IDMapping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IdMapping {
    /// First id on the host.
    pub host_id: u32,
    /// First id in the container.
    pub container_id: u32,
    /// How many.
    pub length: u32,
}

/// CRI `UserNamespace`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UserNamespaceOptions {
    /// `Pod` or `Node`.
    pub mode: NamespaceMode,
    /// uid mappings.
    pub uids: Vec<IdMapping>,
    /// gid mappings.
    pub gids: Vec<IdMapping>,
}

/// CRI `NamespaceOption`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceOptions {
    /// `Pod` or `Node`.
    pub network: NamespaceMode,
    /// `Pod`, `Container`, `Node` or `Target`.
    pub pid: NamespaceMode,
    /// `Pod` or `Node`.
    pub ipc: NamespaceMode,
    /// Id of the container whose pid namespace is joined, with `pid == Target`.
    pub target_id: String,
    /// User namespace; `None` means the host's.
    pub user: Option<UserNamespaceOptions>,
}

impl NamespaceOptions {
    /// The pod's user namespace, if it has one of its own.
    #[must_use]
    pub fn own_user(&self) -> Option<&UserNamespaceOptions> {
        self.user
            .as_ref()
            .filter(|user| user.mode != NamespaceMode::Node)
    }
}

/// CRI `SELinuxOption`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SelinuxOptions {
    /// User.
    pub user: String,
    /// Role.
    pub role: String,
    /// Type.
    pub type_: String,
    /// Level.
    pub level: String,
}

/// CRI `SupplementalGroupsPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SupplementalGroupsPolicy {
    /// The image's groups of the user, and the listed ones.
    #[default]
    Merge,
    /// The listed ones only.
    Strict,
}

/// CRI `SecurityProfile`, for seccomp and AppArmor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecurityProfile {
    /// The runtime's default profile.
    RuntimeDefault,
    /// No profile.
    Unconfined,
    /// A file (seccomp) or a loaded profile (AppArmor) of the host.
    Localhost(String),
}

/// CRI `LinuxSandboxSecurityContext`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxSecurity {
    /// Namespaces.
    pub namespaces: NamespaceOptions,
    /// SELinux labels.
    pub selinux: Option<SelinuxOptions>,
    /// uid of the infra process; only checked, the infra process has no rights anyway.
    pub run_as_user: Option<i64>,
    /// gid; an error without `run_as_user`.
    pub run_as_group: Option<i64>,
    /// Read-only root of the infra process; it has an empty root anyway.
    pub readonly_rootfs: bool,
    /// Supplemental groups of the infra process.
    pub supplemental_groups: Vec<i64>,
    /// Their policy.
    pub supplemental_groups_policy: SupplementalGroupsPolicy,
    /// May the pod hold privileged containers?
    pub privileged: bool,
    /// Seccomp; `None` means unconfined.
    pub seccomp: Option<SecurityProfile>,
    /// AppArmor.
    pub apparmor: Option<SecurityProfile>,
}

/// CRI `HugepageLimit`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HugepageLimit {
    /// For example `2MB`: the middle of `hugetlb.2MB.max`.
    pub page_size: String,
    /// Bytes.
    pub limit_bytes: u64,
}

/// CRI `LinuxContainerResources`; 0 and empty mean "not specified", as on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LinuxResources {
    /// CFS period in microseconds.
    pub cpu_period: i64,
    /// CFS quota in microseconds; negative means none.
    pub cpu_quota: i64,
    /// cgroup v1 cpu shares, 2 to 262144; converted to a weight.
    pub cpu_shares: i64,
    /// Bytes; negative means no limit.
    pub memory_limit_bytes: i64,
    /// -1000 to 1000.
    pub oom_score_adj: i64,
    /// For example `0-3,5`.
    pub cpuset_cpus: String,
    /// For example `0`.
    pub cpuset_mems: String,
    /// Limits of huge pages.
    pub hugepage_limits: Vec<HugepageLimit>,
    /// cgroup v2 files and values, verbatim.
    pub unified: BTreeMap<String, String>,
    /// Memory and swap together, in bytes, as in cgroup v1; negative means no limit.
    pub memory_swap_limit_bytes: i64,
}
