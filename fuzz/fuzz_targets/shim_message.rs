//! Packets of the shim protocol: nothing that comes over the socket may do more than be refused.
#![no_main]

use carpel_shim_protocol::framing;
use carpel_shim_protocol::framing::Packet;
use carpel_shim_protocol::framing::Unpacked;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (descriptors, bytes) = (usize::from(input.0 % 10), input.1);
    if let Ok(Unpacked::Message(envelope)) = framing::decode(bytes, descriptors) {
        // What is understood can be sent on, and is the same then.
        let Some(body) = envelope.body else {
            panic!("an envelope without a body was taken");
        };
        if let Ok(Packet::Inline(again)) = framing::encode(body.clone(), descriptors) {
            let Ok(Unpacked::Message(second)) = framing::decode(&again, descriptors) else {
                panic!("what was encoded cannot be decoded");
            };
            assert_eq!(second.body, Some(body));
        }
    }
    // A large message holds no other.
    let large = framing::decode_large(bytes, descriptors);
    assert!(large.is_err() || large.is_ok_and(|envelope| envelope.large_length == 0));
});
