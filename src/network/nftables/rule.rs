//! The expressions of rules: what a rule looks at, then what it does.

use super::super::netlink::Message;
use super::network::PodNetwork;
use super::{
    ACCEPT, DATA_VALUE, DATA_VERDICT, DROP, EXPRESSION_DATA, EXPRESSION_NAME, IMMEDIATE_DATA, IPV4,
    IPV6, JUMP, LIST_ELEMENT, VERDICT_CHAIN, VERDICT_CODE,
};

/// `NFT_REG32_00`: the first of sixteen registers of 4 bytes; values of more bytes take those that follow.
const REGISTER: u32 = 8;
/// `NFT_REG_VERDICT`.
const REGISTER_VERDICT: u32 = 0;
/// `IFNAMSIZ`: interface names are compared with their padding.
const INTERFACE_NAME_LENGTH: usize = 16;
/// `IPPROTO_ICMP` and `IPPROTO_ICMPV6`.
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;
/// `ICMP_REDIRECT`, and type 137 of RFC 4861.
const REDIRECT: u8 = 5;
const REDIRECT_V6: u8 = 137;

/// A fact about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Meta {
    /// `NFT_META_IIFNAME`.
    InputInterface = 6,
    /// `NFT_META_OIFNAME`.
    OutputInterface = 7,
    /// `NFT_META_NFPROTO`.
    Protocol = 15,
    /// `NFT_META_L4PROTO`.
    Transport = 16,
}

/// How a comparison must come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Compare {
    /// `NFT_CMP_EQ`.
    Equal = 0,
    /// `NFT_CMP_NEQ`.
    Different = 1,
}

/// Where in a packet bytes are: `NFT_PAYLOAD_…_HEADER`, offset, length.
#[derive(Debug, Clone, Copy)]
struct Place {
    base: u32,
    offset: u32,
    length: u32,
}

const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

/// The destination port of TCP, UDP and SCTP alike.
const DESTINATION_PORT: Place = Place {
    base: TRANSPORT_HEADER,
    offset: 2,
    length: 2,
};
/// The type of ICMP and ICMPv6.
const ICMP_TYPE: Place = Place {
    base: TRANSPORT_HEADER,
    offset: 0,
    length: 1,
};

/// Which address of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Destination,
}

/// `meta nfproto FAMILY ip saddr SUBNET ip daddr != SUBNET oifname != BRIDGE masquerade`.
pub(super) fn masquerade(rule: &mut Message, network: &PodNetwork, bridge: &str) {
    family(rule, network.family);
    in_network(rule, End::Source, network, Compare::Equal);
    in_network(rule, End::Destination, network, Compare::Different);
    load_meta(rule, Meta::OutputInterface, REGISTER);
    compare(rule, Compare::Different, &padded(bridge));
    expression(rule, "masq", |_| {});
}

/// `meta nfproto FAMILY ip saddr SUBNET ip daddr SUBNET ct status dnat masquerade`: a pod that was reached by the
/// node's address from its own subnet must answer by the node, where the address is turned back.
pub(super) fn masquerade_hairpin(rule: &mut Message, network: &PodNetwork) {
    /// `IPS_DST_NAT`.
    const REDIRECTED: u32 = 1 << 5;
    family(rule, network.family);
    in_network(rule, End::Source, network, Compare::Equal);
    in_network(rule, End::Destination, network, Compare::Equal);
    // NFTA_CT_{DREG,KEY}: NFT_CT_STATUS.
    expression(rule, "ct", |data| {
        data.attribute(1, &REGISTER.to_be_bytes())
            .attribute(2, &2_u32.to_be_bytes());
    });
    mask(rule, &REDIRECTED.to_ne_bytes());
    compare(rule, Compare::Different, &0_u32.to_ne_bytes());
    expression(rule, "masq", |_| {});
}

/// `ip saddr 127.0.0.0/8 oifname BRIDGE masquerade`: the node itself, by way of 127.0.0.1.
pub(super) fn masquerade_loopback(rule: &mut Message, bridge: &str) {
    family(rule, IPV4);
    in_network(rule, End::Source, &PodNetwork::loopback(), Compare::Equal);
    load_meta(rule, Meta::OutputInterface, REGISTER);
    compare(rule, Compare::Equal, &padded(bridge));
    expression(rule, "masq", |_| {});
}

