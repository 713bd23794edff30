//! The bytes on the socket, held by golden values: a shim of an older release must go on understanding them.

use carpel_shim_protocol::MAXIMUM_DESCRIPTORS;
use carpel_shim_protocol::MAXIMUM_INLINE_BYTES;
use carpel_shim_protocol::MAXIMUM_LARGE_BYTES;
use carpel_shim_protocol::framing::FramingError;
use carpel_shim_protocol::framing::Packet;
use carpel_shim_protocol::framing::Unpacked;
use carpel_shim_protocol::framing::decode;
use carpel_shim_protocol::framing::decode_large;
use carpel_shim_protocol::framing::encode;
use carpel_shim_protocol::message;
use carpel_shim_protocol::message::envelope::Body;
use proptest::prelude::*;

fn request(id: u64, operation: message::request::Operation) -> Body {
    Body::Request(message::Request {
        id,
        operation: Some(operation),
    })
}

fn bytes(packet: Packet) -> Vec<u8> {
    match packet {
        Packet::Inline(bytes) => bytes,
        Packet::Large { packet, .. } => packet,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of messages")]
fn golden_bytes_of_requests() {
    use message::request::Operation;
    let table = [
        (
            request(
                1,
                Operation::Hello(message::Hello {
                    version: 1,
                    last_event_sequence: 300,
                }),
            ),
            0,
            "1a09080112050801 10ac02",
        ),
        (
            request(
                2,
                Operation::StartContainer(message::StartContainer {
                    container_id: "a".into(),
                }),
            ),
            0,
            "1a0708022a030a0161",
        ),
        (
            request(
                3,
                Operation::SignalContainer(message::SignalContainer {
                    container_id: "a".into(),
                    signal: 15,
                    scope: message::SignalScope::All.into(),
                }),
            ),
            0,
            "1a0b080332070a0161100f1801",
        ),
        (
            request(
                4,
                Operation::Exec(message::Exec {
                    container_id: "a".into(),
                    exec_id: "e".into(),
                    process: None,
                    timeout_nanoseconds: 5,
                    ..message::Exec::default()
                }),
            ),
            3,
            "10031a0c080442080a016112016520 05",
        ),
        (
            request(
                8,
                Operation::CreateContainer(message::CreateContainer {
                    container_id: "a".into(),
                    oci_runtime: Some(message::OciRuntime {
                        program: "r".into(),
                        options: vec!["o".into()],
                        state_directory: "s".into(),
                        bundle: "b".into(),
                        configuration_head: "{".into(),
                        configuration_tail: "}".into(),
                        cgroup_mount: "c".into(),
                    }),
                    ..message::CreateContainer::default()
                }),
            ),
            0,
            "1a1f 0808 221b 0a0161 f20115 0a0172 12016f 1a0173 220162 2a017b 32017d 3a0163",
        ),
        (
            request(
                9,
                Operation::Exec(message::Exec {
                    container_id: "a".into(),
                    exec_id: "e".into(),
                    oci_process: "{}".into(),
                    ..message::Exec::default()
                }),
            ),
            3,
            "1003 1a0e 0809 420a 0a0161 120165 2a027b7d",
        ),
        (
            request(5, Operation::Shutdown(message::Shutdown {})),
            0,
            "1a0408055200",
        ),
        (
            request(
                6,
                Operation::Attach(message::Attach {
                    container_id: "a".into(),
                    stdin: true,
                    stdout: true,
                    stderr: false,
                    terminal: true,
                }),
            ),
            1,
            "1001 1a0d 0806 5a09 0a0161 1001 1801 2801",
        ),
        (
            request(
                7,
                Operation::CloseStdin(message::CloseStdin {
                    container_id: "a".into(),
                }),
            ),
            0,
            "1a07 0807 6203 0a0161",
        ),
        (
            request(
                8,
                Operation::KillExec(message::KillExec {
                    exec_id: "e".into(),
                }),
            ),
            0,
            "1a07 0808 6a03 0a0165",
        ),
    ];
    for (body, descriptors, golden) in table {
        let packet = bytes(encode(body.clone(), descriptors).unwrap());
        assert_eq!(hexadecimal(&packet), golden.replace(' ', ""), "{body:?}");
        let Unpacked::Message(envelope) = decode(&packet, descriptors).unwrap() else {
            panic!("small messages travel inline");
        };
        assert_eq!(envelope.body, Some(body));
    }
}

#[test]
fn golden_bytes_of_responses_and_events() {
    let failure = Body::Response(message::Response {
        id: 7,
        result: Some(message::response::Result::Failure(message::Failure {
            kind: message::FailureKind::FailureExecute.into(),
            step: "x".into(),
            errno: 2,
            detail: String::new(),
        })),
    });
    let packet = bytes(encode(failure, 0).unwrap());
    assert_eq!(hexadecimal(&packet), "220b0807120708041201781802");

    let exited = Body::Event(message::Event {
        sequence: 1,
        body: Some(message::event::Body::ContainerExited(
            message::ContainerExited {
                container_id: "a".into(),
                exit_code: 137,
                signal: 9,
                exited_at_nanoseconds: 1,
                killed_on_request: true,
                ..Default::default()
            },
        )),
    });
    let packet = bytes(encode(exited, 0).unwrap());
    assert_eq!(
        hexadecimal(&packet),
        "2a100801120c0a01611089011809 20012801".replace(' ', "")
    );
}

fn notice(length: usize) -> Body {
    Body::Event(message::Event {
        sequence: 1,
        body: Some(message::event::Body::Notice(message::Notice {
            text: "x".repeat(length),
        })),
    })
}

#[test]
fn a_large_envelope_travels_beside_the_packet() {
    let body = notice(MAXIMUM_INLINE_BYTES);
    let Packet::Large { packet, content } = encode(body.clone(), 2).unwrap() else {
        panic!("larger than a packet may be");
    };
    let unpacked = decode(&packet, 3).unwrap();
    assert_eq!(
        unpacked,
        Unpacked::Large {
            length: content.len()
        }
    );
    assert_eq!(decode_large(&content, 2).unwrap().body, Some(body));
    assert_eq!(
        decode_large(&content, 1),
        Err(FramingError::DescriptorCount {
            named: 2,
            received: 1
        })
    );
    assert_eq!(hexadecimal(&packet), "0890 8002".replace(' ', ""));
}

#[test]
fn what_the_receiver_would_refuse_is_not_sent() {
    assert!(matches!(
        encode(notice(MAXIMUM_LARGE_BYTES), 0),
        Err(FramingError::TooLarge { .. })
    ));
    assert_eq!(
        encode(notice(1), MAXIMUM_DESCRIPTORS),
        Err(FramingError::TooManyDescriptors {
            count: MAXIMUM_DESCRIPTORS
        })
    );
}

#[test]
fn bad_packets_are_told_apart() {
    let table: [(&[u8], usize, FramingError); 5] = [
        (b"\xff", 0, FramingError::NotAnEnvelope),
        (b"", 0, FramingError::NoBody),
        (
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0x0f],
            1,
            FramingError::TooLarge {
                length: 0xffff_ffff,
            },
        ),
        (
            &[0x08, 0x10],
            0,
            FramingError::DescriptorCount {
                named: 1,
                received: 0,
            },
        ),
        // A large length and a body at once.
        (&[0x08, 0x10, 0x2a, 0x00], 1, FramingError::NoBody),
    ];
    for (packet, descriptors, error) in table {
        assert_eq!(decode(packet, descriptors), Err(error), "{packet:02x?}");
    }
}

#[test]
fn fields_of_a_newer_release_are_ignored() {
    let mut packet = bytes(
        encode(
            request(
                5,
                message::request::Operation::Shutdown(message::Shutdown {}),
            ),
            0,
        )
        .unwrap(),
    );
    // Field 1000, length-delimited, one byte.
    packet.extend([0xc2, 0x3e, 0x01, 0x00]);
    assert!(matches!(decode(&packet, 0), Ok(Unpacked::Message(_))));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(packet in proptest::collection::vec(any::<u8>(), 0..512), descriptors in 0_usize..9) {
        drop(decode(&packet, descriptors));
        drop(decode_large(&packet, descriptors));
    }

    #[test]
    fn what_is_encoded_is_decoded(length in 0_usize..70_000, descriptors in 0_usize..8) {
        let body = notice(length);
        match encode(body.clone(), descriptors).unwrap() {
            Packet::Inline(packet) => {
                let Unpacked::Message(envelope) = decode(&packet, descriptors).unwrap() else {
                    panic!("inline");
                };
                prop_assert_eq!(envelope.body, Some(body));
            }
            Packet::Large { packet, content } => {
                prop_assert_eq!(decode(&packet, descriptors + 1).unwrap(), Unpacked::Large { length: content.len() });
                prop_assert_eq!(decode_large(&content, descriptors).unwrap().body, Some(body));
            }
        }
    }
}
