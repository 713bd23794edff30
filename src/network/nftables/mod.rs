//! nf_tables over netlink: the table of the pod network with the maps of host ports, and who else drops forwarded
//! packets.
//!
//! Numbers: include/uapi/linux/netfilter/nf_tables.h, nfnetlink.h. Numbers inside attributes are big endian.

mod foreign;
mod network;
mod redirects;
mod rule;
mod table;
mod transaction;

pub(super) use foreign::{ForeignDrop, foreign_drops};
pub(super) use redirects::{add_redirects, remove_redirects};
pub(super) use table::{NatTable, delete_table, ensure_table, table_exists};

use super::netlink::{Message, text};

/// `NFNL_SUBSYS_NFTABLES << 8`.
const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const GET_RULE: u16 = SUBSYSTEM | 7;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;

const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const IMMEDIATE_DATA: u16 = 2;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
/// `NFTA_DATA_VALUE`.
const DATA_VALUE: u16 = 1;

/// `NFPROTO_INET`: rules for IPv4 and IPv6.
const INET: u8 = 1;
/// `NFPROTO_IPV4`.
const IPV4: u8 = 2;
/// `NFPROTO_IPV6`.
const IPV6: u8 = 10;
/// `NFPROTO_UNSPEC`: every family, in dumps.
const ANY: u8 = 0;
/// `NF_INET_PRE_ROUTING`.
const HOOK_PREROUTING: u32 = 0;
/// `NF_INET_FORWARD`.
const HOOK_FORWARD: u32 = 2;
/// `NF_INET_LOCAL_OUT`.
const HOOK_OUTPUT: u32 = 3;
/// `NF_INET_POST_ROUTING`.
const HOOK_POSTROUTING: u32 = 4;
/// `NF_DROP`.
const DROP: u32 = 0;
/// `NF_ACCEPT`.
const ACCEPT: u32 = 1;
/// `NFT_JUMP`, which is -3.
const JUMP: u32 = 0xffff_fffd;

/// `NLM_F_CREATE`.
const CREATE: u16 = 0x400;
/// `NLM_F_CREATE | NLM_F_APPEND`.
const APPEND: u16 = 0x400 | 0x800;
/// `NLM_F_ROOT | NLM_F_MATCH`.
const DUMP: u16 = 0x300;

/// A message with `struct nfgenmsg`: family, version, resource.
fn message(kind: u16, flags: u16, family: u8) -> Message {
    Message::new(kind, flags, &[family, 0, 0, 0])
}

/// A number of an attribute.
fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().copied().map(u32::from_be_bytes)
}
