//! The table `inet carpel`: what leaves the node from a pod gets the node's address.

use rustix::io::Errno;

use super::super::netlink::{Answers, Family, Message, Socket};
use super::super::subnet::Ipv4Subnet;
use super::{
    APPEND, CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, CHAIN_TYPE, CREATE, DELETE_TABLE,
    GET_TABLE, HOOK_FORWARD, HOOK_NUMBER, HOOK_POSTROUTING, HOOK_PRIORITY, INET, NEW_CHAIN,
    NEW_RULE, NEW_TABLE, RULE_CHAIN, RULE_EXPRESSIONS, RULE_TABLE, TABLE_NAME, message, rule,
};

/// `NFNL_MSG_BATCH_BEGIN`.
const BATCH_BEGIN: u16 = 0x10;
/// `NFNL_MSG_BATCH_END`.
const BATCH_END: u16 = 0x11;
/// `NF_IP_PRI_NAT_SRC`.
const PRIORITY_SOURCE_NAT: i32 = 100;
/// `NF_IP_PRI_FILTER`.
const PRIORITY_FILTER: i32 = 0;

/// What the table says.
#[derive(Debug, Clone, Copy)]
pub(in crate::network) struct NatTable<'a> {
    /// The table's name: the bridge's, so that two daemons on a node have two.
    pub(in crate::network) name: &'a str,
    /// The pods' addresses.
    pub(in crate::network) subnet: Ipv4Subnet,
    /// The pods' bridge.
    pub(in crate::network) bridge: &'a str,
}

/// A base chain.
struct Chain<'a> {
    name: &'a str,
    kind: &'a str,
    hook: u32,
    priority: i32,
}

const FORWARD: Chain<'_> = Chain {
    name: "forward",
    kind: "filter",
    hook: HOOK_FORWARD,
    priority: PRIORITY_FILTER,
};
const POSTROUTING: Chain<'_> = Chain {
    name: "postrouting",
    kind: "nat",
    hook: HOOK_POSTROUTING,
    priority: PRIORITY_SOURCE_NAT,
};

/// Makes the table be exactly this, in one transaction: whatever it said before is replaced with no moment
/// without rules.
pub(in crate::network) fn ensure_table(table: &NatTable<'_>) -> Result<(), Errno> {
    let named = |kind, flags| {
        let mut request = message(kind, flags, INET);
        request.text(TABLE_NAME, table.name);
        request
    };
    let rule = |chain: &Chain<'_>, expressions: &dyn Fn(&mut Message)| {
        let mut request = message(NEW_RULE, APPEND, INET);
        request
            .text(RULE_TABLE, table.name)
            .text(RULE_CHAIN, chain.name)
            .nested(RULE_EXPRESSIONS, expressions);
        request
    };
    transaction(vec![
        // A table that is not there cannot be deleted, so it is made first: "add, delete, add".
        named(NEW_TABLE, CREATE),
        named(DELETE_TABLE, super::ACKNOWLEDGE),
        named(NEW_TABLE, CREATE),
        chain(table.name, &FORWARD),
        rule(&FORWARD, &|rule| rule::accept_from(rule, table.bridge)),
        rule(&FORWARD, &|rule| rule::accept_to(rule, table.bridge)),
        chain(table.name, &POSTROUTING),
        rule(&POSTROUTING, &|rule| {
            rule::masquerade(rule, table.subnet, table.bridge);
        }),
    ])
}

/// Removes a table; none is fine.
pub(in crate::network) fn delete_table(name: &str) -> Result<(), Errno> {
    let mut request = message(DELETE_TABLE, super::ACKNOWLEDGE, INET);
    request.text(TABLE_NAME, name);
    match transaction(vec![request]) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Whether a table is there.
pub(in crate::network) fn table_exists(name: &str) -> Result<bool, Errno> {
    let mut request = message(GET_TABLE, 0, INET);
    request.text(TABLE_NAME, name);
    match Socket::open(Family::Netfilter)?.answers(request, Answers::One) {
        Ok(answers) => Ok(!answers.is_empty()),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn chain(table: &str, chain: &Chain<'_>) -> Message {
    /// `NF_ACCEPT`: what no rule decides goes on to the other tables.
    const POLICY_ACCEPT: u32 = super::ACCEPT;
    let mut request = message(NEW_CHAIN, CREATE, INET);
    request
        .text(CHAIN_TABLE, table)
        .text(CHAIN_NAME, chain.name)
        .nested(CHAIN_HOOK, |hook| {
            hook.attribute(HOOK_NUMBER, &chain.hook.to_be_bytes())
                .attribute(HOOK_PRIORITY, &chain.priority.to_be_bytes());
        })
        .attribute(CHAIN_POLICY, &POLICY_ACCEPT.to_be_bytes())
        .text(CHAIN_TYPE, chain.kind);
    request
}

/// All of the requests or none.
fn transaction(requests: Vec<Message>) -> Result<(), Errno> {
    // struct nfgenmsg: the resource of a batch is the subsystem, in network byte order.
    let border = |kind| Message::new(kind, 0, &[0, 0, 0, 10]);
    let acknowledgements = requests.len();
    let mut messages = vec![border(BATCH_BEGIN)];
    messages.extend(requests);
    messages.push(border(BATCH_END));
    Socket::open(Family::Netfilter)?.transaction(&mut messages, acknowledgements)
}
