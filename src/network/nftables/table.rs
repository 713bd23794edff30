//! The table `inet carpel`: what leaves the node from a pod gets the node's address, and what comes to a host port is
//! sent on to a pod.
//!
//! ```text
//! guard        prerouting, raw      pods do not reach 127.0.0.1 of the node, though the bridge has route_localnet
//! prerouting   dstnat               what is meant for the node ─▶ host_ports
//! output       dstnat               the same from the node itself ─▶ host_ports
//! host_ports                        the maps of host ports
//! forward      filter               accept what comes from and goes to the bridge
//! redirects    output, filter       no ICMP redirects to pods
//! postrouting  srcnat               masquerade
//! ```

use rustix::io::Errno;

use super::super::netlink::{Answers, Family, Message, Socket};
use super::super::port::Redirect;
use super::super::subnet::Subnet;
use super::network::PodNetwork;
use super::redirects::{MAPS, new_map, new_redirects};
use super::transaction::transaction;
use super::{
    ACCEPT, APPEND, CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, CHAIN_TYPE, CREATE,
    DELETE_TABLE, GET_TABLE, HOOK_FORWARD, HOOK_NUMBER, HOOK_OUTPUT, HOOK_POSTROUTING,
    HOOK_PREROUTING, HOOK_PRIORITY, INET, NEW_CHAIN, NEW_RULE, NEW_TABLE, RULE_CHAIN,
    RULE_EXPRESSIONS, RULE_TABLE, TABLE_NAME, message, rule,
};

/// `NF_IP_PRI_RAW`.
const PRIORITY_RAW: i32 = -300;
/// `NF_IP_PRI_NAT_DST`.
const PRIORITY_DESTINATION_NAT: i32 = -100;
/// `NF_IP_PRI_FILTER`.
const PRIORITY_FILTER: i32 = 0;
/// `NF_IP_PRI_NAT_SRC`.
const PRIORITY_SOURCE_NAT: i32 = 100;

/// What the table says.
#[derive(Debug, Clone, Copy)]
pub(in crate::network) struct NatTable<'a> {
    /// The table's name: the bridge's, so that two daemons on a node have two.
    pub(in crate::network) name: &'a str,
    /// The pods' addresses.
    pub(in crate::network) subnets: &'a [Subnet],
    /// The pods' bridge.
    pub(in crate::network) bridge: &'a str,
    /// The host ports of the pods that live.
    pub(in crate::network) redirects: &'a [Redirect],
}

/// A base chain: type, hook, priority.
struct Chain {
    name: &'static str,
    kind: &'static str,
    hook: u32,
    priority: i32,
}

const fn chain(name: &'static str, kind: &'static str, hook: u32, priority: i32) -> Chain {
    Chain {
        name,
        kind,
        hook,
        priority,
    }
}

const GUARD: Chain = chain("guard", "filter", HOOK_PREROUTING, PRIORITY_RAW);
const PREROUTING: Chain = chain(
    "prerouting",
    "nat",
    HOOK_PREROUTING,
    PRIORITY_DESTINATION_NAT,
);
const OUTPUT: Chain = chain("output", "nat", HOOK_OUTPUT, PRIORITY_DESTINATION_NAT);
const FORWARD: Chain = chain("forward", "filter", HOOK_FORWARD, PRIORITY_FILTER);
const REDIRECTS: Chain = chain("redirects", "filter", HOOK_OUTPUT, PRIORITY_FILTER);
const POSTROUTING: Chain = chain("postrouting", "nat", HOOK_POSTROUTING, PRIORITY_SOURCE_NAT);
/// The chain of the maps; no hook, two chains jump to it.
const HOST_PORTS: &str = "host_ports";

/// Makes the table be exactly this, in one transaction: whatever it said before is replaced with no moment
/// without rules.
pub(in crate::network) fn ensure_table(table: &NatTable<'_>) -> Result<(), Errno> {
    transaction(Builder::new(table).build())
}

