//! IPv4 addresses of interfaces, and routes.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use super::super::netlink::{Answers, Message, attributes};
use super::link::set_up_message;
use super::{ACKNOWLEDGE, CREATE, DUMP, RouteSocket, number};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_TABLE: u16 = 15;

/// `AF_INET`.
const IPV4: u8 = 2;
/// `RT_TABLE_MAIN`.
const TABLE_MAIN: u8 = 254;
/// `RT_TABLE_LOCAL`: the kernel's own entries for addresses.
pub(super) const TABLE_LOCAL: u32 = 255;
/// `RTPROT_BOOT`: made by a program, not by a routing daemon.
const PROTOCOL_BOOT: u8 = 3;
/// `RTN_UNICAST`.
const TYPE_UNICAST: u8 = 1;

/// An IPv4 address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) struct InterfaceAddress {
    /// The interface's number.
    pub(in crate::network) index: u32,
    /// The address.
    pub(in crate::network) address: Ipv4Addr,
    /// The prefix that is said to be on the link.
    pub(in crate::network) prefix_length: u8,
}

/// An IPv4 route outside the table `local`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) struct Route {
    /// The destination's network.
    pub(in crate::network) destination: Ipv4Addr,
    /// Its prefix; 0 is the default route.
    pub(in crate::network) prefix_length: u8,
    /// Where it leads; nothing for blackholes and for several next hops.
    pub(in crate::network) interface: Option<u32>,
    /// The next router.
    pub(in crate::network) gateway: Option<Ipv4Addr>,
}

impl RouteSocket {
    /// Adds an address to an interface, with the route of its prefix.
    pub(in crate::network) fn add_address(
        &mut self,
        address: &InterfaceAddress,
    ) -> Result<(), Errno> {
        self.0
            .request(address_message(RTM_NEWADDR, CREATE, address))
    }

    /// Removes an address from an interface.
    pub(in crate::network) fn remove_address(
        &mut self,
        address: &InterfaceAddress,
    ) -> Result<(), Errno> {
        self.0
            .request(address_message(RTM_DELADDR, ACKNOWLEDGE, address))
    }

    /// In one packet: the address, the link up, the default route. The error has the step's name.
    pub(in crate::network) fn configure(
        &mut self,
        address: &InterfaceAddress,
        gateway: Ipv4Addr,
    ) -> Result<(), (&'static str, Errno)> {
        let mut route = Message::new(
            RTM_NEWROUTE,
            CREATE,
            &[
                IPV4,
                0,
                0,
                0,
                TABLE_MAIN,
                PROTOCOL_BOOT,
                0,
                TYPE_UNICAST,
                0,
                0,
                0,
                0,
            ],
        );
        route
            .attribute(RTA_GATEWAY, &gateway.octets())
            .attribute(RTA_OIF, &address.index.to_ne_bytes());
        let mut messages = [
            address_message(RTM_NEWADDR, CREATE, address),
            set_up_message(address.index),
            route,
        ];
        self.0
            .acknowledged(&mut messages)
            .map_err(|(position, errno)| {
                let step = match position {
                    0 => "set the address",
                    1 => "bring the interface up",
                    _ => "set the default route",
                };
                (step, errno)
            })
    }

    /// All IPv4 addresses.
    pub(in crate::network) fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, Errno> {
        let message = Message::new(RTM_GETADDR, DUMP, &[IPV4, 0, 0, 0, 0, 0, 0, 0]);
        let answers = self.0.answers(message, Answers::All)?;
        Ok(answers
            .iter()
            .filter_map(|answer| parse_address(&answer.payload))
            .collect())
    }

    /// All IPv4 routes but those of the table `local`.
    pub(in crate::network) fn routes(&mut self) -> Result<Vec<Route>, Errno> {
        let message = Message::new(RTM_GETROUTE, DUMP, &[IPV4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let answers = self.0.answers(message, Answers::All)?;
        Ok(answers
            .iter()
            .filter_map(|answer| parse_route(&answer.payload))
            .collect())
    }
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope, index; then the address.
fn address_message(kind: u16, flags: u16, address: &InterfaceAddress) -> Message {
    let mut header = [IPV4, address.prefix_length, 0, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&address.index.to_ne_bytes());
    let mut message = Message::new(kind, flags, &header);
    message
        .attribute(IFA_LOCAL, &address.address.octets())
        .attribute(IFA_ADDRESS, &address.address.octets());
    if kind == RTM_NEWADDR {
        let host_bits = u32::MAX
            .checked_shr(u32::from(address.prefix_length))
            .unwrap_or(0);
        let broadcast = Ipv4Addr::from(u32::from(address.address) | host_bits);
        message.attribute(IFA_BROADCAST, &broadcast.octets());
    }
    message
}

fn parse_address(payload: &[u8]) -> Option<InterfaceAddress> {
    let (header, rest) = payload.split_at_checked(8)?;
    // On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL is always ours.
    let found = attributes(rest);
    let address = found
        .value_of(IFA_LOCAL)
        .or_else(|| found.value_of(IFA_ADDRESS))?;
    Some(InterfaceAddress {
        index: number(header.get(4..)?)?,
        address: ipv4(address)?,
        prefix_length: *header.get(1)?,
    })
}

/// `struct rtmsg`: family, destination prefix, source prefix, tos, table, protocol, scope, type, flags.
fn parse_route(payload: &[u8]) -> Option<Route> {
    let (header, rest) = payload.split_at_checked(12)?;
    let found = attributes(rest);
    let table = found
        .value_of(RTA_TABLE)
        .and_then(number)
        .or_else(|| header.get(4).copied().map(u32::from))?;
    if table == TABLE_LOCAL {
        return None;
    }
    Some(Route {
        destination: found
            .value_of(RTA_DST)
            .and_then(ipv4)
            .unwrap_or(Ipv4Addr::UNSPECIFIED),
        prefix_length: *header.get(1)?,
        interface: found.value_of(RTA_OIF).and_then(number),
        gateway: found.value_of(RTA_GATEWAY).and_then(ipv4),
    })
}

fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    value.first_chunk::<4>().copied().map(Ipv4Addr::from)
}
