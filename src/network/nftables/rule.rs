//! The expressions of a rule: what it looks at, then what it does.

use std::net::Ipv4Addr;

use super::super::netlink::Message;
use super::super::subnet::Ipv4Subnet;
use super::{
    ACCEPT, DATA_VERDICT, EXPRESSION_DATA, EXPRESSION_NAME, IMMEDIATE_DATA, IPV4, LIST_ELEMENT,
    VERDICT_CODE,
};

/// `NFT_REG_1`, 16 bytes.
const REGISTER: u32 = 1;
/// `NFT_REG_VERDICT`.
const REGISTER_VERDICT: u32 = 0;
/// `NFTA_DATA_VALUE`.
const DATA_VALUE: u16 = 1;
/// `IFNAMSIZ`: interface names are compared with their padding.
const INTERFACE_NAME_LENGTH: usize = 16;
/// Where `struct iphdr` has the source address.
const IPV4_SOURCE: u32 = 12;
/// Where `struct iphdr` has the destination address.
const IPV4_DESTINATION: u32 = 16;

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

/// `meta nfproto ipv4 ip saddr SUBNET ip daddr != SUBNET oifname != BRIDGE masquerade`.
pub(super) fn masquerade(rule: &mut Message, subnet: Ipv4Subnet, bridge: &str) {
    load_meta(rule, Meta::Protocol);
    compare(rule, Compare::Equal, &[IPV4]);
    load_network(rule, IPV4_SOURCE, subnet.mask());
    compare(rule, Compare::Equal, &subnet.network().octets());
    load_network(rule, IPV4_DESTINATION, subnet.mask());
    compare(rule, Compare::Different, &subnet.network().octets());
    load_meta(rule, Meta::OutputInterface);
    compare(rule, Compare::Different, &padded(bridge));
    expression(rule, "masq", |_| {});
}

/// `iifname BRIDGE accept`.
pub(super) fn accept_from(rule: &mut Message, bridge: &str) {
    load_meta(rule, Meta::InputInterface);
    compare(rule, Compare::Equal, &padded(bridge));
    accept(rule);
}

/// `oifname BRIDGE accept`.
pub(super) fn accept_to(rule: &mut Message, bridge: &str) {
    load_meta(rule, Meta::OutputInterface);
    compare(rule, Compare::Equal, &padded(bridge));
    accept(rule);
}

fn expression(rule: &mut Message, name: &str, data: impl FnOnce(&mut Message)) {
    rule.nested(LIST_ELEMENT, |element| {
        element.text(EXPRESSION_NAME, name);
        element.nested(EXPRESSION_DATA, data);
    });
}

/// `NFTA_META_DREG`, `NFTA_META_KEY`.
fn load_meta(rule: &mut Message, what: Meta) {
    expression(rule, "meta", |data| {
        data.attribute(1, &REGISTER.to_be_bytes())
            .attribute(2, &(what as u32).to_be_bytes());
    });
}

/// `NFTA_PAYLOAD_{DREG,BASE,OFFSET,LEN}`, then `NFTA_BITWISE_{SREG,DREG,LEN,MASK,XOR}`.
fn load_network(rule: &mut Message, offset: u32, mask: Ipv4Addr) {
    const NETWORK_HEADER: u32 = 1;
    expression(rule, "payload", |data| {
        data.attribute(1, &REGISTER.to_be_bytes())
            .attribute(2, &NETWORK_HEADER.to_be_bytes())
            .attribute(3, &offset.to_be_bytes())
            .attribute(4, &4_u32.to_be_bytes());
    });
    expression(rule, "bitwise", |data| {
        data.attribute(1, &REGISTER.to_be_bytes())
            .attribute(2, &REGISTER.to_be_bytes())
            .attribute(3, &4_u32.to_be_bytes())
            .nested(4, |value| {
                value.attribute(DATA_VALUE, &mask.octets());
            })
            .nested(5, |value| {
                value.attribute(DATA_VALUE, &[0; 4]);
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
fn accept(rule: &mut Message) {
    expression(rule, "immediate", |data| {
        data.attribute(1, &REGISTER_VERDICT.to_be_bytes())
            .nested(IMMEDIATE_DATA, |value| {
                value.nested(DATA_VERDICT, |verdict| {
                    verdict.attribute(VERDICT_CODE, &ACCEPT.to_be_bytes());
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
