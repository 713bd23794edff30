//! What a pod has after it was attached, and the names and numbers that follow from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The pod's side of its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The interface in the pod, `eth0`.
    pub interface: String,
    /// The pod's address.
    pub address: IpAddr,
    /// The bits of the address that the pods' subnet shares.
    pub prefix_length: u8,
    /// The default route leads here.
    pub gateway: IpAddr,
    /// The interface's hardware address, as `02:ca:0a:3f:00:02`.
    pub mac: String,
    /// The pod's IPv6 address, if there is a subnet for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Attachment>,
}

/// The IPv6 side of an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Attachment {
    /// The pod's address.
    pub address: Ipv6Addr,
    /// The bits of the address that the pods' subnet shares.
    pub prefix_length: u8,
    /// The default route leads here.
    pub gateway: Ipv6Addr,
}

impl Attachment {
    /// The pod's addresses, the main one first.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let ipv6 = self.ipv6.as_ref().map(|ipv6| IpAddr::V6(ipv6.address));
        std::iter::once(self.address).chain(ipv6).collect()
    }

    /// Each address with its prefix and its gateway, the main one first.
    pub(super) fn routes(&self) -> Vec<(IpAddr, u8, IpAddr)> {
        let ipv6 = self.ipv6.as_ref().map(|ipv6| {
            (
                IpAddr::V6(ipv6.address),
                ipv6.prefix_length,
                IpAddr::V6(ipv6.gateway),
            )
        });
        std::iter::once((self.address, self.prefix_length, self.gateway))
            .chain(ipv6)
            .collect()
    }
}

/// Counters of an interface in a pod since it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceStatistics {
    /// The interface's name.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets that were not received right.
    pub rx_errors: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Received packets.
    pub rx_packets: u64,
    /// Received packets that were dropped.
    pub rx_dropped: u64,
    /// Sent packets.
    pub tx_packets: u64,
    /// Packets that were dropped instead of sent.
    pub tx_dropped: u64,
}

/// The prefix of the names of interfaces on the node.
const HOST_INTERFACE_PREFIX: &str = "carpel";

/// The hardware address for an IPv4 address: locally administered, and the same for the same address, so that
/// neighbours' caches stay right when an address is used again.
pub(super) fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0xca, a, b, c, d]
}

/// Whether a hardware address is one that [`mac`] gives.
pub(super) fn is_own_mac(mac: [u8; 6]) -> bool {
    matches!(mac, [0x02, 0xca, ..])
}

/// A hardware address as text.
pub(super) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The name of the sandbox's interface on the node: `carpel` and 8 hexadecimal digits, from the id; another
/// 8 if those are taken, as interface names have 15 characters and ids have 64.
pub(super) fn host_interface(sandbox: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut number = fnv1a(sandbox.as_bytes());
    if let Some(digits) = sandbox.get(..8)
        && digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    {
        number = u32::from_str_radix(digits, 16).unwrap_or(number);
    }
    loop {
        let name = format!("{HOST_INTERFACE_PREFIX}{number:08x}");
        if !taken(&name) {
            return name;
        }
        number = number.wrapping_add(1);
    }
}

/// Whether an interface of the node has a name that [`host_interface`] gives.
pub(super) fn is_host_interface(name: &str) -> bool {
    name.strip_prefix(HOST_INTERFACE_PREFIX)
        .is_some_and(|digits| {
            digits.len() == 8
                && digits
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
}

/// FNV-1a, 32 bits: spreads names that are no hexadecimal ids; nothing depends on it being hard to invert.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_come_from_the_id_and_never_collide() {
        let id = "00c0ffee11112222";
        assert_eq!(host_interface(id, |_| false), "carpel00c0ffee");
        assert_eq!(
            host_interface(id, |name| name == "carpel00c0ffee"),
            "carpel00c0ffef"
        );
        let named = host_interface("web", |_| false);
        assert_eq!(named.len(), 14);
        assert!(is_host_interface(&named));
        assert!(!is_host_interface("carpel0"));
        assert!(!is_host_interface("carpel-bridge0"));
    }

    #[test]
    fn the_mac_is_local_unicast_and_follows_the_address() {
        let mac = mac(Ipv4Addr::new(10, 63, 0, 2));
        assert_eq!(mac_text(mac), "02:ca:0a:3f:00:02");
        assert_eq!(mac[0] & 0b11, 0b10);
    }
}
