//! What is encoded is decoded, however it is cut; bytes of the specification are read as it says.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

fn encoded(frames: &[Frame]) -> BytesMut {
    let (mut encoder, mut bytes) = (Encoder::new(), BytesMut::new());
    for frame in frames {
        encoder.encode(frame, &mut bytes);
    }
    bytes
}

/// Decodes bytes that come in pieces of these lengths, the rest at last.
fn decoded(bytes: &[u8], lengths: &[usize]) -> Result<Vec<Frame>, FrameError> {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    let mut rest = bytes;
    for length in lengths.iter().copied().chain([bytes.len()]) {
        let (piece, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        rest = after;
        decoder.buffer().extend_from_slice(piece);
        while let Some(frame) = decoder.next()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

/// Joins the pieces of data frames, and what belongs to them: pieces have no end, and no bytes of their own.
fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut all: Vec<Frame> = Vec::new();
    for frame in frames {
        if let Frame::Data { stream, end, bytes } = &frame
            && let Some(Frame::Data {
                stream: same,
                end: last @ End::Open,
                bytes: before,
            }) = all.last_mut()
            && same == stream
        {
            *last = *end;
            *before = [before.clone(), bytes.clone()].concat().into();
            continue;
        }
        all.push(frame);
    }
    all
}

fn headers() -> impl Strategy<Value = Headers> {
    proptest::collection::btree_map("[a-z0-9:-]{1,20}", ".{0,40}", 0..10)
        .prop_map(|map| Headers(map.into_iter().collect()))
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Open), Just(End::Finished)]
}

