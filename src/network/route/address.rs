//! Addresses of interfaces, and routes, of both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// `AF_UNSPEC`: both families, in dumps.
const ANY: u8 = 0;
/// `AF_INET`.
const IPV4: u8 = 2;
/// `AF_INET6`.
const IPV6: u8 = 10;
/// `IFA_F_NODAD`: the address is used at once; nobody else can have it, and asking the link takes a second.
const NO_DETECTION: u8 = 2;
/// `RT_TABLE_MAIN`.
const TABLE_MAIN: u8 = 254;
/// `RT_TABLE_LOCAL`: the kernel's own entries for addresses.
pub(super) const TABLE_LOCAL: u32 = 255;
/// `RTPROT_BOOT`: made by a program, not by a routing daemon.
const PROTOCOL_BOOT: u8 = 3;
/// `RTN_UNICAST`.
const TYPE_UNICAST: u8 = 1;
/// `RTM_F_CLONED`: an entry of the cache, as IPv6 dumps may have them.
const CLONED: u32 = 0x200;

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) struct InterfaceAddress {
    /// The interface's number.
    pub(in crate::network) index: u32,
    /// The address.
    pub(in crate::network) address: IpAddr,
    /// The prefix that is said to be on the link.
    pub(in crate::network) prefix_length: u8,
}

/// A route outside the table `local`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::network) struct Route {
    /// The destination's network.
    pub(in crate::network) destination: IpAddr,
    /// Its prefix; 0 is the default route.
    pub(in crate::network) prefix_length: u8,
    /// Where it leads; nothing for blackholes and for several next hops.
    pub(in crate::network) interface: Option<u32>,
    /// The next router.
    pub(in crate::network) gateway: Option<IpAddr>,
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

    /// In one packet: the addresses, the link up, a default route for each. The error has the step's name.
    pub(in crate::network) fn configure(
        &mut self,
        index: u32,
        addresses: &[(InterfaceAddress, IpAddr)],
    ) -> Result<(), (&'static str, Errno)> {
        let mut messages: Vec<Message> = addresses
            .iter()
            .map(|(address, _)| address_message(RTM_NEWADDR, CREATE, address))
            .collect();
        messages.push(set_up_message(index));
        messages.extend(
            addresses
                .iter()
                .map(|(_, gateway)| default_route_message(index, *gateway)),
        );
        self.0
            .acknowledged(&mut messages)
            .map_err(|(position, errno)| {
                let step = match position.cmp(&addresses.len()) {
                    std::cmp::Ordering::Less => "set the address",
                    std::cmp::Ordering::Equal => "bring the interface up",
                    std::cmp::Ordering::Greater => "set the default route",
                };
                (step, errno)
            })
    }

    /// All addresses.
    pub(in crate::network) fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, Errno> {
        let message = Message::new(RTM_GETADDR, DUMP, &[ANY, 0, 0, 0, 0, 0, 0, 0]);
        let answers = self.0.answers(message, Answers::All)?;
        Ok(answers
            .iter()
            .filter_map(|answer| parse_address(&answer.payload))
            .collect())
    }

    /// All routes but those of the table `local`.
    pub(in crate::network) fn routes(&mut self) -> Result<Vec<Route>, Errno> {
        let message = Message::new(RTM_GETROUTE, DUMP, &[ANY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let answers = self.0.answers(message, Answers::All)?;
        Ok(answers
            .iter()
            .filter_map(|answer| parse_route(&answer.payload))
            .collect())
    }
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope, index; then the address.
fn address_message(kind: u16, flags: u16, address: &InterfaceAddress) -> Message {
    let (family, how) = match address.address {
        IpAddr::V4(_) => (IPV4, 0),
        IpAddr::V6(_) => (IPV6, NO_DETECTION),
    };
    let mut header = [family, address.prefix_length, how, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&address.index.to_ne_bytes());
    let mut message = Message::new(kind, flags, &header);
    message
        .attribute(IFA_LOCAL, &octets(address.address))
        .attribute(IFA_ADDRESS, &octets(address.address));
    if kind == RTM_NEWADDR
        && let IpAddr::V4(ipv4) = address.address
    {
        let host_bits = u32::MAX
            .checked_shr(u32::from(address.prefix_length))
            .unwrap_or(0);
        let broadcast = Ipv4Addr::from(u32::from(ipv4) | host_bits);
        message.attribute(IFA_BROADCAST, &broadcast.octets());
    }
    message
}

/// `struct rtmsg`: see [`parse_route`].
fn default_route_message(index: u32, gateway: IpAddr) -> Message {
    let family = if gateway.is_ipv4() { IPV4 } else { IPV6 };
    let mut header = [0; 12];
    header[0] = family;
    header[4] = TABLE_MAIN;
    header[5] = PROTOCOL_BOOT;
    header[7] = TYPE_UNICAST;
    let mut message = Message::new(RTM_NEWROUTE, CREATE, &header);
    message
        .attribute(RTA_GATEWAY, &octets(gateway))
        .attribute(RTA_OIF, &index.to_ne_bytes());
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
        address: address_of(*header.first()?, address)?,
        prefix_length: *header.get(1)?,
    })
}

/// `struct rtmsg`: family, destination prefix, source prefix, tos, table, protocol, scope, type, flags.
fn parse_route(payload: &[u8]) -> Option<Route> {
    let (header, rest) = payload.split_at_checked(12)?;
    let family = *header.first()?;
    let found = attributes(rest);
    let table = found
        .value_of(RTA_TABLE)
        .and_then(number)
        .or_else(|| header.get(4).copied().map(u32::from))?;
    if table == TABLE_LOCAL || number(header.get(8..)?)? & CLONED != 0 {
        return None;
    }
    let everything = match family {
        IPV4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IPV6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    Some(Route {
        destination: found
            .value_of(RTA_DST)
            .and_then(|value| address_of(family, value))
            .unwrap_or(everything),
        prefix_length: *header.get(1)?,
        interface: found.value_of(RTA_OIF).and_then(number),
        gateway: found
            .value_of(RTA_GATEWAY)
            .and_then(|value| address_of(family, value)),
    })
}

/// The bytes of an address, as in packets.
fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ipv4) => ipv4.octets().to_vec(),
        IpAddr::V6(ipv6) => ipv6.octets().to_vec(),
    }
}

fn address_of(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        IPV4 => value.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        IPV6 => value
            .first_chunk::<16>()
            .map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}
