//! A pods' subnet as rules compare it.

use super::super::subnet::Subnet;
use super::{IPV4, IPV6};

/// Family, network and mask, as bytes of packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodNetwork {
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    pub(super) family: u8,
    /// The first address.
    pub(super) network: Vec<u8>,
    /// The bits of the prefix.
    pub(super) mask: Vec<u8>,
}

impl PodNetwork {
    /// 127.0.0.0/8.
    pub(super) fn loopback() -> Self {
        Self {
            family: IPV4,
            network: vec![127, 0, 0, 0],
            mask: vec![255, 0, 0, 0],
        }
    }
}

impl From<Subnet> for PodNetwork {
    fn from(subnet: Subnet) -> Self {
        match subnet {
            Subnet::V4(subnet) => Self {
                family: IPV4,
                network: subnet.network().octets().to_vec(),
                mask: subnet.mask().octets().to_vec(),
            },
            Subnet::V6(subnet) => Self {
                family: IPV6,
                network: subnet.network().octets().to_vec(),
                mask: subnet.mask().octets().to_vec(),
            },
        }
    }
}
