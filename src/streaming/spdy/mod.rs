//! SPDY/3.1 as far as Kubernetes uses it: a server of streams that the client opens, and such a client. `codec` is the protocol on the wire,
//! `connection` reads and writes it, `streams` is what the two know of the streams.
//!
//! Windows are kept as moby/spdystream does, which is at the other end of nearly every connection: what is sent is not held
//! back by the client's window, as that library never widens it, but by TCP. What comes in is held back by TCP too, and
//! counted back to the client, so that one which does keep windows is not stalled.

mod codec;
mod connection;
mod streams;
#[cfg(test)]
pub(super) mod test_client;

pub(super) use codec::ResetStatus;
pub(super) use connection::{NewStream, Opener, connect, serve};
pub(super) use streams::StreamSender;