/// Removes a table; none is fine.
pub(in crate::network) fn delete_table(name: &str) -> Result<(), Errno> {
    match transaction(vec![table_message(DELETE_TABLE, 0, name)]) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Whether a table is there.
pub(in crate::network) fn table_exists(name: &str) -> Result<bool, Errno> {
    let request = table_message(GET_TABLE, 0, name);
    match Socket::open(Family::Netfilter)?.answers(request, Answers::One) {
        Ok(answers) => Ok(!answers.is_empty()),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn table_message(kind: u16, flags: u16, name: &str) -> Message {
    let mut request = message(kind, flags, INET);
    request.text(TABLE_NAME, name);
    request
}

/// The requests of a table, in the order in which one needs the other.
struct Builder<'a> {
    table: &'a NatTable<'a>,
    networks: Vec<PodNetwork>,
    requests: Vec<Message>,
}

impl<'a> Builder<'a> {
    fn new(table: &'a NatTable<'a>) -> Self {
        Self {
            table,
            networks: table
                .subnets
                .iter()
                .copied()
                .map(PodNetwork::from)
                .collect(),
            requests: vec![
                // A table that is not there cannot be deleted, so it is made first: "add, delete, add".
                table_message(NEW_TABLE, CREATE, table.name),
                table_message(DELETE_TABLE, 0, table.name),
                table_message(NEW_TABLE, CREATE, table.name),
            ],
        }
    }

    fn build(mut self) -> Vec<Message> {
        let bridge = self.table.bridge;
        let networks = std::mem::take(&mut self.networks);
        self.host_ports(&networks);
        self.base_chain(&GUARD);
        self.rule(GUARD.name, |rule| rule::drop_to_loopback(rule, bridge));
        for chain in [&PREROUTING, &OUTPUT] {
            self.base_chain(chain);
            self.rule(chain.name, |rule| rule::jump_if_local(rule, HOST_PORTS));
        }
        self.base_chain(&FORWARD);
        self.rule(FORWARD.name, |rule| rule::accept_from(rule, bridge));
        self.rule(FORWARD.name, |rule| rule::accept_to(rule, bridge));
        self.base_chain(&REDIRECTS);
        for network in &networks {
            self.rule(REDIRECTS.name, |rule| {
                rule::drop_redirects(rule, network, bridge);
            });
        }
        self.base_chain(&POSTROUTING);
        self.rule(POSTROUTING.name, |rule| {
            rule::masquerade_loopback(rule, bridge);
        });
        for network in &networks {
            self.rule(POSTROUTING.name, |rule| {
                rule::masquerade(rule, network, bridge);
            });
            self.rule(POSTROUTING.name, |rule| {
                rule::masquerade_hairpin(rule, network);
            });
        }
        self.requests
    }

    /// The maps with what is in them, and the chain that asks them.
    fn host_ports(&mut self, networks: &[PodNetwork]) {
        let name = self.table.name;
        for (map, number) in MAPS.iter().zip(1..) {
            self.requests.push(new_map(name, map, number));
        }
        self.requests
            .extend(new_redirects(name, self.table.redirects));
        let mut chain = message(NEW_CHAIN, CREATE, INET);
        chain.text(CHAIN_TABLE, name).text(CHAIN_NAME, HOST_PORTS);
        self.requests.push(chain);
        for map in MAPS {
            if let Some(network) = networks.iter().find(|network| network.family == map.family) {
                self.rule(HOST_PORTS, |rule| {
                    rule::redirect(rule, network, map.name, map.key);
                });
            }
        }
    }

    fn rule(&mut self, chain: &str, expressions: impl FnOnce(&mut Message)) {
        let mut request = message(NEW_RULE, APPEND, INET);
        request
            .text(RULE_TABLE, self.table.name)
            .text(RULE_CHAIN, chain)
            .nested(RULE_EXPRESSIONS, expressions);
        self.requests.push(request);
    }

    fn base_chain(&mut self, chain: &Chain) {
        /// `NF_ACCEPT`: what no rule decides goes on to the other tables.
        const POLICY_ACCEPT: u32 = ACCEPT;
        let mut request = message(NEW_CHAIN, CREATE, INET);
        request
            .text(CHAIN_TABLE, self.table.name)
            .text(CHAIN_NAME, chain.name)
            .nested(CHAIN_HOOK, |hook| {
                hook.attribute(HOOK_NUMBER, &chain.hook.to_be_bytes())
                    .attribute(HOOK_PRIORITY, &chain.priority.to_be_bytes());
            })
            .attribute(CHAIN_POLICY, &POLICY_ACCEPT.to_be_bytes())
            .text(CHAIN_TYPE, chain.kind);
        self.requests.push(request);
    }
}
