//! From a pod to the configuration of its sandbox: kubelet, `generatePodSandboxConfig`.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::{ContainerPort, Pod};
use sha2::{Digest, Sha256};

use super::dns::{self, NodeResolver};
use super::hostname::{self, LongName};
use super::labels::{self, ANNOTATION_HASH, ANNOTATION_USER_RANGE};
use super::namespaces::UserRange;
use super::security;
use super::wire::{
    LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol,
};

/// What a sandbox is made from, beside the pod.
#[derive(Debug)]
pub(crate) struct SandboxInputs<'a> {
    /// How many sandboxes the pod had before.
    pub(crate) attempt: u32,
    /// The folder of all logs.
    pub(crate) logs: &'a Path,
    /// The host's resolver.
    pub(crate) resolver: &'a NodeResolver,
    /// `cluster.local`
    pub(crate) cluster_domain: &'a str,
    /// The ids of its user namespace, if it has one.
    pub(crate) user_range: Option<UserRange>,
}

/// The sandbox's configuration.
///
/// # Errors
/// When the pod's full name cannot be its host name.
pub(crate) fn sandbox_config(
    pod: &Pod,
    inputs: &SandboxInputs<'_>,
) -> Result<PodSandboxConfig, LongName> {
    let metadata = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let names = hostname::names(pod, inputs.cluster_domain)?;
    let mut annotations = metadata.annotations.clone().unwrap_or_default();
    annotations.insert(ANNOTATION_HASH.to_owned(), sandbox_hash(pod));
    if let Some(range) = inputs.user_range {
        annotations.insert(ANNOTATION_USER_RANGE.to_owned(), range.0.to_string());
    }
    let folder = format!(
        "{}_{}_{}",
        text(&metadata.namespace),
        text(&metadata.name),
        text(&metadata.uid)
    );
    Ok(PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: text(&metadata.name),
            uid: text(&metadata.uid),
            namespace: text(&metadata.namespace),
            attempt: inputs.attempt,
        }),
        hostname: names.hostname,
        log_directory: inputs.logs.join(folder).display().to_string(),
        dns_config: Some(dns::config(pod, inputs.resolver)),
        port_mappings: port_mappings(pod),
        labels: labels::of_pod(pod),
        annotations,
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: String::new(),
            security_context: Some(security::sandbox(pod, inputs.user_range)),
            sysctls: sysctls(pod),
            overhead: None,
            resources: None,
        }),
        windows: None,
    })
}

/// Of everything that a sandbox is made from: another hash needs another sandbox. Containers have hashes of their own;
/// init containers that end belong to the sandbox, because they run once in its life.
pub(crate) fn sandbox_hash(pod: &Pod) -> String {
    let mut spec = pod.spec.clone().unwrap_or_default();
    spec.containers.clear();
    if let Some(init) = &mut spec.init_containers {
        init.retain(|container| container.restart_policy.as_deref() != Some("Always"));
    }
    // These change nothing of what runs.
    spec.active_deadline_seconds = None;
    spec.termination_grace_period_seconds = None;
    spec.node_selector = None;
    spec.tolerations = None;
    spec.restart_policy = None;
    hash(&serde_json::to_vec(&spec).unwrap_or_default())
}

/// Sixteen hexadecimal digits of SHA-256.
pub(super) fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Ports of the host that lead into the pod; in the host's network there is nothing to lead.
fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    if spec.host_network == Some(true) {
        return Vec::new();
    }
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|it| it.restart_policy.as_deref() == Some("Always"));
    sidecars
        .chain(&spec.containers)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(port_mapping)
        .collect()
}

fn port_mapping(port: &ContainerPort) -> Option<PortMapping> {
    let host_port = port.host_port.filter(|&port| port > 0)?;
    let protocol = match port.protocol.as_deref() {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    };
    Some(PortMapping {
        protocol: protocol.into(),
        container_port: port.container_port,
        host_port,
        host_ip: port.host_ip.clone().unwrap_or_default(),
    })
}

fn sysctls(pod: &Pod) -> BTreeMap<String, String> {
    let context = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.as_ref());
    let sysctls = context.and_then(|context| context.sysctls.as_deref());
    sysctls
        .unwrap_or_default()
        .iter()
        .map(|sysctl| (sysctl.name.replace('/', "."), sysctl.value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "u-1", "labels": { "app": "web" } },
            "spec": spec,
        }))
        .unwrap()
    }

    fn config(pod: &Pod) -> PodSandboxConfig {
        let inputs = SandboxInputs {
            attempt: 2,
            logs: Path::new("/var/log/pods"),
            resolver: &NodeResolver::default(),
            cluster_domain: "cluster.local",
            user_range: None,
        };
        sandbox_config(pod, &inputs).unwrap()
    }

    #[test]
    fn a_sandbox_is_found_again_by_its_labels() {
        let config = config(&pod(json!({ "containers": [] })));
        assert_eq!(config.log_directory, "/var/log/pods/shop_web_u-1");
        assert_eq!(config.labels["io.carpel.agent.pod.uid"], "u-1");
        assert_eq!(config.labels["app"], "web");
        assert!(
            !config
                .labels
                .keys()
                .any(|name| name.starts_with("io.kubernetes"))
        );
        assert_eq!(config.metadata.unwrap().attempt, 2);
    }

    #[test]
    fn only_ports_of_the_host_are_mapped() {
        let containers = json!([{ "name": "c", "ports": [
            { "containerPort": 80 },
            { "containerPort": 53, "hostPort": 5353, "protocol": "UDP", "hostIP": "127.0.0.1" },
        ] }]);
        let mapped = config(&pod(json!({ "containers": containers }))).port_mappings;
        assert_eq!(mapped.len(), 1);
        assert_eq!((mapped[0].container_port, mapped[0].host_port), (53, 5353));
        assert_eq!(mapped[0].protocol(), Protocol::Udp);
        let in_hosts = pod(json!({ "containers": containers, "hostNetwork": true }));
        assert!(config(&in_hosts).port_mappings.is_empty());
    }

    #[test]
    fn the_hash_is_of_what_makes_the_sandbox() {
        let of = |spec| sandbox_hash(&pod(spec));
        let plain = of(json!({ "containers": [{ "name": "a", "image": "x" }] }));
        assert_eq!(
            plain,
            of(json!({ "containers": [{ "name": "a", "image": "y" }] }))
        );
        assert_ne!(
            plain,
            of(json!({ "containers": [{ "name": "a" }], "hostname": "h" }))
        );
        let init = json!({ "name": "i", "image": "x" });
        assert_ne!(
            plain,
            of(json!({ "containers": [], "initContainers": [init] }))
        );
        let sidecar = json!({ "name": "i", "restartPolicy": "Always" });
        let with_sidecar = of(json!({ "containers": [], "initContainers": [sidecar] }));
        let other = json!({ "name": "i", "image": "z", "restartPolicy": "Always" });
        assert_eq!(
            with_sidecar,
            of(json!({ "containers": [], "initContainers": [other] }))
        );
    }
}
