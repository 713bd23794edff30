//! How an envelope becomes a packet and a packet an envelope: inline, or in a sealed memfd when it is large.
//!
//! Pure: it says *what* to send and checks what came. Making the memfd, sending descriptors and seeing that a packet was
//! truncated is the caller's part, on both sides of the socket.

use crate::MAXIMUM_DESCRIPTORS;
use crate::MAXIMUM_INLINE_BYTES;
use crate::MAXIMUM_LARGE_BYTES;
use crate::message::Envelope;
use crate::message::envelope::Body;
use prost::Message;
use std::fmt;

/// What to give to `sendmsg` for one envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Send these bytes, with the descriptors of the message.
    Inline(Vec<u8>),
    /// Write `content` to a memfd, seal it, and send `packet` with the memfd *before* the descriptors of the message.
    Large {
        /// The envelope that names the length alone.
        packet: Vec<u8>,
        /// The envelope itself.
        content: Vec<u8>,
    },
}

/// What a packet held.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for one call; a box would cost an allocation a message"
)]
pub enum Unpacked {
    /// A whole message.
    Message(Envelope),
    /// The message is in the first descriptor; read exactly so many bytes of it and call [`decode_large`].
    Large {
        /// Bytes in the memfd, at most [`MAXIMUM_LARGE_BYTES`].
        length: usize,
    },
}

/// Why bytes are not a packet of this protocol, or an envelope cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramingError {
    /// The bytes are not a protobuf envelope.
    NotAnEnvelope,
    /// The envelope has neither a body nor a large length, or both.
    NoBody,
    /// The message says that it has `named` descriptors, but `received` came with it.
    DescriptorCount {
        /// As the envelope says.
        named: u32,
        /// As counted by the receiver.
        received: usize,
    },
    /// The message is larger than is ever accepted.
    TooLarge {
        /// Its length in bytes.
        length: u64,
    },
    /// The message carries more descriptors than is ever accepted.
    TooManyDescriptors {
        /// How many.
        count: usize,
    },
}

impl fmt::Display for FramingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnEnvelope => formatter.write_str("the packet is not an envelope"),
            Self::NoBody => formatter.write_str("the envelope has no single body"),
            Self::DescriptorCount { named, received } => write!(
                formatter,
                "the envelope names {named} descriptors and {received} came"
            ),
            Self::TooLarge { length } => write!(formatter, "an envelope of {length} bytes"),
            Self::TooManyDescriptors { count } => {
                write!(formatter, "an envelope with {count} descriptors")
            }
        }
    }
}

impl std::error::Error for FramingError {}

/// Encodes `body` for a packet that goes with `descriptors` descriptors of its own.
///
/// # Errors
///
/// [`FramingError::TooLarge`] or [`FramingError::TooManyDescriptors`]: the receiver would refuse it.
pub fn encode(body: Body, descriptors: usize) -> Result<Packet, FramingError> {
    let too_many = FramingError::TooManyDescriptors { count: descriptors };
    // One place is left for the memfd of a large envelope.
    if descriptors >= MAXIMUM_DESCRIPTORS {
        return Err(too_many);
    }
    let content = Envelope {
        large_length: 0,
        descriptor_count: u32::try_from(descriptors).map_err(|_error| too_many)?,
        body: Some(body),
    }
    .encode_to_vec();
    if content.len() <= MAXIMUM_INLINE_BYTES {
        return Ok(Packet::Inline(content));
    }
    let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
    if content.len() > MAXIMUM_LARGE_BYTES {
        return Err(FramingError::TooLarge { length });
    }
    let packet = Envelope {
        large_length: length,
        descriptor_count: 0,
        body: None,
    }
    .encode_to_vec();
    Ok(Packet::Large { packet, content })
}

/// Decodes a packet that came with `descriptors` descriptors in all.
///
/// # Errors
///
/// The packet is not one of this protocol, or the descriptors are not those that it names.
pub fn decode(packet: &[u8], descriptors: usize) -> Result<Unpacked, FramingError> {
    let envelope = Envelope::decode(packet).map_err(|_error| FramingError::NotAnEnvelope)?;
    if envelope.large_length == 0 {
        return checked(envelope, descriptors).map(Unpacked::Message);
    }
    if envelope.body.is_some() {
        return Err(FramingError::NoBody);
    }
    let length = match usize::try_from(envelope.large_length) {
        Ok(length) if length <= MAXIMUM_LARGE_BYTES => length,
        _ => {
            return Err(FramingError::TooLarge {
                length: envelope.large_length,
            });
        }
    };
    if descriptors == 0 {
        return Err(FramingError::DescriptorCount {
            named: 1,
            received: 0,
        });
    }
    Ok(Unpacked::Large { length })
}

/// Decodes the content of the memfd of a large packet; `descriptors` came beside the memfd.
///
/// # Errors
///
/// As [`decode`]; also when the content is once more a large envelope.
pub fn decode_large(content: &[u8], descriptors: usize) -> Result<Envelope, FramingError> {
    let envelope = Envelope::decode(content).map_err(|_error| FramingError::NotAnEnvelope)?;
    if envelope.large_length != 0 {
        return Err(FramingError::NoBody);
    }
    checked(envelope, descriptors)
}

fn checked(envelope: Envelope, descriptors: usize) -> Result<Envelope, FramingError> {
    if envelope.body.is_none() {
        return Err(FramingError::NoBody);
    }
    if usize::try_from(envelope.descriptor_count) != Ok(descriptors) {
        return Err(FramingError::DescriptorCount {
            named: envelope.descriptor_count,
            received: descriptors,
        });
    }
    Ok(envelope)
}
