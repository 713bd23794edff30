//! The CRI log splitter: whatever a container writes, in whatever pieces, comes out once, in order, in lines of the right size.
#![no_main]

#[allow(dead_code, reason = "what the writer needs besides")]
#[path = "../../shim/src/log/lines.rs"]
mod lines;
#[allow(dead_code, reason = "only the length of a timestamp is of use here")]
#[path = "../../shim/src/log/timestamp.rs"]
mod timestamp;

use libfuzzer_sys::fuzz_target;
use lines::Header;
use lines::MAXIMUM_PAYLOAD;
use lines::Output;

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (repeat, chunk, pattern) = (usize::from(input.0), usize::from(input.1).max(1), input.2);
    // Repeated, so that lines longer than a payload are found soon.
    let bytes = pattern.repeat(repeat.max(1));
    let header = Header::new(b"2016-10-06T00:17:09.669794202Z", Output::Stderr);
    let mut again = Vec::with_capacity(bytes.len());
    let mut emit = |head: &[u8], payload: &[u8]| {
        assert!(payload.len() <= MAXIMUM_PAYLOAD && !payload.contains(&b'\n'));
        again.extend_from_slice(payload);
        if head.ends_with(b" F ") {
            again.push(b'\n');
        }
    };
    let mut left = Vec::new();
    for piece in bytes.chunks(chunk) {
        left.extend_from_slice(piece);
        let rest = lines::split(&left, &header, &mut emit).len();
        assert!(rest <= MAXIMUM_PAYLOAD);
        left.drain(..left.len() - rest);
    }
    lines::split_end(&left, &header, &mut emit);
    assert_eq!(again, bytes);
});
