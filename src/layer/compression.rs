//! Compression, told by the first bytes: media types in manifests lie too often.

use std::io::{self, BufReader, Cursor, Read};

use super::gzip::{GzipReader, Proof};
use super::window::{self, Reservation};

/// Bytes read from the source at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, possibly of several members.
    Gzip,
    /// RFC 8878, possibly of several frames.
    Zstd,
}

impl Compression {
    /// Tells the compression from an archive's first bytes (four are enough).
    #[must_use]
    pub fn detect(beginning: &[u8]) -> Self {
        match beginning {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame (RFC 8878 §3.1.2), with which estargz-like zstd:chunked layers may begin.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// A reader of the uncompressed bytes of `source`; `proof` says whether the caller compares a digest of all of them.
///
/// # Errors
/// Of reading the first bytes of `source`.
pub fn decompress<'a>(
    mut source: impl Read + Send + 'a,
    proof: Proof,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut beginning = Vec::new();
    source
        .by_ref()
        .take(window::HEADER_BYTES_MAX)
        .read_to_end(&mut beginning)?;
    let compression = Compression::detect(&beginning);
    let class = window::class_of(&beginning);
    let source = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(beginning).chain(source));
    Ok(match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(GzipReader::new(source, proof)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
            decoder.window_log_max(class.log_max())?;
            Box::new(Windowed {
                decoder,
                _reservation: window::reserve(class),
            })
        }
    })
}

/// A decoder with the memory that was set aside for its window.
struct Windowed<R> {
    decoder: R,
    _reservation: Reservation,
}

impl<R: Read> Read for Windowed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer)
    }
}
