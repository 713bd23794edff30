//! SPDY/3.1 on the wire: bytes to frames and back. Pure: nothing is read or written here, and what a peer sends costs no more
//! memory than the limits of `decode.rs` and `headers.rs` say.

mod decode;
mod dictionary;
mod encode;
mod frame;
mod headers;
#[cfg(test)]
mod tests;

pub(crate) use decode::Decoder;
pub(crate) use encode::Encoder;
pub(crate) use frame::{End, Frame, FrameError, Headers, ResetStatus, StreamId};
