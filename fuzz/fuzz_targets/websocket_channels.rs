//! Messages of the channel protocols: whatever a client sends is bytes of a channel, the end of one, nothing, or refused;
//! what is sent is understood.
#![no_main]

#[allow(dead_code, unused_imports, reason = "what the server needs besides")]
#[path = "../../src/streaming/websocket/message.rs"]
mod message;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use message::Encoded;
use message::HalfClose;
use message::Layout;
use message::Said;
use message::decode;
use message::encode;

fuzz_target!(|bytes: &[u8]| {
    for (layout, half_close) in [
        (Layout::Binary, HalfClose::Signal),
        (Layout::Binary, HalfClose::None),
        (Layout::Base64, HalfClose::Signal),
        (Layout::Base64, HalfClose::None),
    ] {
        match decode(layout, half_close, Bytes::copy_from_slice(bytes)) {
            Ok(Said::Nothing) => {}
            Ok(Said::Data(channel, payload)) => {
                assert!(!payload.is_empty() && payload.len() < bytes.len());
                if layout == Layout::Binary {
                    assert_eq!((channel, &payload[..]), (bytes[0], &bytes[1..]));
                }
                let again = match encode(layout, channel, &payload) {
                    Encoded::Binary(bytes) => bytes,
                    Encoded::Text(text) => Bytes::from(text),
                };
                // A digit has no room for more channels than this.
                if layout == Layout::Binary || channel < 80 {
                    let second = decode(layout, half_close, again);
                    assert_eq!(second, Ok(Said::Data(channel, payload)));
                }
            }
            Ok(Said::Close(channel)) => {
                assert!(half_close == HalfClose::Signal && bytes == [255, channel]);
            }
            Err(message::Malformed) => {
                assert!(layout == Layout::Base64 || bytes[0] == 255);
            }
        }
    }
});
