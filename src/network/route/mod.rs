//! rtnetlink: links, addresses and routes, as the few requests that a pod's network needs.
//!
//! Numbers: include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h, if_arp.h. Not here: what to do with them.

mod address;
mod link;

use rustix::io::Errno;

use super::netlink::{Family, Socket, text};

pub(super) use address::{InterfaceAddress, Route};
pub(super) use link::{Link, VethPair};

/// `NLM_F_ACK`.
const ACKNOWLEDGE: u16 = 0x4;
/// `NLM_F_ROOT | NLM_F_MATCH`.
const DUMP: u16 = 0x300;
/// `NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK`.
const CREATE: u16 = 0x400 | 0x200 | ACKNOWLEDGE;

/// rtnetlink in one network namespace: that of the thread which opened it.
#[derive(Debug)]
pub(super) struct RouteSocket(Socket);

impl RouteSocket {
    /// Opens a socket in the network namespace of the calling thread.
    pub(super) fn open() -> Result<Self, Errno> {
        Socket::open(Family::Route).map(Self)
    }
}

/// The 32-bit number of an attribute, in host byte order.
fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().copied().map(u32::from_ne_bytes)
}
