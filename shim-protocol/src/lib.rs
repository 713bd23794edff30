//! Messages between the daemon and the shim of a pod, and the limits of a packet. No I/O.
//!
//! The messages are generated from `proto/shim/shim.proto`; `docs/shim-protocol.md` tells how they are used.

pub mod framing;

/// The messages.
#[allow(
    missing_docs,
    rustdoc::invalid_html_tags,
    clippy::all,
    reason = "generated from shim.proto, whose comments are the documentation"
)]
pub mod message {
    include!(concat!(env!("OUT_DIR"), "/carpel.shim.v1.rs"));
}

/// The version of the protocol that this code speaks: `Hello.version`.
pub const VERSION: u32 = 1;

/// Encoded envelopes larger than this travel in a sealed memfd.
pub const MAXIMUM_INLINE_BYTES: usize = 32 * 1024;

/// A packet is never larger than this: the receive buffer of both sides.
pub const MAXIMUM_PACKET_BYTES: usize = 64 * 1024;

/// The largest message that is accepted by memfd.
pub const MAXIMUM_LARGE_BYTES: usize = 16 * 1024 * 1024;

/// How many descriptors a packet carries at the most, the memfd of a large one included.
pub const MAXIMUM_DESCRIPTORS: usize = 8;

/// How a container's first process was started, as bytes for the daemon's own file.
#[must_use]
pub fn to_bytes(process: &message::Process) -> Vec<u8> {
    prost::Message::encode_to_vec(process)
}

/// The same, read again.
///
/// # Errors
/// If the bytes are not such a message.
pub fn from_bytes(bytes: &[u8]) -> Result<message::Process, prost::DecodeError> {
    prost::Message::decode(bytes)
}
