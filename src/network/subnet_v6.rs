//! An IPv6 subnet for pods beside the IPv4 one: a pod has the same place in both.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The subnet that the built-in network takes IPv6 addresses from, as `fd63:6361:7270::/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ipv6Subnet {
    network: Ipv6Addr,
    prefix_length: u8,
}

/// Why a text is no IPv6 subnet for pods.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ipv6SubnetError {
    /// Not of the form `address/prefix`.
    #[error("{text:?} is not an IPv6 subnet such as fd63:6361:7270::/64")]
    Syntax {
        /// What was given.
        text: String,
    },
    /// A prefix that leaves no room for pods, or takes all addresses.
    #[error("{text:?}: the prefix of an IPv6 pod subnet is between 8 and 120")]
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
        network: Ipv6Addr,
        /// The prefix.
        prefix_length: u8,
    },
    /// Addresses that no pod can have for others to reach.
    #[error(
        "{text:?} is link-local or multicast; choose a unique local subnet such as fd63:6361:7270::/64"
    )]
    Scope {
        /// What was given.
        text: String,
    },
}

impl Ipv6Subnet {
    /// The first address, which nobody has.
    #[must_use]
    pub fn network(&self) -> Ipv6Addr {
        self.network
    }

    /// The number of leading bits that all addresses share.
    #[must_use]
    pub fn prefix_length(&self) -> u8 {
        self.prefix_length
    }

    /// The bits of the prefix, as an address.
    #[must_use]
    pub fn mask(&self) -> Ipv6Addr {
        Ipv6Addr::from(mask(self.prefix_length))
    }

    /// The address at a place; the bridge has the first, pods have those from 2 on.
    #[must_use]
    pub fn address(&self, place: u32) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.network).saturating_add(u128::from(place)))
    }

    /// The place of an address, if it is in the subnet and one that a pod can have.
    #[must_use]
    pub fn place(&self, address: Ipv6Addr) -> Option<u32> {
        self.contains(address)
            .then(|| u128::from(address).saturating_sub(u128::from(self.network)))
            .and_then(|place| u32::try_from(place).ok())
    }

    /// Whether the address lies in the subnet.
    #[must_use]
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        u128::from(address) & mask(self.prefix_length) == u128::from(self.network)
    }

    /// Whether the subnet and another network have an address in common.
    #[must_use]
    pub fn overlaps(&self, address: Ipv6Addr, prefix_length: u8) -> bool {
        let shared = mask(self.prefix_length.min(prefix_length));
        u128::from(address) & shared == u128::from(self.network) & shared
    }

    /// How many places the subnet has, as far as an IPv4 subnet can have.
    #[must_use]
    pub fn places(&self) -> u64 {
        1_u64
            .checked_shl(128_u32.saturating_sub(u32::from(self.prefix_length)))
            .unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Ipv6Subnet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.network, self.prefix_length)
    }
}

impl FromStr for Ipv6Subnet {
    type Err = Ipv6SubnetError;

    fn from_str(text: &str) -> Result<Self, Ipv6SubnetError> {
        let owned = || text.to_owned();
        let syntax = || Ipv6SubnetError::Syntax { text: owned() };
        let (address, prefix) = text.split_once('/').ok_or_else(syntax)?;
        let address: Ipv6Addr = address.parse().ok().ok_or_else(syntax)?;
        let prefix_length: u8 = prefix.parse().ok().ok_or_else(syntax)?;
        if !(8..=120).contains(&prefix_length) {
            return Err(Ipv6SubnetError::Prefix { text: owned() });
        }
        let network = Ipv6Addr::from(u128::from(address) & mask(prefix_length));
        if network != address {
            return Err(Ipv6SubnetError::HostBits {
                text: owned(),
                network,
                prefix_length,
            });
        }
        if network.is_multicast() || network.is_unicast_link_local() {
            return Err(Ipv6SubnetError::Scope { text: owned() });
        }
        Ok(Self {
            network,
            prefix_length,
        })
    }
}

impl TryFrom<String> for Ipv6Subnet {
    type Error = Ipv6SubnetError;

    fn try_from(text: String) -> Result<Self, Ipv6SubnetError> {
        text.parse()
    }
}

impl From<Ipv6Subnet> for String {
    fn from(subnet: Ipv6Subnet) -> Self {
        subnet.to_string()
    }
}

fn mask(prefix_length: u8) -> u128 {
    u128::MAX
        .checked_shl(128_u32.saturating_sub(u32::from(prefix_length)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_addresses_belong_together() {
        let subnet: Ipv6Subnet = "fd63:6361:7270::/64".parse().unwrap();
        assert_eq!(subnet.address(1).to_string(), "fd63:6361:7270::1");
        let last = subnet.address(0x00ff_ffff);
        assert_eq!(subnet.place(last), Some(0x00ff_ffff));
        assert_eq!(subnet.place("fd63:6361:7271::1".parse().unwrap()), None);
        assert_eq!(subnet.place("fd63:6361:7270::1:0:1".parse().unwrap()), None);
        assert_eq!(subnet.mask().to_string(), "ffff:ffff:ffff:ffff::");
        assert_eq!(subnet.places(), u64::MAX);
        let small: Ipv6Subnet = "fd63::/112".parse().unwrap();
        assert_eq!(small.places(), 65536);
        assert!(subnet.overlaps("fd00::".parse().unwrap(), 8));
        assert!(!subnet.overlaps("fe80::".parse().unwrap(), 64));
    }

    #[test]
    fn what_is_no_subnet_is_refused_with_a_reason() {
        let refused = |text: &str| text.parse::<Ipv6Subnet>().unwrap_err().to_string();
        assert_eq!(
            refused("10.63.0.0/16"),
            "\"10.63.0.0/16\" is not an IPv6 subnet such as fd63:6361:7270::/64"
        );
        assert_eq!(
            refused("fd63::/121"),
            "\"fd63::/121\": the prefix of an IPv6 pod subnet is between 8 and 120"
        );
        assert_eq!(
            refused("fd63::1/64"),
            "\"fd63::1/64\" has bits behind its prefix: the subnet is fd63::/64"
        );
        assert!(refused("fe80::/64").contains("is link-local"));
    }
}
