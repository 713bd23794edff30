//! Other programs' chains that drop what pods send through the node: Docker's `ip filter FORWARD` with its policy
//! drop, firewalld's `inet firewalld` that ends in a reject. An accept in our table cannot overrule them.

use rustix::io::Errno;

use super::super::netlink::{Answers, Attributes, Family, Socket, attributes};
use super::{
    ANY, CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, DATA_VERDICT, DROP, DUMP,
    EXPRESSION_DATA, EXPRESSION_NAME, GET_CHAIN, GET_RULE, HOOK_FORWARD, HOOK_NUMBER,
    IMMEDIATE_DATA, INET, IPV4, LIST_ELEMENT, RULE_CHAIN, RULE_EXPRESSIONS, RULE_TABLE,
    VERDICT_CODE, message, number, text,
};

/// A chain of somebody else that drops forwarded packets unless one of its rules lets them through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::network) struct ForeignDrop {
    /// `ip` or `inet`.
    pub(in crate::network) family: &'static str,
    /// The table.
    pub(in crate::network) table: String,
    /// The chain.
    pub(in crate::network) chain: String,
    /// How it drops: `policy drop`, `last rule drop`, `last rule reject`.
    pub(in crate::network) how: &'static str,
}

/// Lists such chains for IPv4, without those of the table `own`.
pub(in crate::network) fn foreign_drops(own: &str) -> Result<Vec<ForeignDrop>, Errno> {
    let mut socket = Socket::open(Family::Netfilter)?;
    let chains = socket.answers(message(GET_CHAIN, DUMP, ANY), Answers::All)?;
    let mut drops = Vec::new();
    for chain in &chains {
        let Some(mut found) = forward_chain(&chain.payload).filter(|chain| chain.table != own)
        else {
            continue;
        };
        if found.how.is_empty() {
            found.how = last_rule(&mut socket, &found)?;
        }
        if !found.how.is_empty() {
            drops.push(found);
        }
    }
    Ok(drops)
}

/// The chain, if it is a base chain for forwarded IPv4 packets; `how` is filled in if its policy is drop.
fn forward_chain(payload: &[u8]) -> Option<ForeignDrop> {
    let (family, found) = split(payload)?;
    let family = family_name(family)?;
    let hook = attributes(found.value_of(CHAIN_HOOK)?);
    if hook.value_of(HOOK_NUMBER).and_then(number) != Some(HOOK_FORWARD) {
        return None;
    }
    let policy = found.value_of(CHAIN_POLICY).and_then(number);
    Some(ForeignDrop {
        family,
        table: text(found.value_of(CHAIN_TABLE)?),
        chain: text(found.value_of(CHAIN_NAME)?),
        how: if policy == Some(DROP) {
            "policy drop"
        } else {
            ""
        },
    })
}

/// What the last rule of a chain does to everything that reached it.
fn last_rule(socket: &mut Socket, chain: &ForeignDrop) -> Result<&'static str, Errno> {
    let family = if chain.family == "ip" { IPV4 } else { INET };
    let mut request = message(GET_RULE, DUMP, family);
    request
        .text(RULE_TABLE, &chain.table)
        .text(RULE_CHAIN, &chain.chain);
    let rules = match socket.answers(request, Answers::All) {
        Ok(rules) => rules,
        // The chain went away between the two questions.
        Err(Errno::NOENT) => return Ok(""),
        Err(errno) => return Err(errno),
    };
    // Kernels before 4.14 answer with the rules of all chains.
    let last = rules
        .iter()
        .filter_map(|rule| split(&rule.payload))
        .rfind(|(_, rule)| rule.value_of(RULE_CHAIN).map(text).as_deref() == Some(&chain.chain));
    Ok(last.map_or("", |(_, rule)| unconditional(&rule)))
}

/// `last rule drop` or `last rule reject` if the rule asks no question before it drops.
fn unconditional(rule: &Attributes<'_>) -> &'static str {
    let Some(expressions) = rule.value_of(RULE_EXPRESSIONS) else {
        return "";
    };
    for (_, element) in attributes(expressions).filter(|(kind, _)| *kind == LIST_ELEMENT) {
        let element = attributes(element);
        let name = element
            .value_of(EXPRESSION_NAME)
            .map(text)
            .unwrap_or_default();
        match name.as_str() {
            "counter" | "log" => {}
            "reject" => return "last rule reject",
            "immediate" if verdict(&element) == Some(DROP) => return "last rule drop",
            _ => return "",
        }
    }
    ""
}

fn verdict(expression: &Attributes<'_>) -> Option<u32> {
    let data = attributes(expression.value_of(EXPRESSION_DATA)?);
    let value = attributes(data.value_of(IMMEDIATE_DATA)?);
    let verdict = attributes(value.value_of(DATA_VERDICT)?);
    number(verdict.value_of(VERDICT_CODE)?)
}

fn family_name(family: u8) -> Option<&'static str> {
    match family {
        IPV4 => Some("ip"),
        INET => Some("inet"),
        _ => None,
    }
}

fn split(payload: &[u8]) -> Option<(u8, Attributes<'_>)> {
    let (header, rest) = payload.split_at_checked(4)?;
    Some((*header.first()?, attributes(rest)))
}
