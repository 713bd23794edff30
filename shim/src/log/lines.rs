//! Bytes of a stream become the lines of the CRI log format: `<time> stdout F <line>`. Pure; nothing is read or written.
//!
//! A line longer than 16 KiB is cut into pieces of exactly 16 KiB, tagged P; its last piece is tagged F. A line that the
//! stream's end cuts off is tagged P. Bytes pass as they are, NUL and invalid UTF-8 too.

use super::timestamp;
use carpel_linux::memory::find_byte;

/// The most payload of one log line, in bytes: what containerd and CRI-O use, and what the kubelet expects.
pub(crate) const MAXIMUM_PAYLOAD: usize = 16 * 1024;

/// Time, stream and tag with their spaces.
const HEADER: usize = timestamp::LENGTH + 10;

/// The most bytes of one log line, its newline included.
pub(crate) const MAXIMUM_LINE: usize = HEADER + MAXIMUM_PAYLOAD + 1;

/// Which output of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

/// What stands before every line of one batch.
#[derive(Debug)]
pub(crate) struct Header {
    full: [u8; HEADER],
    partial: [u8; HEADER],
}

impl Header {
    pub(crate) fn new(time: &[u8; timestamp::LENGTH], output: Output) -> Self {
        let with_tag = |tag: &[u8; 3]| {
            let name: &[u8; 7] = match output {
                Output::Stdout => b" stdout",
                Output::Stderr => b" stderr",
            };
            let mut header = [0; HEADER];
            for (to, from) in header.iter_mut().zip(time.iter().chain(name).chain(tag)) {
                *to = *from;
            }
            header
        };
        Self {
            full: with_tag(b" F "),
            partial: with_tag(b" P "),
        }
    }
}

/// Gives each complete log line of `bytes` to `emit`, as header and payload without the newline. Returned is what is left:
/// at most 16 KiB of an unfinished line, to be put before the next bytes of the stream.
pub(crate) fn split<'a>(
    bytes: &'a [u8],
    header: &Header,
    mut emit: impl FnMut(&[u8], &[u8]),
) -> &'a [u8] {
    let mut rest = bytes;
    loop {
        // One byte more than a payload: a line of exactly 16 KiB is full, not partial, if a newline follows.
        let window = rest.get(..=MAXIMUM_PAYLOAD).unwrap_or(rest);
        if let Some(length) = find_byte(b'\n', window) {
            let (line, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            emit(&header.full, line);
            rest = after.get(1..).unwrap_or_default();
        } else if window.len() > MAXIMUM_PAYLOAD {
            let (piece, after) = rest
                .split_at_checked(MAXIMUM_PAYLOAD)
                .unwrap_or((rest, &[]));
            emit(&header.partial, piece);
            rest = after;
        } else {
            return rest;
        }
    }
}

/// The unfinished line at the end of a stream.
pub(crate) fn split_end(left: &[u8], header: &Header, mut emit: impl FnMut(&[u8], &[u8])) {
    if !left.is_empty() {
        emit(&header.partial, left);
    }
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test says what went wrong by panicking"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: &[u8; timestamp::LENGTH] = b"2016-10-06T00:17:09.669794202Z";

    /// The log that comes of a stream which arrives in these chunks.
    fn log(chunks: &[&[u8]], output: Output) -> Vec<u8> {
        let header = Header::new(TIME, output);
        let (mut log, mut left) = (Vec::new(), Vec::new());
        let mut emit = |head: &[u8], payload: &[u8]| {
            log.extend_from_slice(head);
            log.extend_from_slice(payload);
            log.push(b'\n');
        };
        for chunk in chunks {
            left.extend_from_slice(chunk);
            let length = split(&left, &header, &mut emit).len();
            assert!(length <= MAXIMUM_PAYLOAD);
            left.drain(..left.len() - length);
        }
        split_end(&left, &header, &mut emit);
        log
    }

    /// The same said in another way: byte for byte, over the whole stream.
    fn reference(bytes: &[u8], output: &str) -> Vec<u8> {
        let time = String::from_utf8(TIME.to_vec()).unwrap();
        let mut log = Vec::new();
        let mut write = |tag: char, line: &mut Vec<u8>| {
            log.extend(format!("{time} {output} {tag} ").bytes());
            log.append(line);
            log.push(b'\n');
        };
        let mut line = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                write('F', &mut line);
                continue;
            }
            if line.len() == MAXIMUM_PAYLOAD {
                write('P', &mut line);
            }
            line.push(*byte);
        }
        if !line.is_empty() {
            write('P', &mut line);
        }
        log
    }

    #[test]
    fn golden_lines() {
        assert_eq!(
            log(&[b"hello\n\nno ", b"newline"], Output::Stdout),
            b"2016-10-06T00:17:09.669794202Z stdout F hello\n\
              2016-10-06T00:17:09.669794202Z stdout F \n\
              2016-10-06T00:17:09.669794202Z stdout P no newline\n"
        );
        assert_eq!(
            log(&[b"\0\xff\xfe\r\n"], Output::Stderr),
            b"2016-10-06T00:17:09.669794202Z stderr F \0\xff\xfe\r\n"
        );
        assert_eq!(log(&[b""], Output::Stderr), b"");
    }

    #[test]
    fn a_line_of_exactly_16_kib_is_one_full_line_and_one_byte_more_makes_two() {
        let line = vec![b'x'; MAXIMUM_PAYLOAD];
        let header = "2016-10-06T00:17:09.669794202Z stdout ";
        let text = String::from_utf8(line.clone()).unwrap();
        let expected = format!("{header}F {text}\n");
        assert_eq!(log(&[&line, b"\n"], Output::Stdout), expected.as_bytes());
        let expected = format!("{header}P {text}\n{header}F y\n");
        assert_eq!(log(&[&line, b"y\n"], Output::Stdout), expected.as_bytes());
        let expected = format!("{header}P {text}\n");
        assert_eq!(log(&[&line], Output::Stdout), expected.as_bytes());
    }

    /// Streams with short and very long lines, and places to cut them.
    fn streams() -> impl Strategy<Value = (Vec<u8>, Vec<prop::sample::Index>)> {
        let piece = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(any::<u8>().prop_filter("newline", |b| *b != b'\n'), 0..200)
                .prop_map(|mut line| {
                    line.push(b'\n');
                    line
                }),
            (16_000_usize..16_800, 1_usize..3)
                .prop_map(|(length, times)| vec![b'L'; length * times]),
            Just(b"\n".to_vec()),
        ];
        let bytes = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
        (
            bytes,
            prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        )
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_lines_of_the_whole((bytes, cuts) in streams()) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(log(&chunks, Output::Stdout), reference(&bytes, "stdout"));
        }

        #[test]
        fn the_payloads_are_the_stream((bytes, _) in streams()) {
            let header = Header::new(TIME, Output::Stdout);
            let mut again = Vec::new();
            let mut emit = |head: &[u8], payload: &[u8]| {
                assert!(payload.len() <= MAXIMUM_PAYLOAD);
                again.extend_from_slice(payload);
                if head.ends_with(b" F ") {
                    again.push(b'\n');
                }
            };
            let left = split(&bytes, &header, &mut emit).to_vec();
            split_end(&left, &header, &mut emit);
            prop_assert_eq!(again, bytes);
        }
    }
}
