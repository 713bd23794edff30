//! Flows of UDP and SCTP that the kernel remembers from before a host port came, or after its pod went: they would go
//! on to where they went before, as long as packets come.
//!
//! TCP needs nothing: a new connection is a new flow. Numbers: include/uapi/linux/netfilter/nfnetlink_conntrack.h.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rustix::io::Errno;

use super::netlink::{Answers, Attributes, Family, Message, Socket, attributes};
use super::port::{Redirect, Transport};

/// `NFNL_SUBSYS_CTNETLINK << 8`.
const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const FILTER_ORIGINAL_FLAGS: u16 = 1;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const V4_SOURCE: u16 = 1;
const V4_DESTINATION: u16 = 2;
const V6_SOURCE: u16 = 3;
const V6_DESTINATION: u16 = 4;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_DESTINATION_PORT: u16 = 3;

/// `NLM_F_ROOT | NLM_F_MATCH`.
const DUMP: u16 = 0x300;
/// `NLM_F_ACK`.
const ACKNOWLEDGE: u16 = 0x4;
/// `AF_INET` and `AF_INET6`.
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// A flow to a port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flow {
    family: u8,
    /// `CTA_TUPLE_ORIG` as it came, to name the flow by.
    original: Vec<u8>,
    zone: Option<Vec<u8>>,
    /// Where it was sent.
    destination: IpAddr,
    /// Who answers: the destination, or where it was redirected to.
    answers: IpAddr,
}

/// Forgets flows to the node's own addresses that went past a redirection because they are older.
pub(super) fn forget_older(redirects: &[Redirect], own: &BTreeSet<IpAddr>) -> Result<(), Errno> {
    forget(redirects, |flow, _| {
        flow.answers == flow.destination && own.contains(&flow.destination)
    })
}

/// Forgets flows that still go to a pod.
pub(super) fn forget_redirected(redirects: &[Redirect]) -> Result<(), Errno> {
    forget(redirects, |flow, redirect| {
        flow.answers == redirect.target.ip()
    })
}

fn forget(redirects: &[Redirect], doomed: impl Fn(&Flow, &Redirect) -> bool) -> Result<(), Errno> {
    for redirect in redirects
        .iter()
        .filter(|redirect| redirect.transport != Transport::Tcp)
    {
        let mut socket = Socket::open(Family::Netfilter)?;
        for flow in flows(&mut socket, redirect)? {
            if doomed(&flow, redirect) {
                delete(&mut socket, &flow)?;
            }
        }
    }
    Ok(())
}

/// The flows of the redirection's protocol to its host port.
fn flows(socket: &mut Socket, redirect: &Redirect) -> Result<Vec<Flow>, Errno> {
    /// `CTA_FILTER_F_CTA_PROTO_NUM | CTA_FILTER_F_CTA_PROTO_DST_PORT` (net/netfilter/nf_internals.h, Linux 5.8).
    const PROTOCOL_AND_PORT: u32 = (1 << 3) | (1 << 5);
    let family = if redirect.target.is_ipv4() {
        IPV4
    } else {
        IPV6
    };
    let mut request = Message::new(GET, DUMP, &[family, 0, 0, 0]);
    request
        .nested(FILTER, |filter| {
            filter.attribute(FILTER_ORIGINAL_FLAGS, &PROTOCOL_AND_PORT.to_ne_bytes());
        })
        .nested(TUPLE_ORIGINAL, |tuple| {
            tuple.nested(TUPLE_PROTOCOL, |protocol| {
                protocol
                    .attribute(PROTOCOL_NUMBER, &[redirect.transport.number()])
                    .attribute(PROTOCOL_DESTINATION_PORT, &redirect.host_port.to_be_bytes());
            });
        });
    let answers = socket.answers(request, Answers::All)?;
    Ok(answers
        .iter()
        .filter_map(|answer| parse(&answer.payload, redirect))
        .collect())
}

/// One that is gone meanwhile is no mistake.
fn delete(socket: &mut Socket, flow: &Flow) -> Result<(), Errno> {
    let mut request = Message::new(DELETE, ACKNOWLEDGE, &[flow.family, 0, 0, 0]);
    request.nested(TUPLE_ORIGINAL, |tuple| {
        for (kind, value) in attributes(&flow.original) {
            copy(tuple, kind, value);
        }
    });
    if let Some(zone) = &flow.zone {
        request.attribute(ZONE, zone);
    }
    match socket.request(request) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Both parts of a tuple are lists of attributes themselves.
fn copy(tuple: &mut Message, kind: u16, value: &[u8]) {
    if kind == TUPLE_ADDRESSES || kind == TUPLE_PROTOCOL {
        tuple.nested(kind, |part| {
            for (kind, value) in attributes(value) {
                part.attribute(kind, value);
            }
        });
    } else {
        tuple.attribute(kind, value);
    }
}

/// The flow, if it is of that protocol and to that port: older kernels answer with all.
fn parse(payload: &[u8], redirect: &Redirect) -> Option<Flow> {
    let (header, rest) = payload.split_at_checked(4)?;
    let found = attributes(rest);
    let original = found.value_of(TUPLE_ORIGINAL)?;
    let tuple = attributes(original);
    let protocol = attributes(tuple.value_of(TUPLE_PROTOCOL)?);
    let port = redirect.host_port.to_be_bytes();
    if protocol.value_of(PROTOCOL_NUMBER)? != [redirect.transport.number()]
        || protocol.value_of(PROTOCOL_DESTINATION_PORT)? != port
    {
        return None;
    }
    let reply = attributes(found.value_of(TUPLE_REPLY)?);
    Some(Flow {
        family: *header.first()?,
        original: original.to_vec(),
        zone: found.value_of(ZONE).map(<[u8]>::to_vec),
        destination: address(&tuple, V4_DESTINATION, V6_DESTINATION)?,
        answers: address(&reply, V4_SOURCE, V6_SOURCE)?,
    })
}

fn address(tuple: &Attributes<'_>, v4: u16, v6: u16) -> Option<IpAddr> {
    let addresses = attributes(tuple.value_of(TUPLE_ADDRESSES)?);
    if let Some(octets) = addresses.value_of(v4) {
        return octets
            .first_chunk::<4>()
            .map(|octets| IpAddr::from(*octets));
    }
    let octets = addresses.value_of(v6)?;
    octets
        .first_chunk::<16>()
        .map(|octets| IpAddr::from(*octets))
}
