//! The maps of host ports: an element for each redirection, so that a pod's come and go in one step whose price does
//! not grow with the number of pods.
//!
//! Two maps for each family: by protocol and port for all addresses of the node, and by address, protocol and port.

use std::net::IpAddr;

use rustix::io::Errno;

use super::super::netlink::Message;
use super::super::port::Redirect;
use super::rule::Key;
use super::transaction::transaction;
use super::{
    CREATE, DATA_VALUE, DELETE_ELEMENT, INET, IPV4, IPV6, LIST_ELEMENT, NEW_ELEMENT, NEW_SET,
    message,
};

/// `NFT_SET_MAP`.
const MAP: u32 = 0x8;
/// What nft(8) calls the types of keys and values, so that it can show them (libnftables' `enum datatypes`).
const TYPE_IPV4_ADDRESS: u32 = 7;
const TYPE_IPV6_ADDRESS: u32 = 8;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;
/// Types of a concatenation have 6 bits each.
const TYPE_BITS: u32 = 6;

const SET_ELEMENTS_TABLE: u16 = 1;
const SET_ELEMENTS_SET: u16 = 2;
const SET_ELEMENTS_ELEMENTS: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;

/// A map of redirections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RedirectMap {
    pub(super) name: &'static str,
    pub(super) family: u8,
    pub(super) key: Key,
}

/// All of them; an address of the node goes before all addresses.
pub(super) const MAPS: [RedirectMap; 4] = [
    RedirectMap {
        name: "host_address_ports_v4",
        family: IPV4,
        key: Key::AddressAndPort,
    },
    RedirectMap {
        name: "host_ports_v4",
        family: IPV4,
        key: Key::Port,
    },
    RedirectMap {
        name: "host_address_ports_v6",
        family: IPV6,
        key: Key::AddressAndPort,
    },
    RedirectMap {
        name: "host_ports_v6",
        family: IPV6,
        key: Key::Port,
    },
];

impl RedirectMap {
    fn of(redirect: &Redirect) -> Self {
        let family = if redirect.target.is_ipv4() {
            IPV4
        } else {
            IPV6
        };
        let key = match redirect.on {
            Some(_) => Key::AddressAndPort,
            None => Key::Port,
        };
        let [first, second, third, fourth] = MAPS;
        match (family, key) {
            (IPV4, Key::AddressAndPort) => first,
            (IPV4, Key::Port) => second,
            (_, Key::AddressAndPort) => third,
            (_, Key::Port) => fourth,
        }
    }
}

/// The request that makes a map. `NFTA_SET_{TABLE,NAME,FLAGS,KEY_TYPE,KEY_LEN,DATA_TYPE,DATA_LEN,ID}`.
pub(super) fn new_map(table: &str, map: &RedirectMap, number: u32) -> Message {
    let (address, length) = if map.family == IPV4 {
        (TYPE_IPV4_ADDRESS, 4)
    } else {
        (TYPE_IPV6_ADDRESS, 16)
    };
    let ports = (TYPE_PROTOCOL << TYPE_BITS) | TYPE_PORT;
    let (key, key_length) = match map.key {
        Key::Port => (ports, 8),
        Key::AddressAndPort => ((address << (2 * TYPE_BITS)) | ports, length + 8),
    };
    let data = (address << TYPE_BITS) | TYPE_PORT;
    let mut request = message(NEW_SET, CREATE, INET);
    request
        .text(1, table)
        .text(2, map.name)
        .attribute(3, &MAP.to_be_bytes())
        .attribute(4, &key.to_be_bytes())
        .attribute(5, &u32::to_be_bytes(key_length))
        .attribute(6, &data.to_be_bytes())
        .attribute(7, &u32::to_be_bytes(length + 4))
        .attribute(10, &number.to_be_bytes());
    request
}

/// The requests that add redirections.
pub(super) fn new_redirects(table: &str, redirects: &[Redirect]) -> Vec<Message> {
    elements(NEW_ELEMENT, CREATE, table, redirects)
}

/// Adds redirections, all or none. One that is there already is no mistake.
pub(in crate::network) fn add_redirects(table: &str, redirects: &[Redirect]) -> Result<(), Errno> {
    transaction(new_redirects(table, redirects))
}

/// Removes redirections. One that is gone already, with the whole table perhaps, is no mistake.
pub(in crate::network) fn remove_redirects(
    table: &str,
    redirects: &[Redirect],
) -> Result<(), Errno> {
    let remove =
        |redirects: &[Redirect]| transaction(elements(DELETE_ELEMENT, 0, table, redirects));
    match remove(redirects) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    // One was missing, so none was removed: one by one.
    for redirect in redirects {
        match remove(std::slice::from_ref(redirect)) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A request for each map, and more where one would be too long: the length of an attribute has 16 bits.
fn elements(kind: u16, flags: u16, table: &str, redirects: &[Redirect]) -> Vec<Message> {
    const ELEMENTS_MAX: usize = 300;
    let mut requests = Vec::new();
    for map in MAPS {
        let of_map: Vec<&Redirect> = redirects
            .iter()
            .filter(|redirect| RedirectMap::of(redirect) == map)
            .collect();
        for chunk in of_map.chunks(ELEMENTS_MAX) {
            let mut request = message(kind, flags, INET);
            request
                .text(SET_ELEMENTS_TABLE, table)
                .text(SET_ELEMENTS_SET, map.name)
                .nested(SET_ELEMENTS_ELEMENTS, |elements| {
                    for redirect in chunk {
                        element(elements, redirect);
                    }
                });
            requests.push(request);
        }
    }
    requests
}

fn element(elements: &mut Message, redirect: &Redirect) {
    elements.nested(LIST_ELEMENT, |element| {
        element.nested(ELEMENT_KEY, |key| {
            key.attribute(DATA_VALUE, &key_bytes(redirect));
        });
        element.nested(ELEMENT_DATA, |data| {
            data.attribute(DATA_VALUE, &data_bytes(redirect));
        });
    });
}

/// Each part of a concatenation is padded to a register's 4 bytes.
fn key_bytes(redirect: &Redirect) -> Vec<u8> {
    let mut key = redirect.on.map(octets).unwrap_or_default();
    key.extend([redirect.transport.number(), 0, 0, 0]);
    key.extend(port(redirect.host_port));
    key
}

fn data_bytes(redirect: &Redirect) -> Vec<u8> {
    let mut data = octets(redirect.target.ip());
    data.extend(port(redirect.target.port()));
    data
}

fn port(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [high, low, 0, 0]
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ipv4) => ipv4.octets().to_vec(),
        IpAddr::V6(ipv6) => ipv6.octets().to_vec(),
    }
}
