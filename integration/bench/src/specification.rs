//! The pods that are measured: what a kubelet sends for a pod with one container that sleeps.

use std::collections::HashMap;

use super::arguments::Seccomp;
use crate::runtime_v1 as cri;

/// Which network a pod has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Network {
    /// The host's: CRI `NODE`.
    Host,
    /// The pod's own: CRI `POD`.
    Pod,
}

impl Network {
    /// For the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Host => "host network",
            Self::Pod => "pod network",
        }
    }
}

/// Makes specifications with names that no other run has used.
#[derive(Debug, Clone)]
pub(crate) struct Specifications {
    pub(crate) image: String,
    pub(crate) log_directory: String,
    pub(crate) seccomp: Seccomp,
    /// Makes uids unique among runs of the bench.
    pub(crate) run: String,
}

impl Specifications {
    /// The sandbox of the pod called `name`.
    pub(crate) fn sandbox(&self, name: &str, network: Network) -> cri::PodSandboxConfig {
        cri::PodSandboxConfig {
            metadata: Some(cri::PodSandboxMetadata {
                name: name.to_owned(),
                uid: format!("{}-{name}", self.run),
                namespace: "bench".to_owned(),
                attempt: 0,
            }),
            hostname: match network {
                Network::Host => String::new(),
                Network::Pod => name.to_owned(),
            },
            log_directory: format!("{}/{name}", self.log_directory),
            labels: self.labels(name),
            linux: Some(cri::LinuxPodSandboxConfig {
                security_context: Some(cri::LinuxSandboxSecurityContext {
                    namespace_options: Some(namespaces(network)),
                    seccomp: Some(self.seccomp()),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// A container that sleeps, in that pod.
    pub(crate) fn container(
        &self,
        pod: &str,
        name: &str,
        network: Network,
    ) -> cri::ContainerConfig {
        cri::ContainerConfig {
            metadata: Some(cri::ContainerMetadata {
                name: name.to_owned(),
                attempt: 0,
            }),
            image: Some(cri::ImageSpec {
                image: self.image.clone(),
                ..Default::default()
            }),
            command: vec!["sleep".to_owned(), "3600".to_owned()],
            envs: vec![cri::KeyValue {
                key: "KUBERNETES_SERVICE_HOST".to_owned(),
                value: "10.96.0.1".into(),
            }],
            labels: self.labels(pod),
            log_path: format!("{name}.log"),
            linux: Some(cri::LinuxContainerConfig {
                security_context: Some(cri::LinuxContainerSecurityContext {
                    namespace_options: Some(namespaces(network)),
                    seccomp: Some(self.seccomp()),
                    masked_paths: MASKED.map(str::to_owned).to_vec(),
                    readonly_paths: READ_ONLY.map(str::to_owned).to_vec(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn seccomp(&self) -> cri::SecurityProfile {
        use cri::security_profile::ProfileType;
        let profile_type = match self.seccomp {
            Seccomp::Unconfined => ProfileType::Unconfined,
            Seccomp::RuntimeDefault => ProfileType::RuntimeDefault,
        };
        cri::SecurityProfile {
            profile_type: profile_type.into(),
            ..Default::default()
        }
    }

    fn labels(&self, name: &str) -> HashMap<String, String> {
        HashMap::from([
            ("io.kubernetes.pod.name".to_owned(), name.to_owned()),
            ("carpel-bench".to_owned(), self.run.clone()),
        ])
    }

    /// Matches every sandbox and container of this run.
    pub(crate) fn selector(&self) -> HashMap<String, String> {
        HashMap::from([("carpel-bench".to_owned(), self.run.clone())])
    }
}

/// What Kubernetes masks by default: pkg/securitycontext of kubernetes.
const MASKED: [&str; 8] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/scsi",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

fn namespaces(network: Network) -> cri::NamespaceOption {
    let network = match network {
        Network::Host => cri::NamespaceMode::Node,
        Network::Pod => cri::NamespaceMode::Pod,
    };
    cri::NamespaceOption {
        network: network.into(),
        pid: cri::NamespaceMode::Container.into(),
        ipc: cri::NamespaceMode::Pod.into(),
        ..Default::default()
    }
}
