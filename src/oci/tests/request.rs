//! A request with defaults for everything but the point of a test, and how to read what comes out.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::*;

/// A request file: what differs from the defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Request {
    pub(super) sandbox: SandboxConfig,
    pub(super) container: ContainerConfig,
    pub(super) image: ImageDefaults,
    pub(super) files: PodFiles,
    pub(super) namespaces: NamespacePaths,
    pub(super) devices: Vec<RequestedDevice>,
    pub(super) sources: BTreeMap<usize, String>,
    #[serde(skip)]
    pub(super) edits: crate::cdi::Edits,
    pub(super) seccomp: Option<oci_spec::runtime::LinuxSeccomp>,
    pub(super) apparmor: Option<String>,
    #[serde(skip)]
    pub(super) labels: crate::selinux::Labels,
    pub(super) host: HostFacts,
}

impl Default for Request {
    fn default() -> Self {
        let path = |name: &str| format!("/run/carpel/pods/p1/{name}");
        Self {
            sandbox: SandboxConfig::default(),
            container: ContainerConfig {
                command: vec!["/bin/true".to_owned()],
                ..ContainerConfig::default()
            },
            image: ImageDefaults::default(),
            files: PodFiles {
                hosts: path("hosts"),
                hostname: path("hostname"),
                resolv_conf: path("resolv.conf"),
                shm: path("shm"),
            },
            namespaces: NamespacePaths {
                network: "/run/netns/carpel-p1".to_owned(),
                ipc: "/proc/77/ns/ipc".to_owned(),
                uts: "/proc/77/ns/uts".to_owned(),
                user: "/proc/77/ns/user".to_owned(),
                pid: "/proc/77/ns/pid".to_owned(),
                target_pid: String::new(),
            },
            devices: Vec::new(),
            sources: BTreeMap::new(),
            edits: crate::cdi::Edits::default(),
            seccomp: None,
            apparmor: None,
            labels: crate::selinux::Labels::default(),
            host: HostFacts {
                capabilities: (1 << 41) - 1,
                lowest_oom_score_adj: -1000,
                device_rules: DeviceRules::Enforced,
                devices: Vec::new(),
            },
        }
    }
}

impl Request {
    pub(super) fn calculate(&self) -> Result<Calculated, OciError> {
        specification(&Input {
            container_id: "c1",
            sandbox_id: "p1",
            sandbox: &self.sandbox,
            container: &self.container,
            image: &self.image,
            root: "/run/carpel/pods/p1/containers/c1/rootfs",
            hostname: "web-0",
            files: &self.files,
            namespaces: &self.namespaces,
            cgroup: "/carpel/p1/c1",
            devices: &self.devices,
            sources: &self.sources,
            edits: &self.edits,
            seccomp: self.seccomp.as_ref(),
            apparmor: self.apparmor.as_deref(),
            labels: &self.labels,
            volumes_directory: "/run/carpel/pods/p1/containers/c1/volumes",
            host: &self.host,
        })
    }

    pub(super) fn right(&self) -> Calculated {
        self.calculate().unwrap()
    }

    pub(super) fn wrong(&self) -> (OciErrorKind, String) {
        let error = self.calculate().unwrap_err();
        (error.kind(), error.to_string())
    }

    pub(super) fn with_mount(mut self, mount: Mount) -> Self {
        self.container.mounts.push(mount);
        self
    }
}

pub(super) fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(super) fn process_of(calculated: &Calculated) -> &oci_spec::runtime::Process {
    calculated.specification.process().as_ref().unwrap()
}

pub(super) fn linux_of(calculated: &Calculated) -> &oci_spec::runtime::Linux {
    calculated.specification.linux().as_ref().unwrap()
}

/// `destination ← source options` of each mount.
pub(super) fn mounts_of(calculated: &Calculated) -> Vec<String> {
    let mounts = calculated.specification.mounts().as_ref().unwrap();
    mounts
        .iter()
        .map(|mount| {
            format!(
                "{} ← {} {}",
                mount.destination().display(),
                mount.source().as_ref().unwrap().display(),
                mount.options().as_ref().unwrap().join(",")
            )
        })
        .collect()
}

pub(super) fn mount_at(calculated: &Calculated, destination: &str) -> Option<String> {
    let start = format!("{destination} ← ");
    mounts_of(calculated)
        .into_iter()
        .find_map(|mount| Some(mount.strip_prefix(&start)?.to_owned()))
}

pub(super) fn bind(container_path: &str, host_path: &str) -> Mount {
    Mount {
        container_path: container_path.to_owned(),
        host_path: host_path.to_owned(),
        ..Mount::default()
    }
}
