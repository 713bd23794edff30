//! What the calculation is made from, besides the two requests: facts that others have looked up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::container_config::ContainerConfig;
use super::sandbox_config::SandboxConfig;
use crate::cdi::Edits;
use crate::selinux::Labels;

/// The part of an image's configuration that a container takes over (OCI image-spec config.md, `config`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageDefaults {
    /// `User`: `user`, `uid`, `user:group`, `uid:gid`, or empty.
    pub user: String,
    /// `Env`: `NAME=value`.
    pub environment: Vec<String>,
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    pub command: Vec<String>,
    /// `WorkingDir`.
    pub working_directory: String,
    /// The keys of `Volumes`.
    pub volumes: Vec<String>,
    /// `StopSignal`: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`, or empty.
    pub stop_signal: String,
}

/// Host paths of what every container of a pod gets to see. An empty path is not mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PodFiles {
    /// For /etc/hosts.
    pub hosts: String,
    /// For /etc/hostname.
    pub hostname: String,
    /// For /etc/resolv.conf.
    pub resolv_conf: String,
    /// For /dev/shm; not used when the pod is in the host's ipc namespace.
    pub shm: String,
}

/// Where the pod's namespaces can be joined: paths like `/run/netns/…` and `/proc/<infra pid>/ns/ipc`.
///
/// A path that the pod's modes do not need may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespacePaths {
    /// Network namespace of the pod.
    pub network: String,
    /// IPC namespace of the pod.
    pub ipc: String,
    /// UTS namespace of the pod.
    pub uts: String,
    /// User namespace of the pod.
    pub user: String,
    /// Pid namespace that the pod shares.
    pub pid: String,
    /// Pid namespace of the container `target_id`, which the caller has found running in this pod; else empty.
    pub target_pid: String,
}

/// `c` or `b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceType {
    /// Character device.
    Character,
    /// Block device.
    Block,
}

/// A device node, as stat(2) shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    /// Path in the container.
    pub path: String,
    /// Type.
    pub device_type: DeviceType,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A device of the request, found on the host by the caller (a directory becomes one of these for each node in it).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedDevice {
    /// The node.
    pub node: DeviceNode,
    /// A subset of `rwm`.
    pub permissions: String,
    /// Where the host has the node; empty: at the same path.
    #[serde(default)]
    pub host_path: String,
}

/// Does anything keep a container from devices that its rules do not name?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DeviceRules {
    /// A BPF program of its cgroup does.
    Enforced,
    /// Nothing does: it could open every device that it can make a node of.
    #[default]
    Unavailable,
}

/// What this host and this daemon can do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostFacts {
    /// The daemon's own bounding set, one bit a capability by number (`CapBnd` of /proc/self/status).
    pub capabilities: u64,
    /// The lowest oom_score_adj that the daemon may give: -1000 with CAP_SYS_RESOURCE, else what it has itself.
    pub lowest_oom_score_adj: i32,
    /// Are the rules of `linux.resources.devices` in force?
    pub device_rules: DeviceRules,
    /// The nodes below the host's /dev, without /dev/pts, /dev/shm, /dev/mqueue and /dev/console; only looked at for a
    /// privileged container, and may be left empty for others.
    pub devices: Vec<DeviceNode>,
}

/// All that a specification is calculated from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Container id.
    pub container_id: &'a str,
    /// Sandbox id.
    pub sandbox_id: &'a str,
    /// The pod, as requested.
    pub sandbox: &'a SandboxConfig,
    /// The container, as requested.
    pub container: &'a ContainerConfig,
    /// The image's defaults.
    pub image: &'a ImageDefaults,
    /// Host path of the root file system: `root.path`.
    pub root: &'a str,
    /// The pod's hostname in force: HOSTNAME of the environment.
    pub hostname: &'a str,
    /// The pod's files.
    pub files: &'a PodFiles,
    /// The pod's namespaces.
    pub namespaces: &'a NamespacePaths,
    /// `linux.cgroupsPath`: path of the leaf below the cgroup2 mount point.
    pub cgroup: &'a str,
    /// The devices of the request.
    pub devices: &'a [RequestedDevice],
    /// What stands for the sources of `container.mounts`, by index: host paths with symbolic links resolved, and the
    /// ids of images.
    pub sources: &'a BTreeMap<usize, String>,
    /// What the container's CDI devices want done; their nodes are among `devices`.
    pub edits: &'a Edits,
    /// The profile of `container.security.seccomp` if that is Localhost: the file, read.
    pub seccomp: Option<&'a oci_spec::runtime::LinuxSeccomp>,
    /// The AppArmor profile that is loaded for the container; none: it is not confined.
    pub apparmor: Option<&'a str>,
    /// The SELinux labels of the container; empty: none.
    pub labels: &'a Labels,
    /// Host directory below which each volume of the image has a directory `0`, `1`, …
    pub volumes_directory: &'a str,
    /// The host.
    pub host: &'a HostFacts,
}
