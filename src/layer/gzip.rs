//! Reading gzip (RFC 1952), of one member or several, with as little work as the caller allows.
//!
//! A layer's uncompressed bytes are hashed by SHA-256 and compared with its diff id, beside which the CRC-32 of the
//! format proves nothing; leaving it out saves a pass over all bytes. The length of each member is compared always.

use std::io::{self, BufRead, Read};

use flate2::{Crc, Decompress, FlushDecompress, Status};
use oci_spec::image::Digest;

/// The flags of a member's header (RFC 1952 §2.3.1).
const HEADER_CHECKSUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// The longest name or comment that is passed over.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Who proves that the bytes are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The caller, who compares a digest of all that comes out.
    Digest,
    /// The format's own checksum.
    Checksum,
}

impl Proof {
    /// Bytes whose digest is expected are proved by it.
    pub(super) fn of(expected: Option<&Digest>) -> Self {
        match expected {
            Some(_) => Self::Digest,
            None => Self::Checksum,
        }
    }
}

/// Inflates a stream of members; what follows the last one has to be another one.
pub(super) struct GzipReader<R> {
    source: R,
    inflater: Decompress,
    place: Place,
    /// Bytes of the member so far, modulo 2^32 as in its trailer.
    length: u32,
    checksum: Option<Crc>,
}

enum Place {
    FirstHeader,
    /// After a member: another one, or the end.
    NextHeader,
    Body,
    Trailer,
    End,
}

impl<R: BufRead> GzipReader<R> {
    pub(super) fn new(source: R, proof: Proof) -> Self {
        Self {
            source,
            inflater: Decompress::new(false),
            place: Place::FirstHeader,
            length: 0,
            checksum: (proof == Proof::Checksum).then(Crc::new),
        }
    }

    fn header(&mut self) -> io::Result<()> {
        let mut header = Header {
            source: &mut self.source,
            checksum: Crc::new(),
        };
        let [magic, magic_too, method, flags, ..] = header.bytes::<10>()?;
        if (magic, magic_too, method) != (0x1f, 0x8b, 8) || flags & RESERVED != 0 {
            return Err(broken("no header of gzip"));
        }
        if flags & EXTRA != 0 {
            let length = u16::from_le_bytes(header.bytes()?);
            for _ in 0..length {
                header.bytes::<1>()?;
            }
        }
        for flag in [NAME, COMMENT] {
            if flags & flag != 0 {
                header.text()?;
            }
        }
        if flags & HEADER_CHECKSUM != 0 {
            let expected = header.checksum.sum().to_le_bytes();
            if header.bytes()? != [expected[0], expected[1]] {
                return Err(broken("a wrong checksum of the header of gzip"));
            }
        }
        self.inflater.reset(false);
        self.length = 0;
        if let Some(checksum) = &mut self.checksum {
            checksum.reset();
        }
        Ok(())
    }

    /// Inflates as much as one piece of the source gives, which may be nothing.
    fn body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.source.fill_buf()?;
        let is_at_end = piece.is_empty();
        let (consumed, made) = (self.inflater.total_in(), self.inflater.total_out());
        let outcome = self
            .inflater
            .decompress(piece, buffer, FlushDecompress::None);
        let status = outcome.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let consumed = usize::try_from(self.inflater.total_in() - consumed).unwrap_or(0);
        let made = usize::try_from(self.inflater.total_out() - made).unwrap_or(0);
        self.source.consume(consumed);
        let made_bytes = &buffer[..made];
        self.length = self
            .length
            .wrapping_add(u32::try_from(made as u64 & u64::from(u32::MAX)).unwrap_or(0));
        if let Some(checksum) = &mut self.checksum {
            checksum.update(made_bytes);
        }
        match status {
            Status::StreamEnd => self.place = Place::Trailer,
            Status::Ok | Status::BufError if made > 0 || consumed > 0 => {}
            // Neither bytes nor an end come out of nothing.
            _ if is_at_end => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => return Err(broken("compressed bytes that lead nowhere")),
        }
        Ok(made)
    }

    fn trailer(&mut self) -> io::Result<()> {
        let mut bytes = [0; 8];
        self.source.read_exact(&mut bytes)?;
        let [sum @ .., _, _, _, _] = bytes;
        let [_, _, _, _, length @ ..] = bytes;
        if u32::from_le_bytes(length) != self.length {
            return Err(broken("another length than the trailer of gzip says"));
        }
        match &self.checksum {
            Some(found) if found.sum() != u32::from_le_bytes(sum) => {
                Err(broken("another checksum than the trailer of gzip says"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.place {
                Place::End => return Ok(0),
                Place::NextHeader if self.source.fill_buf()?.is_empty() => self.place = Place::End,
                Place::FirstHeader | Place::NextHeader => {
                    self.header()?;
                    self.place = Place::Body;
                }
                Place::Body => {
                    let made = self.body(buffer)?;
                    if made > 0 {
                        return Ok(made);
                    }
                }
                Place::Trailer => {
                    self.trailer()?;
                    self.place = Place::NextHeader;
                }
            }
        }
    }
}

/// The header of a member, whose bytes have a checksum of their own.
struct Header<'a, R> {
    source: &'a mut R,
    checksum: Crc,
}

impl<R: BufRead> Header<'_, R> {
    fn bytes<const COUNT: usize>(&mut self) -> io::Result<[u8; COUNT]> {
        let mut bytes = [0; COUNT];
        self.source.read_exact(&mut bytes)?;
        self.checksum.update(&bytes);
        Ok(bytes)
    }

    /// Passes over a text that ends with a zero.
    fn text(&mut self) -> io::Result<()> {
        for _ in 0..TEXT_BYTES_MAX {
            if self.bytes()? == [0] {
                return Ok(());
            }
        }
        Err(broken("a name or comment of gzip without an end"))
    }
}