fn frame() -> impl Strategy<Value = Frame> {
    let number = || 0..=0x7fff_ffff_u32;
    prop_oneof![
        (number(), 0..8_u8, end(), headers()).prop_map(|(stream, priority, end, headers)| {
            Frame::SynStream {
                stream,
                priority,
                end,
                headers,
            }
        }),
        (number(), end(), headers()).prop_map(|(stream, end, headers)| Frame::SynReply {
            stream,
            end,
            headers
        }),
        (number(), any::<u32>()).prop_map(|(stream, status)| Frame::Reset { stream, status }),
        proptest::collection::vec((0..=0xff_ffff_u32, any::<u32>()), 0..5)
            .prop_map(Frame::Settings),
        any::<u32>().prop_map(Frame::Ping),
        (number(), any::<u32>()).prop_map(|(last_stream, status)| Frame::GoAway {
            last_stream,
            status
        }),
        (number(), end(), headers()).prop_map(|(stream, end, headers)| Frame::Headers {
            stream,
            end,
            headers
        }),
        (number(), number()).prop_map(|(stream, delta)| Frame::WindowUpdate { stream, delta }),
        (
            number(),
            end(),
            proptest::collection::vec(any::<u8>(), 0..100),
            1..900_usize
        )
            .prop_map(|(stream, end, bytes, repeat)| {
                Frame::Data {
                    stream,
                    end,
                    bytes: bytes.repeat(repeat).into(),
                }
            }),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_however_it_is_cut(
        frames in proptest::collection::vec(frame(), 0..12),
        lengths in proptest::collection::vec(0..70_usize, 0..40),
    ) {
        let bytes = encoded(&frames);
        let again = decoded(&bytes, &lengths).unwrap();
        prop_assert_eq!(joined(again), joined(frames));
    }

    #[test]
    fn bytes_of_no_sense_are_refused_and_nothing_else(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        lengths in proptest::collection::vec(0..70_usize, 0..10),
    ) {
        let whole = decoded(&bytes, &[]);
        let pieces = decoded(&bytes, &lengths);
        prop_assert_eq!(whole.map(joined), pieces.map(joined));
    }
}

#[test]
fn golden_frames() {
    let table: &[(Frame, &[u8])] = &[
        (Frame::Ping(7), &[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 7]),
        (
            Frame::Reset {
                stream: 3,
                status: ResetStatus::Cancel.code(),
            },
            &[0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0, 5],
        ),
        (
            Frame::GoAway {
                last_stream: 9,
                status: 1,
            },
            &[0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 1],
        ),
        (
            Frame::WindowUpdate {
                stream: 5,
                delta: 65536,
            },
            &[0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 5, 0, 1, 0, 0],
        ),
        (
            Frame::Settings(vec![(7, 65536)]),
            &[
                0x80, 3, 0, 4, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 7, 0, 1, 0, 0,
            ],
        ),
        (
            Frame::Data {
                stream: 1,
                end: End::Finished,
                bytes: Bytes::from_static(b"hi"),
            },
            &[0, 0, 0, 1, 1, 0, 0, 2, b'h', b'i'],
        ),
    ];
    for (frame, bytes) in table {
        assert_eq!(encoded(std::slice::from_ref(frame)), *bytes, "{frame:?}");
        assert_eq!(
            decoded(bytes, &[1, 2, 3]).unwrap().pop().as_ref(),
            Some(frame)
        );
    }
}

/// A SYN_STREAM that moby/spdystream 0.5.1 sent: stream 1, `streamType: error`, with Go's compressor and the dictionary.
#[test]
fn the_frame_of_a_go_client_is_read() {
    let bytes = include_bytes!("go_syn_stream.bin");
    let frames = decoded(bytes, &[]).unwrap();
    assert_eq!(
        frames,
        [
            Frame::SynStream {
                stream: 1,
                priority: 0,
                end: End::Open,
                headers: Headers(vec![("streamtype".to_owned(), "error".to_owned())]),
            },
            Frame::SynStream {
                stream: 3,
                priority: 0,
                end: End::Finished,
                headers: Headers(vec![("streamtype".to_owned(), "stdin".to_owned())]),
            },
        ]
    );
}

#[test]
fn a_bomb_of_headers_is_refused_before_it_takes_memory() {
    let bomb = Headers(vec![("a".to_owned(), "b".repeat(1 << 20))]);
    let bytes = encoded(&[Frame::SynReply {
        stream: 1,
        end: End::Open,
        headers: bomb,
    }]);
    assert!(
        bytes.len() < 16 << 10,
        "{} bytes are a control frame",
        bytes.len()
    );
    assert_eq!(decoded(&bytes, &[]), Err(FrameError::TooManyHeaders));
    let many = (0..65).map(|number| (format!("name-{number}"), String::new()));
    let frame = Frame::SynReply {
        stream: 1,
        end: End::Open,
        headers: Headers(many.collect()),
    };
    assert_eq!(
        decoded(&encoded(&[frame]), &[]),
        Err(FrameError::TooManyHeaders)
    );
}

#[test]
fn malformed_frames_are_refused() {
    let table: &[(&[u8], FrameError)] = &[
        (
            &[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 7],
            FrameError::Version(2),
        ),
        (&[0x80, 3, 0, 6, 0, 1, 0, 0], FrameError::TooLong(65536)),
        (
            &[0x80, 3, 0, 6, 0, 0, 0, 3, 0, 0, 0],
            FrameError::Malformed(6),
        ),
        (
            &[0x80, 3, 0, 6, 0, 0, 0, 5, 0, 0, 0, 1, 2],
            FrameError::Malformed(6),
        ),
        (
            &[0x80, 3, 0, 4, 0, 0, 0, 4, 0, 0, 0, 9],
            FrameError::Malformed(4),
        ),
        (
            &[0x80, 3, 0, 2, 0, 0, 0, 8, 0, 0, 0, 1, 9, 9, 9, 9],
            FrameError::Compression,
        ),
    ];
    for (bytes, error) in table {
        assert_eq!(decoded(bytes, &[]).as_ref(), Err(error), "{bytes:?}");
    }
    assert_eq!(
        decoded(&[0x80, 3, 0, 99, 0, 0, 0, 1, 7], &[]),
        Ok(vec![Frame::Unknown(99)])
    );
}
