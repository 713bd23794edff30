//! Several requests as one: all of them happen or none.

use rustix::io::Errno;

use super::super::netlink::{Family, Message, Socket};

/// `NFNL_MSG_BATCH_BEGIN`.
const BATCH_BEGIN: u16 = 0x10;
/// `NFNL_MSG_BATCH_END`.
const BATCH_END: u16 = 0x11;

/// All of the requests or none. Only the last is acknowledged, as hundreds of answers would not fit into the socket's
/// buffer; a refusal of any is told in any case.
pub(super) fn transaction(mut requests: Vec<Message>) -> Result<(), Errno> {
    match requests.last_mut() {
        Some(last) => last.ask_for_acknowledgement(),
        None => return Ok(()),
    }
    // struct nfgenmsg: the resource of a batch is the subsystem, in network byte order.
    let border = |kind| Message::new(kind, 0, &[0, 0, 0, 10]);
    let mut messages = vec![border(BATCH_BEGIN)];
    messages.extend(requests);
    messages.push(border(BATCH_END));
    Socket::open(Family::Netfilter)?.transaction(&mut messages)
}
