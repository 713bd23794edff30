//! What the pod network is told by the configuration file.

use std::path::PathBuf;

use super::cni::CniConfig;
use super::error::NetworkError;
use super::subnet::{Ipv4Subnet, Subnet};
use super::subnet_v6::Ipv6Subnet;

/// What attaches pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// CNI if there is a configuration, else the built-in bridge: for standalone use.
    Auto,
    /// CNI only; until there is a configuration the network is not ready. For Kubernetes.
    Cni,
    /// The built-in bridge, whatever CNI configurations there are.
    #[default]
    BuiltIn,
    /// Nothing.
    None,
}

/// The settings of the pod network.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// What attaches pods.
    pub mode: Mode,
    /// CNI.
    pub cni: CniConfig,
    /// The bridge's name, at most 15 characters. Default `carpel0`.
    pub bridge: String,
    /// The pods' addresses; the bridge has the first. Default `10.63.0.0/16`.
    pub subnet: Ipv4Subnet,
    /// The pods' IPv6 addresses, the bridge has the first. Default: pods have IPv4 only.
    pub subnet_v6: Option<Ipv6Subnet>,
    /// Largest packet of a pod's interface, in bytes. Default: as the interface of the node's default route.
    pub mtu: Option<u32>,
    /// How many pods' networks are made ahead. Default 2.
    pub prepared: usize,
    /// Below it, in `network/` and `cni/`, is one durable record per sandbox. Default `/var/lib/carpel`.
    pub state_directory: PathBuf,
    /// Where namespaces have paths, shared with `ip netns`. Default `/run/netns`.
    pub namespace_directory: PathBuf,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            cni: CniConfig::default(),
            bridge: "carpel0".to_owned(),
            subnet: Ipv4Subnet::DEFAULT,
            subnet_v6: None,
            mtu: None,
            prepared: 2,
            state_directory: PathBuf::from("/var/lib/carpel"),
            namespace_directory: PathBuf::from("/run/netns"),
        }
    }
}

impl NetworkConfig {
    /// The pods' subnets, the main one first.
    #[must_use]
    pub fn subnets(&self) -> Vec<Subnet> {
        std::iter::once(Subnet::V4(self.subnet))
            .chain(self.subnet_v6.map(Subnet::V6))
            .collect()
    }

    /// Refuses a bridge name that the kernel would refuse, or that could be taken for a pod's interface; and an IPv6
    /// subnet that has not a place for every IPv4 address.
    pub(super) fn check(&self) -> Result<(), NetworkError> {
        if let Some(subnet_v6) = self.subnet_v6
            && subnet_v6.places() < self.subnet.places()
        {
            return Err(NetworkError::SubnetSize {
                subnet_v6,
                subnet: self.subnet,
            });
        }
        let name = &self.bridge;
        let letters = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if letters && (1..=15).contains(&name.len()) && name != "." && name != ".." {
            return Ok(());
        }
        Err(NetworkError::InterfaceName { name: name.clone() })
    }
}
