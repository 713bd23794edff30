//! An IPv4 subnet: its text, its bounds, what overlaps it; and a subnet of either family.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::subnet_v6::Ipv6Subnet;

/// The subnet that the built-in network takes addresses from, as `10.63.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ipv4Subnet {
    network: Ipv4Addr,
    prefix_length: u8,
}

/// Why a text is no subnet for pods.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Not of the form `address/prefix`.
    #[error("{text:?} is not an IPv4 subnet such as 10.63.0.0/16")]
    Syntax {
        /// What was given.
        text: String,
    },
    /// A prefix that leaves no room for a gateway and two pods, or has more addresses than a node needs.
    #[error("{text:?}: the prefix of a pod subnet is between 8 and 29")]
    Prefix {
        /// What was given.
        text: String,
    },
    /// The address has bits behind the prefix.
    #[error("{text:?} has bits behind its prefix: the subnet is {network}/{prefix_length}")]
    HostBits {
        /// What was given.
        text: String,
        /// The address without them.
        network: Ipv4Addr,
        /// The prefix.
        prefix_length: u8,
    },
}

/// A subnet of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subnet {
    /// `network.subnet`.
    V4(Ipv4Subnet),
    /// `network.subnet_v6`.
    V6(Ipv6Subnet),
}

impl Subnet {
    /// The bridge's own address.
    #[must_use]
    pub fn gateway(&self) -> IpAddr {
        match self {
            Self::V4(subnet) => subnet.gateway().into(),
            Self::V6(subnet) => subnet.address(1).into(),
        }
    }

    /// The number of leading bits that all addresses share.
    #[must_use]
    pub fn prefix_length(&self) -> u8 {
        match self {
            Self::V4(subnet) => subnet.prefix_length(),
            Self::V6(subnet) => subnet.prefix_length(),
        }
    }

    /// Whether the subnet and another network have an address in common.
    #[must_use]
    pub fn overlaps(&self, address: IpAddr, prefix_length: u8) -> bool {
        match (self, address) {
            (Self::V4(subnet), IpAddr::V4(address)) => subnet.overlaps(address, prefix_length),
            (Self::V6(subnet), IpAddr::V6(address)) => subnet.overlaps(address, prefix_length),
            _ => false,
        }
    }

    /// The configuration's key.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        match self {
            Self::V4(_) => "network.subnet",
            Self::V6(_) => "network.subnet_v6",
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(subnet) => subnet.fmt(formatter),
            Self::V6(subnet) => subnet.fmt(formatter),
        }
    }
}

impl Ipv4Subnet {
    /// `10.63.0.0/16`: of the private ranges one that is not the default of podman (10.88 and above), CRI-O
    /// (10.85), nerdctl (10.4), K3s (10.42, 10.43), kubeadm's services (10.96), flannel and kind (10.244), Weave
    /// (10.32 to 10.47), OpenShift (10.128), Docker (172.17 to 172.31, 192.168) or libvirt (192.168.122).
    pub const DEFAULT: Self = Self {
        network: Ipv4Addr::new(10, 63, 0, 0),
        prefix_length: 16,
    };

    /// The first address, which nobody has.
    #[must_use]
    pub fn network(&self) -> Ipv4Addr {
        self.network
    }

    /// The number of leading bits that all addresses share.
    #[must_use]
    pub fn prefix_length(&self) -> u8 {
        self.prefix_length
    }

