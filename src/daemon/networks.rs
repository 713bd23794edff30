//! Fits `network` to what the domain asks for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use async_trait::async_trait;

use crate::network::{
    HostPort, Network, NetworkError, NetworkErrorKind, NetworkNamespace, PodRequest, Resolver,
    Transport,
};
use crate::oci::{Protocol, SandboxConfig};
use crate::pod::{
    InterfaceStatistics, NamespaceHandle, NetworkReport, PodError, PodErrorKind, SandboxNetworks,
    Subject,
};

/// The networks of this node.
#[derive(Debug)]
pub(super) struct NodeNetworks {
    network: Network,
}

impl NodeNetworks {
    /// Over that network.
    pub(super) fn new(network: Network) -> Self {
        Self { network }
    }
}

#[async_trait]
impl SandboxNetworks for NodeNetworks {
    async fn create(
        &self,
        sandbox_id: &str,
        sysctls: &BTreeMap<String, String>,
    ) -> Result<NamespaceHandle, PodError> {
        let namespace = self
            .network
            .create_namespace_with(sandbox_id, sysctls)
            .await
            .map_err(|error| told(sandbox_id, "make its network namespace", error))?;
        handle(sandbox_id, &namespace)
    }

    async fn adopt(
        &self,
        sandbox_id: &str,
        namespace: OwnedFd,
        sysctls: &BTreeMap<String, String>,
    ) -> Result<NamespaceHandle, PodError> {
        let namespace = self
            .network
            .adopt_namespace(sandbox_id, namespace, sysctls)
            .await
            .map_err(|error| told(sandbox_id, "take over its network namespace", error))?;
        handle(sandbox_id, &namespace)
    }

    async fn attach(
        &self,
        sandbox_id: &str,
        _namespace: &NamespaceHandle,
        config: &SandboxConfig,
    ) -> Result<Vec<IpAddr>, PodError> {
        let step = "attach its network";
        let namespace = self
            .network
            .open_namespace(sandbox_id)
            .await
            .map_err(|error| told(sandbox_id, step, error))?;
        self.network
            .attach_pod(sandbox_id, &namespace, &pod_request(config))
            .await
            .map_err(|error| told(sandbox_id, step, error))
    }

    async fn release(&self, sandbox_id: &str) -> Result<(), PodError> {
        self.network
            .detach(sandbox_id)
            .await
            .map_err(|error| told(sandbox_id, "detach its network", error))?;
        self.network
            .remove_namespace(sandbox_id)
            .await
            .map_err(|error| told(sandbox_id, "remove its network namespace", error))
    }

    async fn wait_released(&self, sandbox_id: &str) -> Result<(), PodError> {
        self.network
            .wait_detached(sandbox_id)
            .await
            .map_err(|error| told(sandbox_id, "release its network", error))
    }

    async fn statistics(&self, sandbox_id: &str) -> Vec<InterfaceStatistics> {
        let counters = self.network.interface_statistics(sandbox_id).await;
        counters
            .unwrap_or_else(|error| {
                tracing::debug!(sandbox = sandbox_id, %error, "read its interfaces");
                Vec::new()
            })
            .into_iter()
            .map(|interface| InterfaceStatistics {
                name: interface.name,
                rx_bytes: interface.rx_bytes,
                rx_errors: interface.rx_errors,
                tx_bytes: interface.tx_bytes,
                tx_errors: interface.tx_errors,
                rx_packets: interface.rx_packets,
                rx_dropped: interface.rx_dropped,
                tx_packets: interface.tx_packets,
                tx_dropped: interface.tx_dropped,
            })
            .collect()
    }

    async fn set_pod_networks(&self, networks: &str) -> Result<(), PodError> {
        let told = self.network.set_pod_networks(networks).await;
        told.map_err(|error| {
            PodError::new(kind(&error), Subject::Runtime, "take the pods' networks")
                .caused_by(error)
        })
    }

    async fn report(&self) -> NetworkReport {
        let status = self.network.status().await;
        let mut facts = BTreeMap::new();
        if !status.warnings.is_empty() {
            facts.insert("networkWarnings".to_owned(), status.warnings.join("\n"));
        }
        NetworkReport {
            trouble: (!status.ready).then_some((status.reason, status.message)),
            facts,
        }
    }
}

fn handle(sandbox_id: &str, namespace: &NetworkNamespace) -> Result<NamespaceHandle, PodError> {
    let descriptor = namespace.descriptor().try_clone_to_owned();
    Ok(NamespaceHandle {
        path: namespace.path().to_owned(),
        descriptor: descriptor.map_err(|error| {
            PodError::new(
                PodErrorKind::ResourceExhausted,
                Subject::Sandbox(sandbox_id.to_owned()),
                "hold its network namespace",
            )
            .caused_by(error)
        })?,
    })
}

/// What the network is told about a pod.
fn pod_request(config: &SandboxConfig) -> PodRequest {
    PodRequest {
        name: config.metadata.name.clone(),
        namespace: config.metadata.namespace.clone(),
        uid: config.metadata.uid.clone(),
        annotations: config.annotations.clone(),
        ports: host_ports(config),
        dns: config.dns.as_ref().map(|dns| Resolver {
            servers: dns.servers.clone(),
            searches: dns.searches.clone(),
            options: dns.options.clone(),
        }),
        cgroup_parent: config.cgroup_parent.clone(),
    }
}

/// The ports of the host that lead to the pod; a mapping without one is information.
fn host_ports(config: &SandboxConfig) -> Vec<HostPort> {
    let mut ports: Vec<HostPort> = Vec::new();
    for mapping in &config.port_mappings {
        // Both were checked to be ports when the request came in.
        let (Ok(host_port), Ok(port)) = (
            u16::try_from(mapping.host_port),
            u16::try_from(mapping.container_port),
        ) else {
            continue;
        };
        let port = HostPort {
            transport: match mapping.protocol {
                Protocol::Tcp => Transport::Tcp,
                Protocol::Udp => Transport::Udp,
                Protocol::Sctp => Transport::Sctp,
            },
            host_port,
            host_address: mapping.host_ip.parse().ok(),
            port,
        };
        if host_port != 0 && !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}

fn told(sandbox_id: &str, step: &str, error: NetworkError) -> PodError {
    PodError::new(kind(&error), Subject::Sandbox(sandbox_id.to_owned()), step).caused_by(error)
}

fn kind(error: &NetworkError) -> PodErrorKind {
    match error.kind() {
        NetworkErrorKind::Exhausted => PodErrorKind::ResourceExhausted,
        NetworkErrorKind::NotReady | NetworkErrorKind::Conflict => PodErrorKind::Unavailable,
        NetworkErrorKind::PortTaken => PodErrorKind::FailedPrecondition,
        NetworkErrorKind::InvalidArgument => PodErrorKind::InvalidArgument,
        NetworkErrorKind::System {
            errno: Some(libc::ENOSPC),
        } => PodErrorKind::ResourceExhausted,
        NetworkErrorKind::NotFound | NetworkErrorKind::System { .. } => PodErrorKind::Internal,
    }
}
