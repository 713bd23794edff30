//! Netlink: messages, attributes and the socket they travel on, for rtnetlink and nfnetlink alike.
//!
//! Written here because nftables has no crate that this program may link (the one is GPL, the other starts
//! `nft`), and one encoder serves both protocols. No families' constants here: see `route` and `nftables`.

mod message;
mod socket;

pub(super) use message::{Attributes, Message, attributes, text};
pub(super) use socket::{Answers, Family, Socket};
