//! Makes `:authority` legal for clients that send a socket's path there.
//!
//! Some gRPC clients name the socket in `:authority`: percent-encoded (`%2Frun%2Fcarpel.sock`, C-core and grpc-go) or as
//! it is (`/run/carpel.sock`, old grpc-go). The `http` crate knows no such authority, and h2 resets the stream with
//! PROTOCOL_ERROR (hyperium/h2#487). Nobody reads the value on a unix socket, so it is changed before h2 sees it.
//!
//! How: the client's bytes are followed frame by frame, HPACK field by field (RFC 9113, RFC 7541), and in a literal
//! value of `:authority` every `%` becomes `.`, every `/` becomes `3`. The change is made **in place and never changes a
//! length**, neither of the bytes nor of the text: so frames, the windows and the dynamic tables of both ends (whose
//! entries are evicted by their size) stay in step, and nothing needs to be kept back. With Huffman coding this holds
//! because all four symbols have codes of 6 bits, which differ from the wanted one in a single bit:
//!
//! ```text
//! '%' 010101 → '.' 010111      ' ' 010100 → '-' 010110 (not told apart from '%' when the bit is changed; also illegal)
//! '/' 011000 → '3' 011001
//! ```
//!
//! A value is edited once, where it is sent as a literal; later requests refer to it in the dynamic table, where h2 has
//! put the edited one. What is not understood is left as it is, and h2 says what it says today.

/// What every HTTP/2 connection begins with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types and flags (RFC 9113 §6).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const FLAG_END_HEADERS: u8 = 0x4;
const FLAG_PADDED: u8 = 0x8;
const FLAG_PRIORITY: u8 = 0x20;

/// `:authority` in the static table (RFC 7541, appendix A).
const AUTHORITY_INDEX: u64 = 1;
/// `:authority` as a literal name, plain and in Huffman code (C-core sends names literally).
const AUTHORITY: &[u8] = b":authority";
const AUTHORITY_HUFFMAN: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];

/// Follows the bytes that one client sends. Starts at the beginning of the connection.
#[derive(Debug, Default)]
pub(super) struct AuthorityFilter {
    state: State,
    block: Block,
}

#[derive(Debug)]
enum State {
    /// So many bytes of the preface have come.
    Preface(usize),
    /// So many bytes of a frame's header have come.
    FrameHeader(usize, [u8; 9]),
    /// Inside the payload of a frame with a header block.
    Payload(Payload),
    /// Inside the payload of any other frame: so many bytes are left.
    Other(usize),
    /// Not HTTP/2, or not understood: everything passes.
    Passing,
}

const FRAME_BEGINS: State = State::FrameHeader(0, [0; 9]);

impl Default for State {
    fn default() -> Self {
        Self::Preface(0)
    }
}

#[derive(Debug, Clone, Copy)]
struct Payload {
    /// Bytes of the payload that have not come, padding included.
    left: usize,
    /// Whether the next byte is the length of the padding.
    pad_length_follows: bool,
    /// Bytes of the priority fields that have not come.
    priority_left: u8,
    /// Bytes of padding at the end.
    padding: usize,
    /// Whether the header block ends with this frame.
    ends_block: bool,
}