fn broken(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use flate2::bufread::MultiGzDecoder;
    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;

    use super::*;

    fn member(bytes: &[u8]) -> Vec<u8> {
        let builder = GzBuilder::new()
            .filename("name")
            .comment("a comment")
            .extra(vec![1, 2, 3, 0]);
        let mut encoder = builder.write(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8], proof: Proof) -> io::Result<Vec<u8>> {
        // Pieces that end anywhere.
        let mut reader = GzipReader::new(BufReader::with_capacity(7, bytes), proof);
        let mut read = Vec::new();
        let mut buffer = [0; 11];
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(read),
                count => read.extend_from_slice(&buffer[..count]),
            }
        }
    }

    const PROOFS: [Proof; 2] = [Proof::Digest, Proof::Checksum];

    #[test]
    fn members_follow_each_other_also_empty_ones() {
        let stream = [member(b"one, "), member(b""), member(&[b'2'; 5000])].concat();
        let expected = [b"one, ".as_slice(), &[b'2'; 5000]].concat();
        for proof in PROOFS {
            assert_eq!(read(&stream, proof).unwrap(), expected);
        }
    }

    #[test]
    fn a_stream_that_ends_early_or_goes_on_otherwise_is_an_error() {
        let whole = member(&[b'x'; 300]);
        for proof in PROOFS {
            for end in 0..whole.len() {
                let error = read(&whole[..end], proof).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end}: {error}");
            }
            for more in [[0; 12].as_slice(), b"something else", &[0x1f]] {
                read(&[&whole, more].concat(), proof).unwrap_err();
            }
        }
    }

    #[test]
    fn the_length_is_compared_always_and_the_checksum_if_nobody_else_proves_the_bytes() {
        let whole = member(b"something");
        let with = |from_end: usize| {
            let mut other = whole.clone();
            let place = other.len() - from_end;
            other[place] ^= 1;
            other
        };
        for proof in PROOFS {
            let error = read(&with(4), proof).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
        read(&with(8), Proof::Checksum).unwrap_err();
        assert_eq!(read(&with(8), Proof::Digest).unwrap(), b"something");
    }

    #[test]
    fn headers_are_checked() {
        let with_flags = |flags: u8, more: &[u8]| {
            let plain = {
                let mut encoder = GzBuilder::new().write(Vec::new(), Compression::fast());
                encoder.write_all(b"x").unwrap();
                encoder.finish().unwrap()
            };
            let mut header = plain[..10].to_vec();
            header[3] = flags;
            [&header, more, &plain[10..]].concat()
        };
        let mut sum = Crc::new();
        sum.update(&with_flags(HEADER_CHECKSUM, &[])[..10]);
        let right = u16::try_from(sum.sum() & 0xffff).unwrap();
        let good = with_flags(HEADER_CHECKSUM, &right.to_le_bytes());
        assert_eq!(read(&good, Proof::Checksum).unwrap(), b"x");
        for bad in [
            with_flags(HEADER_CHECKSUM, &(right ^ 1).to_le_bytes()),
            with_flags(1 << 5, &[]),
            with_flags(NAME, &vec![b'n'; TEXT_BYTES_MAX + 1]),
        ] {
            let error = read(&bad, Proof::Checksum).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
    }

    proptest! {
        /// The same as flate2's own reader, whatever is broken.
        #[test]
        fn any_stream_is_read_as_flate2_reads_it(
            parts in prop::collection::vec(prop::collection::vec(0_u8..4, 0..200), 1..4),
            damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let mut stream: Vec<u8> = parts.iter().flat_map(|part| member(part)).collect();
            if let Some((place, byte)) = damage {
                let place = place.index(stream.len());
                stream[place] = byte;
            }
            let mut expected = Vec::new();
            let outcome = MultiGzDecoder::new(stream.as_slice()).read_to_end(&mut expected);
            match (outcome, read(&stream, Proof::Checksum)) {
                (Ok(_), found) => prop_assert_eq!(found.unwrap(), expected),
                (Err(_), found) => prop_assert!(found.is_err()),
            }
        }
    }
}
