//! Bytes of netlink: building a request, walking the attributes of an answer.
//!
//! Layout: include/uapi/linux/netlink.h. Header and attributes are in host byte order and padded to 4.

/// Bytes of `struct nlmsghdr`: length, type, flags, sequence, port.
pub(super) const HEADER_LENGTH: usize = 16;
/// Bytes of `struct nlattr`: length and type.
const ATTRIBUTE_HEADER_LENGTH: usize = 4;
/// `NLA_TYPE_MASK`: the type without the bits "nested" and "in network byte order".
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;
/// `NLA_F_NESTED`, which nf_tables demands and rtnetlink ignores.
const NESTED: u16 = 0x8000;

/// One request. Lengths are filled in as parts are added, so the bytes are complete at every moment.
#[derive(Debug)]
pub(in crate::network) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message of `kind` with `flags` (`NLM_F_…`; `NLM_F_REQUEST` is always set) that starts with the
    /// family's own fixed header.
    pub(in crate::network) fn new(kind: u16, flags: u16, fixed_header: &[u8]) -> Self {
        const REQUEST: u16 = 1;
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed_header);
        let mut message = Self { bytes };
        message.finish();
        message
    }

    /// Adds an attribute with these bytes.
    pub(in crate::network) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
        self
    }

    /// Adds a text with the zero that ends it.
    pub(in crate::network) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
        self
    }

    /// Adds an attribute whose value is what `content` adds.
    pub(in crate::network) fn nested(
        &mut self,
        kind: u16,
        content: impl FnOnce(&mut Self),
    ) -> &mut Self {
        self.nested_after(kind | NESTED, &[], content)
    }

    /// Adds an attribute that starts with a fixed header, as `VETH_INFO_PEER` does, then what `content` adds.
    pub(in crate::network) fn nested_after(
        &mut self,
        kind: u16,
        fixed_header: &[u8],
        content: impl FnOnce(&mut Self),
    ) -> &mut Self {
        let start = self.open(kind);
        self.bytes.extend_from_slice(fixed_header);
        content(self);
        self.close(start);
        self
    }

    /// Sets `NLM_F_ACK`.
    pub(in crate::network) fn ask_for_acknowledgement(&mut self) {
        const ACKNOWLEDGE: u8 = 0x4;
        const FLAGS: usize = 6;
        // The flag is in the low byte of two.
        let low = FLAGS + usize::from(cfg!(target_endian = "big"));
        if let Some(flags) = self.bytes.get_mut(low) {
            *flags |= ACKNOWLEDGE;
        }
    }

    /// Numbers the message; answers carry the number.
    pub(super) fn set_sequence(&mut self, sequence: u32) {
        self.put(8, &sequence.to_ne_bytes());
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        // Our own requests stay far below 64 KiB; one that did not would be refused by the kernel as malformed.
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.put(start, &length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.finish();
    }

    fn finish(&mut self) {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.put(0, &length.to_ne_bytes());
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }
}

/// The attributes in `bytes`, as (type without flags, value); stops at the first malformed one.
pub(in crate::network) fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { rest: bytes }
}

/// Iterator of [`attributes`].
#[derive(Debug, Clone)]
pub(in crate::network) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The value of the first attribute of this type.
    pub(in crate::network) fn value_of(&self, kind: u16) -> Option<&'a [u8]> {
        let mut attributes = self.clone();
        attributes.find_map(|(found, value)| (found == kind).then_some(value))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(*self.rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*self.rest.get(2..)?.first_chunk()?) & ATTRIBUTE_TYPE_MASK;
        let value = self.rest.get(ATTRIBUTE_HEADER_LENGTH..length)?;
        self.rest = self
            .rest
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
        Some((kind, value))
    }
}

/// The text of an attribute, without the zero that ends it.
pub(in crate::network) fn text(value: &[u8]) -> String {
    let end = value
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// One message of a received packet.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) kind: u16,
    pub(super) sequence: u32,
    pub(super) payload: &'a [u8],
}

/// Splits a received packet into its messages; a malformed rest is dropped.
pub(super) fn parts(mut packet: &[u8]) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*packet.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*packet.get(4..)?.first_chunk()?);
        let sequence = u32::from_ne_bytes(*packet.get(8..)?.first_chunk()?);
        let payload = packet.get(HEADER_LENGTH..length)?;
        packet = packet.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Part {
            kind,
            sequence,
            payload,
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_has_the_bytes_that_the_kernel_documents() {
        let mut message = Message::new(16, 0x400, &[0xaa; 4]);
        message.text(3, "lo").nested(18, |inside| {
            inside.attribute(1, &[7]);
        });
        message.set_sequence(9);
        let mut expected: Vec<u8> = Vec::new();
        expected.extend(40u32.to_ne_bytes());
        expected.extend(16u16.to_ne_bytes());
        expected.extend(0x401u16.to_ne_bytes());
        expected.extend(9u32.to_ne_bytes());
        expected.extend([0; 4]);
        expected.extend([0xaa; 4]);
        expected.extend(7u16.to_ne_bytes());
        expected.extend(3u16.to_ne_bytes());
        expected.extend(*b"lo\0\0");
        expected.extend(12u16.to_ne_bytes());
        expected.extend(0x8012u16.to_ne_bytes());
        expected.extend(5u16.to_ne_bytes());
        expected.extend(1u16.to_ne_bytes());
        expected.extend([7, 0, 0, 0]);
        assert_eq!(message.bytes(), expected);
    }

    #[test]
    fn what_is_built_is_read_back() {
        let mut message = Message::new(16, 0, &[]);
        message.text(3, "eth0").attribute(4, &1500u32.to_ne_bytes());
        let packet = message.bytes().to_vec();
        let part = parts(&packet).next().unwrap();
        assert_eq!((part.kind, part.sequence), (16, 0));
        let found: Vec<_> = attributes(part.payload).collect();
        assert_eq!(
            found,
            [(3, &b"eth0\0"[..]), (4, &1500u32.to_ne_bytes()[..])]
        );
        assert_eq!(attributes(part.payload).value_of(5), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(attributes(&bytes).count() <= 50);
            prop_assert!(parts(&bytes).count() <= 13);
        }

        #[test]
        fn attributes_survive_the_round_trip(values in proptest::collection::vec((1u16..100, proptest::collection::vec(any::<u8>(), 0..40)), 0..12)) {
            let mut message = Message::new(1, 0, &[]);
            for (kind, value) in &values {
                message.attribute(*kind, value);
            }
            let read: Vec<(u16, Vec<u8>)> = attributes(&message.bytes()[HEADER_LENGTH..])
                .map(|(kind, value)| (kind, value.to_vec()))
                .collect();
            prop_assert_eq!(read, values);
        }
    }
}
