//! Sandboxes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::json;

use super::namespace_options;
use crate::cri::wire::runtime as wire;
use crate::oci::{NamespaceMode, SandboxMetadata};
use crate::pod::{SandboxState, SandboxView};

/// A sandbox in a list.
pub(in crate::cri) fn sandbox(view: &SandboxView) -> wire::PodSandbox {
    wire::PodSandbox {
        id: view.id.clone(),
        metadata: Some(metadata(&view.config.metadata)),
        state: state(view.state),
        created_at: view.created_at,
        labels: view.config.labels.clone(),
        annotations: view.config.annotations.clone(),
        runtime_handler: view.runtime_handler.clone(),
    }
}

/// A sandbox in full.
pub(in crate::cri) fn sandbox_status(view: &SandboxView) -> wire::PodSandboxStatus {
    let config = &view.config;
    wire::PodSandboxStatus {
        id: view.id.clone(),
        metadata: Some(metadata(&config.metadata)),
        state: state(view.state),
        created_at: view.created_at,
        network: network(view),
        linux: Some(wire::LinuxPodSandboxStatus {
            namespaces: Some(wire::Namespace {
                options: Some(namespace_options(&config.security.namespaces)),
            }),
        }),
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
        runtime_handler: view.runtime_handler.clone(),
    }
}

/// The kubelet makes a pod anew if `network` is there with an empty address, unless the pod is in the host's network:
/// so it is left out where there is no address to tell.
fn network(view: &SandboxView) -> Option<wire::PodSandboxNetworkStatus> {
    let is_host_network = view.config.security.namespaces.network == NamespaceMode::Node;
    match view.addresses.split_first() {
        Some((first, others)) => Some(wire::PodSandboxNetworkStatus {
            ip: first.to_string(),
            additional_ips: others.iter().map(pod_ip).collect(),
        }),
        None if is_host_network => Some(wire::PodSandboxNetworkStatus::default()),
        None => None,
    }
}

fn pod_ip(address: &IpAddr) -> wire::PodIp {
    wire::PodIp {
        ip: address.to_string(),
    }
}

/// Verbose information, with the keys that containerd and CRI-O use.
///
/// `runtimeSpec` names the network namespace where scripts look for it:
/// `.info.runtimeSpec.linux.namespaces[] | select(.type == "network").path`.
pub(in crate::cri) fn sandbox_info(view: &SandboxView) -> BTreeMap<String, String> {
    let namespaces = match view.network_namespace.as_str() {
        "" => json!([]),
        path => json!([{ "type": "network", "path": path }]),
    };
    super::info(&json!({
        "pid": view.infra_pid,
        "runtimeHandler": view.runtime_handler,
        "networkNamespace": view.network_namespace,
        "runtimeSpec": { "linux": { "namespaces": namespaces } },
        "config": &*view.config,
    }))
}

pub(super) fn metadata(metadata: &SandboxMetadata) -> wire::PodSandboxMetadata {
    wire::PodSandboxMetadata {
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        namespace: metadata.namespace.clone(),
        attempt: metadata.attempt,
    }
}

fn state(state: SandboxState) -> i32 {
    let state = match state {
        SandboxState::Ready => wire::PodSandboxState::SandboxReady,
        SandboxState::NotReady => wire::PodSandboxState::SandboxNotready,
    };
    state as i32
}
