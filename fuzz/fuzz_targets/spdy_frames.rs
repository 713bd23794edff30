//! SPDY frames: whatever a client sends, however it is cut, is the same frames or the same refusal; what was understood can be
//! sent on.
#![no_main]

#[allow(dead_code, unused_imports, reason = "what the server needs besides")]
#[path = "../../src/streaming/spdy/codec/mod.rs"]
mod codec;

use bytes::BytesMut;
use codec::Decoder;
use codec::Encoder;
use codec::End;
use codec::Frame;
use libfuzzer_sys::fuzz_target;

/// The frames up to the first that is none, and whether there is one. Data comes in pieces: those of a stream are joined.
fn decode(bytes: &[u8], piece: usize) -> (Vec<Frame>, bool) {
    let mut decoder = Decoder::new();
    let mut frames: Vec<Frame> = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.buffer().extend_from_slice(piece);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => push(&mut frames, frame),
                Ok(None) => break,
                Err(_refused) => return (frames, true),
            }
        }
        assert!(decoder.buffer().len() < 17 << 10, "it holds more than a control frame");
    }
    (frames, false)
}

fn push(frames: &mut Vec<Frame>, frame: Frame) {
    if let Frame::Data { stream, end, bytes } = &frame
        && let Some(Frame::Data {
            stream: same,
            end: last @ End::Open,
            bytes: before,
        }) = frames.last_mut()
        && same == stream
    {
        *last = *end;
        *before = [before.as_ref(), bytes.as_ref()].concat().into();
        return;
    }
    frames.push(frame);
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = (usize::from(input.0).max(1), input.1);
    let whole = decode(bytes, bytes.len().max(1));
    assert_eq!(whole, decode(bytes, piece));
    let (mut encoder, mut again) = (Encoder::new(), BytesMut::new());
    for frame in &whole.0 {
        encoder.encode(frame, &mut again);
    }
    let (second, is_refused) = decode(&again, again.len().max(1));
    assert!(!is_refused);
    assert_eq!(second, whole.0);
});