impl AuthorityFilter {
    /// Looks through the next bytes of the connection, and edits them where needed.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while let Some(byte) = bytes.get_mut(at) {
            at += 1;
            match &mut self.state {
                State::Passing => return,
                State::Other(left) => {
                    // This byte and all others of the payload that have come.
                    let here = (*left).min(bytes.len() - at + 1);
                    at += here - 1;
                    self.state = match *left - here {
                        0 => FRAME_BEGINS,
                        left => State::Other(left),
                    };
                }
                State::Preface(seen) => {
                    self.state = match (PREFACE[*seen] == *byte, *seen + 1) {
                        (false, _) => State::Passing,
                        (true, seen) if seen == PREFACE.len() => FRAME_BEGINS,
                        (true, seen) => State::Preface(seen),
                    };
                }
                State::FrameHeader(seen, header) => {
                    header[*seen] = *byte;
                    *seen += 1;
                    if *seen == header.len() {
                        let header = *header;
                        self.begin_payload(header);
                    }
                }
                State::Payload(payload) => {
                    let payload = *payload;
                    self.payload_byte(payload, byte);
                }
            }
        }
    }

    fn begin_payload(&mut self, header: [u8; 9]) {
        let [high, middle, low, kind, flags, ..] = header;
        let left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let is_headers = kind == HEADERS;
        if !is_headers && kind != CONTINUATION {
            self.state = match left {
                0 => FRAME_BEGINS,
                _ => State::Other(left),
            };
            return;
        }
        if is_headers {
            self.block = Block::default();
        }
        let payload = Payload {
            left,
            pad_length_follows: is_headers && flags & FLAG_PADDED != 0,
            priority_left: if is_headers && flags & FLAG_PRIORITY != 0 {
                5
            } else {
                0
            },
            padding: 0,
            ends_block: flags & FLAG_END_HEADERS != 0,
        };
        self.after_payload_byte(payload);
    }

    fn payload_byte(&mut self, mut payload: Payload, byte: &mut u8) {
        if payload.pad_length_follows {
            payload.pad_length_follows = false;
            payload.padding = usize::from(*byte);
        } else if payload.priority_left > 0 {
            payload.priority_left -= 1;
        } else if payload.left > payload.padding {
            self.block.byte(byte);
        }
        payload.left -= 1;
        self.after_payload_byte(payload);
    }

    fn after_payload_byte(&mut self, payload: Payload) {
        self.state = match (payload.left, &self.block.field) {
            // After a bad block nothing is known of where fields begin. h2 closes such connections.
            (_, Field::Lost) => State::Passing,
            (0, _) => {
                if payload.ends_block {
                    self.block = Block::default();
                }
                FRAME_BEGINS
            }
            _ => State::Payload(payload),
        };
    }
}

/// A header block, which may be cut into frames anywhere (RFC 7541 §6).
#[derive(Debug, Default)]
struct Block {
    field: Field,
    /// Whether the value that comes is that of `:authority`.
    is_authority: bool,
}

#[derive(Debug, Default)]
enum Field {
    /// At the first byte of a field.
    #[default]
    Start,
    /// In the index of a field without a literal, or a new size of the table.
    Index(Integer),
    /// In the index of a literal's name.
    NameIndex(Integer),
    /// In the length of a literal name, or at its first byte.
    NameLength(Option<(Integer, Coding)>),
    /// In a literal name.
    Name(Name),
    /// In the length of a value, or at its first byte.
    ValueLength(Option<(Integer, Coding)>),
    /// In a value: bytes left.
    Value(u64, Coding, Huffman),
    /// Not understood.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Plain,
    Huffman,
}

/// A literal name, as far as it has come.
#[derive(Debug, Clone, Copy)]
struct Name {
    /// Bytes that have not come; not 0.
    left: u64,
    /// Bytes that have come.
    seen: usize,
    coding: Coding,
    /// Whether those that have come are the first ones of `:authority`.
    is_authority: bool,
}

impl Name {
    fn begin(left: u64, coding: Coding) -> Self {
        Self {
            left,
            seen: 0,
            coding,
            is_authority: true,
        }
    }
}

impl Block {
    fn byte(&mut self, byte: &mut u8) {
        self.field = match std::mem::replace(&mut self.field, Field::Lost) {
            Field::Start => self.begin_field(*byte),
            Field::Index(integer) => match integer.next(*byte) {
                Step::More(integer) => Field::Index(integer),
                Step::Done(_) => Field::Start,
                Step::TooLarge => Field::Lost,
            },
            Field::NameIndex(integer) => self.name_index(integer.next(*byte)),
            Field::NameLength(begun) => match length(begun, *byte) {
                (Step::More(integer), coding) => Field::NameLength(Some((integer, coding))),
                (Step::Done(0), _) => Field::ValueLength(None),
                (Step::Done(left), coding) => Field::Name(Name::begin(left, coding)),
                (Step::TooLarge, _) => Field::Lost,
            },
            Field::Name(name) => self.name(*byte, name),
            Field::ValueLength(begun) => match length(begun, *byte) {
                (Step::More(integer), coding) => Field::ValueLength(Some((integer, coding))),
                (Step::Done(0), _) => Field::Start,
                (Step::Done(left), coding) => Field::Value(left, coding, Huffman::default()),
                (Step::TooLarge, _) => Field::Lost,
            },
            Field::Value(left, coding, mut huffman) => {
                match (self.is_authority, coding) {
                    (false, _) => {}
                    (true, Coding::Plain) => *byte = legal(*byte),
                    (true, Coding::Huffman) => huffman.edit(byte),
                }
                match left {
                    1 => Field::Start,
                    _ => Field::Value(left - 1, coding, huffman),
                }
            }
            Field::Lost => Field::Lost,
        };
    }

