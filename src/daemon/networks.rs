//! Fits `network` to what the domain asks for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;

use crate::network::{Network, NetworkError, NetworkErrorKind};
use crate::oci::SandboxConfig;
use crate::pod::{
    InterfaceStatistics, NamespaceHandle, PodError, PodErrorKind, SandboxNetworks, Subject,
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
            .create_namespace(sandbox_id)
            .await
            .map_err(|error| told(sandbox_id, "make its network namespace", error))?;
        self.network
            .apply_sysctls(&namespace, sysctls)
            .await
            .map_err(|error| told(sandbox_id, "set its network sysctls", error))?;
        let descriptor = namespace
            .descriptor()
            .try_clone_to_owned()
            .map_err(|error| {
                PodError::new(
                    PodErrorKind::ResourceExhausted,
                    Subject::Sandbox(sandbox_id.to_owned()),
                    "hold its network namespace",
                )
                .caused_by(error)
            })?;
        Ok(NamespaceHandle {
            path: namespace.path().to_owned(),
            descriptor,
        })
    }

    async fn attach(
        &self,
        sandbox_id: &str,
        _namespace: &NamespaceHandle,
        _config: &SandboxConfig,
    ) -> Result<Vec<IpAddr>, PodError> {
        let step = "attach its network";
        let namespace = self
            .network
            .open_namespace(sandbox_id)
            .await
            .map_err(|error| told(sandbox_id, step, error))?;
        let attachment = self
            .network
            .attach(sandbox_id, &namespace)
            .await
            .map_err(|error| told(sandbox_id, step, error))?;
        Ok(vec![attachment.address])
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
        self.network.wait_released(sandbox_id).await;
        Ok(())
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
            })
            .collect()
    }

    async fn trouble(&self) -> Option<(String, String)> {
        let status = self.network.status().await;
        (!status.ready).then_some((status.reason, status.message))
    }
}

fn told(sandbox_id: &str, step: &str, error: NetworkError) -> PodError {
    let kind = match error.kind() {
        NetworkErrorKind::Exhausted => PodErrorKind::ResourceExhausted,
        NetworkErrorKind::NotReady => PodErrorKind::Unavailable,
        NetworkErrorKind::InvalidArgument => PodErrorKind::InvalidArgument,
        NetworkErrorKind::System {
            errno: Some(libc::ENOSPC),
        } => PodErrorKind::ResourceExhausted,
        NetworkErrorKind::Conflict
        | NetworkErrorKind::NotFound
        | NetworkErrorKind::System { .. } => PodErrorKind::Internal,
    };
    PodError::new(kind, Subject::Sandbox(sandbox_id.to_owned()), step).caused_by(error)
}