/// `iifname BRIDGE ip daddr 127.0.0.0/8 drop`, as the bridge has `route_localnet` (CVE-2020-8558).
pub(super) fn drop_to_loopback(rule: &mut Message, bridge: &str) {
    load_meta(rule, Meta::InputInterface, REGISTER);
    compare(rule, Compare::Equal, &padded(bridge));
    family(rule, IPV4);
    in_network(
        rule,
        End::Destination,
        &PodNetwork::loopback(),
        Compare::Equal,
    );
    verdict(rule, DROP, None);
}

/// `oifname BRIDGE icmp type redirect drop`: a pod that was told of a shorter way would go round the node, where its
/// packets to host ports are redirected.
pub(super) fn drop_redirects(rule: &mut Message, network: &PodNetwork, bridge: &str) {
    let (protocol, kind) = if network.family == IPV4 {
        (ICMP, REDIRECT)
    } else {
        (ICMP_V6, REDIRECT_V6)
    };
    load_meta(rule, Meta::OutputInterface, REGISTER);
    compare(rule, Compare::Equal, &padded(bridge));
    family(rule, network.family);
    load_meta(rule, Meta::Transport, REGISTER);
    compare(rule, Compare::Equal, &[protocol]);
    load(rule, ICMP_TYPE, REGISTER);
    compare(rule, Compare::Equal, &[kind]);
    verdict(rule, DROP, None);
}

/// `iifname BRIDGE accept`.
pub(super) fn accept_from(rule: &mut Message, bridge: &str) {
    load_meta(rule, Meta::InputInterface, REGISTER);
    compare(rule, Compare::Equal, &padded(bridge));
    verdict(rule, ACCEPT, None);
}

/// `oifname BRIDGE accept`.
pub(super) fn accept_to(rule: &mut Message, bridge: &str) {
    load_meta(rule, Meta::OutputInterface, REGISTER);
    compare(rule, Compare::Equal, &padded(bridge));
    verdict(rule, ACCEPT, None);
}

/// `fib daddr type local jump CHAIN`: what is meant for the node itself.
pub(super) fn jump_if_local(rule: &mut Message, chain: &str) {
    /// `NFT_FIB_RESULT_ADDRTYPE`.
    const ADDRESS_TYPE: u32 = 3;
    /// `NFTA_FIB_F_DADDR`.
    const OF_DESTINATION: u32 = 1 << 1;
    /// `RTN_LOCAL`.
    const LOCAL: u32 = 2;
    // NFTA_FIB_{DREG,RESULT,FLAGS}.
    expression(rule, "fib", |data| {
        data.attribute(1, &REGISTER.to_be_bytes())
            .attribute(2, &ADDRESS_TYPE.to_be_bytes())
            .attribute(3, &OF_DESTINATION.to_be_bytes());
    });
    compare(rule, Compare::Equal, &LOCAL.to_ne_bytes());
    verdict(rule, JUMP, Some(chain));
}

/// `meta nfproto FAMILY dnat ip to [ip daddr .] meta l4proto . th dport map @MAP`.
pub(super) fn redirect(rule: &mut Message, network: &PodNetwork, map: &str, key: Key) {
    /// `NFT_NAT_DNAT`.
    const DESTINATION: u32 = 1;
    family(rule, network.family);
    let mut register = REGISTER;
    if key == Key::AddressAndPort {
        load(rule, address(network, End::Destination), register);
        register += words(network);
    }
    load_meta(rule, Meta::Transport, register);
    load(rule, DESTINATION_PORT, register + 1);
    // NFTA_LOOKUP_{SET,SREG,DREG}.
    expression(rule, "lookup", |data| {
        data.text(1, map)
            .attribute(2, &REGISTER.to_be_bytes())
            .attribute(3, &REGISTER.to_be_bytes());
    });
    // NFTA_NAT_{TYPE,FAMILY,REG_ADDR_MIN,REG_PROTO_MIN}.
    expression(rule, "nat", |data| {
        data.attribute(1, &DESTINATION.to_be_bytes())
            .attribute(2, &u32::from(network.family).to_be_bytes())
            .attribute(3, &REGISTER.to_be_bytes())
            .attribute(5, &(REGISTER + words(network)).to_be_bytes());
    });
}

