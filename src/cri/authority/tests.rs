//! Requests as clients encode them, cut into pieces anywhere.

use proptest::prelude::*;

use super::*;

/// The symbols of the HPACK Huffman code with 5, 6, 7 and 8 bits, in the order of their codes (RFC 7541, appendix B).
const SYMBOLS: [(u32, u32, &str); 4] = [
    (5, 0b0_0000, "012aceiost"),
    (6, 0b01_0100, " %-./3456789=A_bdfghlmnpru"),
    (7, 0b101_1100, ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, 0b1111_1000, "&*,;XZ"),
];

#[derive(Debug, Clone, Copy)]
enum NameForm {
    Static,
    Literal,
    HuffmanLiteral,
}

fn huffman(text: &str) -> Vec<u8> {
    let mut bits = String::new();
    for letter in text.chars() {
        let (length, code) = SYMBOLS
            .iter()
            .find_map(|(length, first, symbols)| {
                let index = symbols.find(letter)?;
                Some((*length as usize, first + u32::try_from(index).unwrap()))
            })
            .unwrap();
        bits.push_str(&format!("{code:0length$b}"));
    }
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    let bytes = bits.as_bytes().chunks(8);
    bytes
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect()
}

fn integer(first: u8, prefix_bits: u32, mut value: usize, block: &mut Vec<u8>) {
    let largest = (1 << prefix_bits) - 1;
    if value < largest {
        block.push(first | u8::try_from(value).unwrap());
        return;
    }
    block.push(first | u8::try_from(largest).unwrap());
    value -= largest;
    while value >= 128 {
        block.push(u8::try_from(value % 128).unwrap() | 0x80);
        value /= 128;
    }
    block.push(u8::try_from(value).unwrap());
}

fn text(value: &str, coding: Coding, block: &mut Vec<u8>) {
    let (flag, bytes) = match coding {
        Coding::Plain => (0, value.as_bytes().to_vec()),
        Coding::Huffman => (0x80, huffman(value)),
    };
    integer(flag, 7, bytes.len(), block);
    block.extend(bytes);
}

/// `:method: POST`, the authority, a field with the authority as its value, and a reference to the new table entry.
fn block(authority: &str, other: &str, name: NameForm, coding: Coding, form: u8) -> Vec<u8> {
    let mut block = vec![0x83];
    let prefix_bits = if form == 0x40 { 6 } else { 4 };
    match name {
        NameForm::Static => integer(form, prefix_bits, 1, &mut block),
        NameForm::Literal => {
            block.push(form);
            text(":authority", Coding::Plain, &mut block);
        }
        NameForm::HuffmanLiteral => {
            block.push(form);
            text(":authority", Coding::Huffman, &mut block);
        }
    }
    text(authority, coding, &mut block);
    block.push(0x40);
    text("x-other", Coding::Plain, &mut block);
    text(other, coding, &mut block);
    block.extend([0x3f, 0xe1, 0x1f, 0xbe]);
    block
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, 1]);
    frame.extend(payload);
    frame
}

/// A connection with two requests; the header blocks are cut into a HEADERS and a CONTINUATION frame.
fn connection(block: &[u8], cut: usize, padding: u8) -> Vec<u8> {
    let cut = cut.min(block.len());
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(4, 0, &[0, 3, 0, 0, 0, 100]));
    for _request in 0..2 {
        let mut payload = vec![padding, 0, 0, 0, 0, 16];
        payload.extend(&block[..cut]);
        payload.extend(vec![b'/'; padding.into()]);
        bytes.extend(frame(HEADERS, FLAG_PADDED | FLAG_PRIORITY, &payload));
        bytes.extend(frame(CONTINUATION, FLAG_END_HEADERS, &block[cut..]));
        bytes.extend(frame(0, 1, b"\x00%2F/data/is/left/alone"));
    }
    bytes
}

fn passed(mut bytes: Vec<u8>, pieces: &[usize]) -> Vec<u8> {
    let mut filter = AuthorityFilter::default();
    let mut rest = bytes.as_mut_slice();
    for piece in pieces.iter().chain([&usize::MAX]) {
        let (head, tail) = rest.split_at_mut((*piece).min(rest.len()));
        filter.pass(head);
        rest = tail;
    }
    bytes
}

fn name_forms() -> impl Strategy<Value = NameForm> {
    prop::sample::select(vec![
        NameForm::Static,
        NameForm::Literal,
        NameForm::HuffmanLiteral,
    ])
}

fn codings() -> impl Strategy<Value = Coding> {
    prop::sample::select(vec![Coding::Plain, Coding::Huffman])
}

proptest! {
    #[test]
    fn an_authority_becomes_legal_wherever_the_bytes_are_cut(
        authority in "[a-zA-Z0-9_.:/%-]{0,300}",
        other in "[a-z/%]{0,20}",
        name in name_forms(),
        coding in codings(),
        form in prop::sample::select(vec![0x40_u8, 0x00, 0x10]),
        cut in 0..400_usize,
        padding in 0..9_u8,
        pieces in prop::collection::vec(0..60_usize, 0..40),
    ) {
        let wanted = authority.replace('%', ".").replace('/', "3");
        let sent = connection(&block(&authority, &other, name, coding, form), cut, padding);
        let expected = connection(&block(&wanted, &other, name, coding, form), cut, padding);
        prop_assert_eq!(passed(sent, &pieces), expected);
    }

    #[test]
    fn a_legal_authority_is_left_alone(
        authority in "[a-zA-Z0-9_.:-]{0,60}",
        coding in codings(),
    ) {
        let sent = connection(&block(&authority, "/%", NameForm::Static, coding, 0x40), 20, 3);
        prop_assert_eq!(passed(sent.clone(), &[1, 2, 3]), sent);
    }

    #[test]
    fn any_bytes_pass_the_same_way_in_one_piece_and_in_many(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        has_preface in any::<bool>(),
        pieces in prop::collection::vec(0..40_usize, 0..40),
    ) {
        let mut sent = if has_preface { PREFACE.to_vec() } else { Vec::new() };
        sent.extend(bytes);
        prop_assert_eq!(passed(sent.clone(), &pieces), passed(sent, &[]));
    }

    #[test]
    fn any_header_block_keeps_its_length(
        block in prop::collection::vec(any::<u8>(), 0..200),
        cut in 0..200_usize,
    ) {
        let sent = connection(&block, cut, 0);
        prop_assert_eq!(passed(sent.clone(), &[7]).len(), sent.len());
    }
}

#[test]
fn the_huffman_form_of_the_name_is_right() {
    assert_eq!(huffman(":authority"), AUTHORITY_HUFFMAN);
    // RFC 7541, appendix C.4.1.
    assert_eq!(
        huffman("www.example.com"),
        [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff
        ]
    );
}

#[test]
fn what_is_not_http2_passes() {
    let bytes = b"GET /%2F HTTP/1.1\r\n:authority: /\r\n".to_vec();
    assert_eq!(passed(bytes.clone(), &[]), bytes);
}
