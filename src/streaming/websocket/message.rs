//! The channel protocols: the first byte of a message is the number of its stream. v5 can close a channel with 255 and its
//! number; base64 protocols send text, with the number as a digit. No I/O.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};

/// The number of the channel that closes others.
const CLOSE_CHANNEL: u8 = 255;

/// How a message holds its channel and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A binary message: the number as a byte, then the bytes.
    Binary,
    /// A text message: the number as a digit, then base64.
    Base64,
}

/// Whether a client can close one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HalfClose {
    /// v5.
    Signal,
    /// All before.
    None,
}

/// Not a message of the protocol.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// That its sender is there.
    Nothing,
    /// Bytes of a channel.
    Data(u8, Bytes),
    /// That nothing more comes on a channel.
    Close(u8),
}

/// A message to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Encoded {
    /// As a binary message.
    Binary(Bytes),
    /// As a text message.
    Text(String),
}

/// The message with these bytes of a channel.
pub(crate) fn encode(layout: Layout, channel: u8, bytes: &[u8]) -> Encoded {
    match layout {
        Layout::Binary => {
            let mut message = BytesMut::with_capacity(bytes.len() + 1);
            message.put_u8(channel);
            message.extend_from_slice(bytes);
            Encoded::Binary(message.freeze())
        }
        Layout::Base64 => {
            let mut text = String::from(char::from(b'0'.saturating_add(channel)));
            STANDARD.encode_string(bytes, &mut text);
            Encoded::Text(text)
        }
    }
}

/// What the bytes of a message say.
///
/// # Errors
/// `Malformed`, after which nothing more of that client can be believed.
pub(crate) fn decode(
    layout: Layout,
    half_close: HalfClose,
    mut bytes: Bytes,
) -> Result<Said, Malformed> {
    let Some(first) = bytes.first().copied() else {
        return Ok(Said::Nothing);
    };
    let rest = bytes.split_off(1);
    if half_close == HalfClose::Signal && first == CLOSE_CHANNEL {
        return match *rest {
            [channel] => Ok(Said::Close(channel)),
            _ => Err(Malformed),
        };
    }
    let (channel, bytes) = match layout {
        Layout::Binary => (first, rest),
        Layout::Base64 => {
            let bytes = STANDARD.decode(rest).map_err(|_not_base64| Malformed)?;
            let channel = first.checked_sub(b'0').ok_or(Malformed)?;
            (channel, bytes.into())
        }
    };
    // JavaScript clients open a channel with an empty message.
    if bytes.is_empty() {
        return Ok(Said::Nothing);
    }
    Ok(Said::Data(channel, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            channel in 0..10_u8,
            bytes in proptest::collection::vec(any::<u8>(), 1..100),
        ) {
            for layout in [Layout::Binary, Layout::Base64] {
                let message = encode(layout, channel, &bytes);
                let bytes_of_message = match message {
                    Encoded::Binary(bytes) => bytes,
                    Encoded::Text(text) => Bytes::from(text),
                };
                let said = decode(layout, HalfClose::None, bytes_of_message);
                prop_assert_eq!(said, Ok(Said::Data(channel, Bytes::from(bytes.clone()))));
            }
        }

        #[test]
        fn bytes_of_no_sense_are_refused_and_nothing_else(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            for layout in [Layout::Binary, Layout::Base64] {
                for half_close in [HalfClose::Signal, HalfClose::None] {
                    let said = decode(layout, half_close, Bytes::from(bytes.clone()));
                    prop_assert!(said.is_ok() || layout == Layout::Base64 || bytes[0] == 255);
                }
            }
        }
    }

    #[test]
    fn messages_are_those_of_kubernetes() {
        let hello = encode(Layout::Base64, 1, b"foo\n");
        assert_eq!(hello, Encoded::Text("1Zm9vCg==".to_owned()));
        let said = |half_close, bytes: &'static [u8]| {
            decode(Layout::Binary, half_close, Bytes::from_static(bytes))
        };
        assert_eq!(said(HalfClose::Signal, &[255, 0]), Ok(Said::Close(0)));
        assert_eq!(said(HalfClose::Signal, &[255]), Err(Malformed));
        assert_eq!(said(HalfClose::Signal, &[255, 0, 0]), Err(Malformed));
        let data = Said::Data(255, Bytes::from_static(&[0]));
        assert_eq!(said(HalfClose::None, &[255, 0]), Ok(data));
        assert_eq!(said(HalfClose::None, &[]), Ok(Said::Nothing));
        assert_eq!(said(HalfClose::None, &[0]), Ok(Said::Nothing));
    }
}
