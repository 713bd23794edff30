//! The pods' addresses as a network in CIDR notation. IPv4 only, as the built-in bridge is.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 network, such as `10.63.0.0/16`; no bit is set behind the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ipv4Subnet {
    address: Ipv4Addr,
    prefix_length: u8,
}

/// Why a text is not a usable IPv4 network.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubnetError {
    /// Not `address/length`.
    #[error("{text:?} is not an IPv4 network: write it as \"10.63.0.0/16\"")]
    Syntax {
        /// What was given.
        text: String,
    },
    /// Too long for a bridge and a pod, or too short to be one node's.
    #[error("a prefix length of {length} is not between 8 and 29")]
    PrefixLength {
        /// What was given.
        length: u8,
    },
    /// An address of a host.
    #[error("{text:?} has bits set behind its prefix: did you mean \"{network}\"?")]
    HostBits {
        /// What was given.
        text: String,
        /// The network that holds it.
        network: Ipv4Subnet,
    },
}

impl Ipv4Subnet {
    /// `10.63.0.0/16`
    pub const DEFAULT: Self = Self {
        address: Ipv4Addr::new(10, 63, 0, 0),
        prefix_length: 16,
    };

    /// The network's own address.
    pub fn address(self) -> Ipv4Addr {
        self.address
    }

    /// How many leading bits name the network: 8 to 29.
    pub fn prefix_length(self) -> u8 {
        self.prefix_length
    }
}

impl FromStr for Ipv4Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let syntax = || SubnetError::Syntax {
            text: text.to_owned(),
        };
        let (address, length) = text.split_once('/').ok_or_else(syntax)?;
        let address: Ipv4Addr = address.parse().ok().ok_or_else(syntax)?;
        let length: u8 = length.parse().ok().ok_or_else(syntax)?;
        if !(8..=29).contains(&length) {
            return Err(SubnetError::PrefixLength { length });
        }
        let network = Self {
            address: Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << (32 - length))),
            prefix_length: length,
        };
        if network.address == address {
            Ok(network)
        } else {
            Err(SubnetError::HostBits {
                text: text.to_owned(),
                network,
            })
        }
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

impl fmt::Display for Ipv4Subnet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix_length)
    }
}