/// What a map of redirections is asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Protocol and port.
    Port,
    /// The node's address, protocol and port.
    AddressAndPort,
}

fn expression(rule: &mut Message, name: &str, data: impl FnOnce(&mut Message)) {
    rule.nested(LIST_ELEMENT, |element| {
        element.text(EXPRESSION_NAME, name);
        element.nested(EXPRESSION_DATA, data);
    });
}

/// `meta nfproto FAMILY`.
fn family(rule: &mut Message, family: u8) {
    load_meta(rule, Meta::Protocol, REGISTER);
    compare(rule, Compare::Equal, &[family]);
}

/// `ip saddr SUBNET`, and the like.
fn in_network(rule: &mut Message, end: End, network: &PodNetwork, how: Compare) {
    load(rule, address(network, end), REGISTER);
    mask(rule, &network.mask);
    compare(rule, how, &network.network);
}

/// Where `struct iphdr` and `struct ipv6hdr` have their addresses.
fn address(network: &PodNetwork, end: End) -> Place {
    let (source, length) = if network.family == IPV6 {
        (8, 16)
    } else {
        (12, 4)
    };
    Place {
        base: NETWORK_HEADER,
        offset: match end {
            End::Source => source,
            End::Destination => source + length,
        },
        length,
    }
}

/// How many registers of 4 bytes an address takes.
fn words(network: &PodNetwork) -> u32 {
    if network.family == IPV6 { 4 } else { 1 }
}

/// `NFTA_META_{DREG,KEY}`.
fn load_meta(rule: &mut Message, what: Meta, register: u32) {
    expression(rule, "meta", |data| {
        data.attribute(1, &register.to_be_bytes())
            .attribute(2, &(what as u32).to_be_bytes());
    });
}

/// `NFTA_PAYLOAD_{DREG,BASE,OFFSET,LEN}`.
fn load(rule: &mut Message, place: Place, register: u32) {
    expression(rule, "payload", |data| {
        data.attribute(1, &register.to_be_bytes())
            .attribute(2, &place.base.to_be_bytes())
            .attribute(3, &place.offset.to_be_bytes())
            .attribute(4, &place.length.to_be_bytes());
    });
}

/// `NFTA_BITWISE_{SREG,DREG,LEN,MASK,XOR}`.
fn mask(rule: &mut Message, mask: &[u8]) {
    let length = u32::try_from(mask.len()).unwrap_or(0);
    expression(rule, "bitwise", |data| {
        data.attribute(1, &REGISTER.to_be_bytes())
            .attribute(2, &REGISTER.to_be_bytes())
            .attribute(3, &length.to_be_bytes())
            .nested(4, |value| {
                value.attribute(DATA_VALUE, mask);
            })
            .nested(5, |value| {
                value.attribute(DATA_VALUE, &vec![0; mask.len()]);
            });
    });
}

/// `NFTA_CMP_{SREG,OP,DATA}`.
fn compare(rule: &mut Message, how: Compare, with: &[u8]) {
    expression(rule, "cmp", |data| {
        data.attribute(1, &REGISTER.to_be_bytes())
            .attribute(2, &(how as u32).to_be_bytes())
            .nested(3, |value| {
                value.attribute(DATA_VALUE, with);
            });
    });
}

/// `NFTA_IMMEDIATE_{DREG,DATA}` with a verdict.
fn verdict(rule: &mut Message, code: u32, chain: Option<&str>) {
    expression(rule, "immediate", |data| {
        data.attribute(1, &REGISTER_VERDICT.to_be_bytes())
            .nested(IMMEDIATE_DATA, |value| {
                value.nested(DATA_VERDICT, |verdict| {
                    verdict.attribute(VERDICT_CODE, &code.to_be_bytes());
                    if let Some(chain) = chain {
                        verdict.text(VERDICT_CHAIN, chain);
                    }
                });
            });
    });
}

fn padded(name: &str) -> [u8; INTERFACE_NAME_LENGTH] {
    let mut padded = [0; INTERFACE_NAME_LENGTH];
    for (place, byte) in padded.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    padded
}