    /// The first byte of a field tells its form by its highest bits.
    fn begin_field(&mut self, byte: u8) -> Field {
        self.is_authority = false;
        let prefix_bits = match byte {
            0x80.. => 7,      // indexed
            0x40..=0x7f => 6, // literal that enters the table
            0x20..=0x3f => 5, // new size of the table
            _ => 4,           // literal that does not
        };
        let step = Integer::begin(byte, prefix_bits);
        if prefix_bits == 6 || prefix_bits == 4 {
            return self.name_index(step);
        }
        match step {
            Step::More(integer) => Field::Index(integer),
            Step::Done(_) | Step::TooLarge => Field::Start,
        }
    }

    fn name_index(&mut self, step: Step) -> Field {
        match step {
            Step::More(integer) => Field::NameIndex(integer),
            Step::Done(0) => Field::NameLength(None),
            Step::Done(index) => {
                self.is_authority = index == AUTHORITY_INDEX;
                Field::ValueLength(None)
            }
            Step::TooLarge => Field::Lost,
        }
    }

    fn name(&mut self, byte: u8, mut name: Name) -> Field {
        let expected = match name.coding {
            Coding::Plain => AUTHORITY,
            Coding::Huffman => AUTHORITY_HUFFMAN,
        };
        name.is_authority &= expected.get(name.seen) == Some(&byte);
        name.seen = name.seen.saturating_add(1);
        name.left -= 1;
        if name.left > 0 {
            return Field::Name(name);
        }
        self.is_authority = name.is_authority && name.seen == expected.len();
        Field::ValueLength(None)
    }
}

/// What stands for a byte of an authority.
fn legal(byte: u8) -> u8 {
    match byte {
        b'%' => b'.',
        b'/' => b'3',
        other => other,
    }
}

fn length(begun: Option<(Integer, Coding)>, byte: u8) -> (Step, Coding) {
    match begun {
        Some((integer, coding)) => (integer.next(byte), coding),
        None if byte & 0x80 != 0 => (Integer::begin(byte, 7), Coding::Huffman),
        None => (Integer::begin(byte, 7), Coding::Plain),
    }
}

/// An HPACK integer of which more bytes come (RFC 7541 §5.1).
#[derive(Debug, Clone, Copy)]
struct Integer {
    value: u64,
    shift: u32,
}

#[derive(Debug)]
enum Step {
    More(Integer),
    Done(u64),
    TooLarge,
}

impl Integer {
    fn begin(byte: u8, prefix_bits: u32) -> Step {
        let largest = (1 << prefix_bits) - 1;
        let value = u64::from(byte) & largest;
        match value == largest {
            true => Step::More(Self { value, shift: 0 }),
            false => Step::Done(value),
        }
    }

    fn next(self, byte: u8) -> Step {
        // Five bytes hold more than any length that h2 takes.
        if self.shift > 28 {
            return Step::TooLarge;
        }
        let value = self.value + (u64::from(byte & 0x7f) << self.shift);
        match byte & 0x80 {
            0 => Step::Done(value),
            _ => Step::More(Self {
                value,
                shift: self.shift + 7,
            }),
        }
    }
}

/// Finds symbols in Huffman-coded text, bit by bit. Codes of 5 to 8 bits are known, which every letter, digit and usual
/// sign of a path has; after a longer code nothing is edited any more, as it is not known where the next one begins.
#[derive(Debug, Clone, Copy, Default)]
struct Huffman {
    code: u8,
    bits: u32,
    is_lost: bool,
}

impl Huffman {
    fn edit(&mut self, byte: &mut u8) {
        for position in (0..8).rev() {
            if self.is_lost {
                return;
            }
            let mask = 1 << position;
            let bit = u8::from(*byte & mask != 0);
            self.code = self.code << 1 | bit;
            self.bits += 1;
            // The bit that makes '%' or '/' legal is changed the moment it comes.
            if matches!((self.bits, self.code), (5, 0b01010) | (6, 0b01_1000)) {
                *byte ^= mask;
                self.code ^= 1;
            }
            match (self.bits, self.code) {
                // The last codes of 5, 6, 7 and 8 bits (RFC 7541, appendix B); the code is canonical.
                (5, ..=0b0_1001) | (6, ..=0b10_1101) | (7, ..=0b111_1011) | (8, ..=0b1111_1101) => {
                    (self.code, self.bits) = (0, 0);
                }
                (8, _) => self.is_lost = true,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
