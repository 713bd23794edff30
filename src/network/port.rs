//! Host ports: what a pod asks for, and which redirections of the node's packets that makes.
//!
//! Pure; `nftables` makes the redirections, `ledger` knows whose they are, `record` keeps them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::error::NetworkError;

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Transport {
    /// Its number in IP headers (`IPPROTO_…`).
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// A port of the node that leads to a port of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    /// The protocol.
    pub transport: Transport,
    /// The node's port.
    pub host_port: u16,
    /// The node's address that has the port; nothing means all, `0.0.0.0` and `::` all of their family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_address: Option<IpAddr>,
    /// The pod's port.
    pub port: u16,
}

impl HostPort {
    /// Whether a packet can be meant for both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        if (self.transport, self.host_port) != (other.transport, other.host_port) {
            return false;
        }
        match (self.host_address, other.host_address) {
            (None, _) | (_, None) => true,
            (Some(one), Some(two)) => {
                one.is_ipv4() == two.is_ipv4()
                    && (one == two || one.is_unspecified() || two.is_unspecified())
            }
        }
    }

    /// The redirections to a pod with these addresses, at most one for each.
    ///
    /// # Errors
    /// `HostPortFamily` if the node's address has a family that the pod does not have.
    pub(super) fn redirects(&self, pod: &[IpAddr]) -> Result<Vec<Redirect>, NetworkError> {
        let redirects: Vec<Redirect> = pod
            .iter()
            .filter(|target| {
                self.host_address
                    .is_none_or(|address| address.is_ipv4() == target.is_ipv4())
            })
            .map(|target| Redirect {
                transport: self.transport,
                host_port: self.host_port,
                on: self
                    .host_address
                    .filter(|address| !address.is_unspecified()),
                target: SocketAddr::new(*target, self.port),
            })
            .collect();
        if redirects.is_empty() {
            return Err(NetworkError::HostPortFamily { port: *self });
        }
        Ok(redirects)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_address {
            Some(address) => write!(
                formatter,
                "{}/{}",
                self.transport,
                SocketAddr::new(address, self.host_port)
            ),
            None => write!(formatter, "{}/{}", self.transport, self.host_port),
        }
    }
}

/// One redirection: an element of the table's maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Redirect {
    /// The protocol.
    pub(super) transport: Transport,
    /// The node's port.
    pub(super) host_port: u16,
    /// The one address of the node, nothing for all of the target's family.
    pub(super) on: Option<IpAddr>,
    /// Where packets go.
    pub(super) target: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(text: Option<&str>) -> HostPort {
        HostPort {
            transport: Transport::Tcp,
            host_port: 8080,
            host_address: text.map(|text| text.parse().unwrap()),
            port: 80,
        }
    }

    #[test]
    fn ports_overlap_if_one_packet_can_be_meant_for_both() {
        let overlap = |one, two| {
            assert_eq!(
                port(one).overlaps(&port(two)),
                port(two).overlaps(&port(one))
            );
            port(one).overlaps(&port(two))
        };
        assert!(overlap(None, None));
        assert!(overlap(None, Some("192.0.2.1")));
        assert!(overlap(None, Some("::")));
        assert!(overlap(Some("0.0.0.0"), Some("192.0.2.1")));
        assert!(overlap(Some("192.0.2.1"), Some("192.0.2.1")));
        assert!(!overlap(Some("192.0.2.1"), Some("192.0.2.2")));
        assert!(!overlap(Some("0.0.0.0"), Some("::")));
        assert!(!overlap(Some("0.0.0.0"), Some("2001:db8::1")));
        let udp = HostPort {
            transport: Transport::Udp,
            ..port(None)
        };
        assert!(!udp.overlaps(&port(None)));
        let other = HostPort {
            host_port: 8081,
            ..port(None)
        };
        assert!(!other.overlaps(&port(None)));
    }

    #[test]
    fn a_port_becomes_one_redirection_for_each_address_of_the_pod() {
        let pod: [IpAddr; 2] = ["10.63.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let shown = |text| -> Vec<(Option<String>, String)> {
            let redirects = port(text).redirects(&pod).unwrap();
            redirects
                .iter()
                .map(|redirect| {
                    let on = redirect.on.map(|address| address.to_string());
                    (on, redirect.target.to_string())
                })
                .collect()
        };
        let (four, six) = ("10.63.0.2:80".to_owned(), "[fd00::2]:80".to_owned());
        assert_eq!(shown(None), [(None, four.clone()), (None, six.clone())]);
        assert_eq!(shown(Some("0.0.0.0")), [(None, four.clone())]);
        assert_eq!(shown(Some("::")), [(None, six)]);
        let one = Some("127.0.0.1".to_owned());
        assert_eq!(shown(Some("127.0.0.1")), [(one, four)]);
        let error = port(Some("::1")).redirects(&pod[..1]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "host port tcp/[::1]:8080 needs an address of that family in the pod; set network.subnet_v6 for IPv6"
        );
    }
}
