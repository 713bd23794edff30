//! Unpacking one archive: decompress, hash, walk, make.

use std::fmt::Write as _;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

use super::extract::Extractor;
use super::place::Root;
use super::{Archive, LayerError, decompress};

/// Uncompressed bytes handed from the hasher to the walk at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// How large an archive may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed archive, and of the files in it, holes included.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
}

impl Default for Limits {
    /// 256 GiB and 8 million entries: an order of magnitude beyond the largest images of today.
    fn default() -> Self {
        Self {
            bytes: 256 << 30,
            entries: 8_000_000,
        }
    }
}

/// What came out of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Bytes of the uncompressed archive.
    pub bytes: u64,
    /// Entries, whiteouts included.
    pub entries: u64,
    /// Directories that lie on the way to entries but have none of their own, the target (as an empty path) among
    /// them: see [`inherit`](super::inherit).
    pub implied: Vec<PathBuf>,
}

/// Unpacks an archive, compressed or not, below the empty directory `target`, and compares its diff id with
/// `expected`. After an error the directory holds a part of it: remove it.
///
/// # Errors
/// `Target`, `Read`, `Malformed`, `TooLarge`, `Entry` by the step, and `WrongDiffId` at the end.
pub fn unpack(
    source: impl Read + Send,
    target: &Path,
    expected: Option<&Digest>,
    limits: Limits,
) -> Result<Unpacked, LayerError> {
    let root = Root::open(target).map_err(|source| LayerError::Target {
        path: target.to_owned(),
        source,
    })?;
    let unreadable = |source| LayerError::Read { entries: 0, source };
    let hashing = Hashing {
        reader: decompress(source).map_err(unreadable)?,
        hasher: Sha256::new(),
        bytes: 0,
        limit: limits.bytes,
    };
    let mut archive = Archive::new(BufReader::with_capacity(BUFFER_BYTES, hashing));
    let outcome = extract_all(&mut archive, Extractor::new(root), limits);
    let entries = archive.entries();
    let mut reader = archive.into_inner();
    let implied = match outcome {
        // The reader stopped because of the limit, which is a better reason than the broken archive.
        Err(_) if reader.get_ref().is_over() => return Err(reader.get_ref().too_large()),
        outcome => outcome?,
    };
    // The digest covers what follows the end marker too.
    io::copy(&mut reader, &mut io::sink())
        .map_err(|source| LayerError::Read { entries, source })?;
    let hashing = reader.into_inner();
    let found = hashing.digest()?;
    match expected {
        Some(expected) if *expected != found => Err(LayerError::WrongDiffId {
            expected: expected.clone(),
            found,
        }),
        _ => Ok(Unpacked {
            diff_id: found,
            bytes: hashing.bytes,
            entries,
            implied,
        }),
    }
}

fn extract_all(
    archive: &mut Archive<impl Read>,
    mut extractor: Extractor,
    limits: Limits,
) -> Result<Vec<PathBuf>, LayerError> {
    let mut bytes = 0_u64;
    while let Some(entry) = archive.next_entry()? {
        if archive.entries() > limits.entries {
            return Err(LayerError::TooLarge {
                what: "entries",
                limit: limits.entries,
            });
        }
        bytes = bytes.saturating_add(entry.size);
        if bytes > limits.bytes {
            return Err(LayerError::TooLarge {
                what: "bytes",
                limit: limits.bytes,
            });
        }
        extractor
            .extract(&entry, archive)
            .map_err(|error| archive.take_failure().unwrap_or(error))?;
    }
    extractor.finish()
}

/// Hashes and counts what passes.
struct Hashing<R> {
    reader: R,
    hasher: Sha256,
    bytes: u64,
    limit: u64,
}

impl<R> Hashing<R> {
    fn is_over(&self) -> bool {
        self.bytes > self.limit
    }

    fn too_large(&self) -> LayerError {
        LayerError::TooLarge {
            what: "bytes",
            limit: self.limit,
        }
    }

    fn digest(&self) -> Result<Digest, LayerError> {
        let hash = self.hasher.clone().finalize();
        let mut text = String::from("sha256:");
        for byte in hash {
            // Writing to a String cannot fail.
            write!(text, "{byte:02x}").unwrap_or_default();
        }
        text.parse().map_err(|_impossible| LayerError::Malformed {
            entry: 0,
            path: PathBuf::new(),
            problem: "a digest that is none",
        })
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_over() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}