    /// The bridge's own address: the first that can be used.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network).saturating_add(1))
    }

    /// The bits of the prefix, as an address.
    #[must_use]
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from(mask(self.prefix_length))
    }

    /// The first and the last address that a pod can have.
    #[must_use]
    pub fn pod_addresses(&self) -> (Ipv4Addr, Ipv4Addr) {
        let network = u32::from(self.network);
        let broadcast = network | !mask(self.prefix_length);
        (
            Ipv4Addr::from(network.saturating_add(2)),
            Ipv4Addr::from(broadcast.saturating_sub(1)),
        )
    }

    /// The place of an address in the subnet.
    #[must_use]
    pub fn place(&self, address: Ipv4Addr) -> u32 {
        u32::from(address).saturating_sub(u32::from(self.network))
    }

    /// The address at a place.
    #[must_use]
    pub fn address(&self, place: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network).saturating_add(place))
    }

    /// How many places the subnet has.
    #[must_use]
    pub fn places(&self) -> u64 {
        1 << 32_u8.saturating_sub(self.prefix_length)
    }

    /// Whether the address lies in the subnet.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix_length) == u32::from(self.network)
    }

    /// Whether the subnet and another network have an address in common.
    #[must_use]
    pub fn overlaps(&self, address: Ipv4Addr, prefix_length: u8) -> bool {
        let shared = mask(self.prefix_length.min(prefix_length));
        u32::from(address) & shared == u32::from(self.network) & shared
    }
}

impl Default for Ipv4Subnet {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Ipv4Subnet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.network, self.prefix_length)
    }
}

impl FromStr for Ipv4Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let syntax = || SubnetError::Syntax {
            text: text.to_owned(),
        };
        let (address, prefix) = text.split_once('/').ok_or_else(syntax)?;
        let address: Ipv4Addr = address.parse().ok().ok_or_else(syntax)?;
        let prefix_length: u8 = prefix.parse().ok().ok_or_else(syntax)?;
        if !(8..=29).contains(&prefix_length) {
            return Err(SubnetError::Prefix {
                text: text.to_owned(),
            });
        }
        let network = Ipv4Addr::from(u32::from(address) & mask(prefix_length));
        if network != address {
            return Err(SubnetError::HostBits {
                text: text.to_owned(),
                network,
                prefix_length,
            });
        }
        Ok(Self {
            network,
            prefix_length,
        })
    }
}

impl TryFrom<String> for Ipv4Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<Ipv4Subnet> for String {
    fn from(subnet: Ipv4Subnet) -> Self {
        subnet.to_string()
    }
}

fn mask(prefix_length: u8) -> u32 {
    u32::MAX
        .checked_shl(32_u32.saturating_sub(u32::from(prefix_length)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_knows_its_bounds() {
        let subnet: Ipv4Subnet = "10.63.4.0/24".parse().unwrap();
        assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 63, 4, 1));
        assert_eq!(
            subnet.pod_addresses(),
            (Ipv4Addr::new(10, 63, 4, 2), Ipv4Addr::new(10, 63, 4, 254))
        );
        assert_eq!(subnet.mask(), Ipv4Addr::new(255, 255, 255, 0));
        assert!(subnet.contains(Ipv4Addr::new(10, 63, 4, 200)));
        assert!(!subnet.contains(Ipv4Addr::new(10, 63, 5, 0)));
        assert_eq!(subnet.to_string(), "10.63.4.0/24");
    }

    #[test]
    fn overlap_is_found_from_both_sides() {
        let subnet = Ipv4Subnet::DEFAULT;
        assert!(subnet.overlaps(Ipv4Addr::new(10, 0, 0, 0), 8));
        assert!(subnet.overlaps(Ipv4Addr::new(10, 63, 7, 9), 32));
        assert!(!subnet.overlaps(Ipv4Addr::new(10, 64, 0, 0), 16));
        assert!(!subnet.overlaps(Ipv4Addr::new(192, 168, 0, 0), 16));
    }

    #[test]
    fn what_is_no_subnet_is_refused_with_a_reason() {
        let refused = |text: &str| text.parse::<Ipv4Subnet>().unwrap_err().to_string();
        assert_eq!(
            refused("10.63.0.0"),
            "\"10.63.0.0\" is not an IPv4 subnet such as 10.63.0.0/16"
        );
        assert_eq!(
            refused("10.63.0.0/31"),
            "\"10.63.0.0/31\": the prefix of a pod subnet is between 8 and 29"
        );
        assert_eq!(
            refused("10.63.1.0/16"),
            "\"10.63.1.0/16\" has bits behind its prefix: the subnet is 10.63.0.0/16"
        );
    }
}
