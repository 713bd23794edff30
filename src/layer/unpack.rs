//! Unpacking one archive: decompress, hash, walk, make.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

use super::extract::Extractor;
use super::place::Root;
use super::{Archive, LayerError, Proof, decompress};

/// Uncompressed bytes handed from the hasher to the walk at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// How large an archive may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed archive, and of the files in it, holes included.
    pub bytes: u64,
    /// Entries, and directories that are made because entries lie in them.
    pub entries: u64,
    /// How many times larger the uncompressed archive may be than the compressed one.
    pub ratio: u64,
    /// Memory that the names of directories without an entry may take.
    pub names_bytes: u64,
    /// Archives of less uncompressed bytes may be compressed as well as they can be: a file of zeros is no bomb.
    pub ratio_from_bytes: u64,
}

impl Default for Limits {
    /// 256 GiB and 8 million entries: an order of magnitude beyond the largest images of today. A ratio of 1000, which
    /// is about the most that gzip can do (1032) and a thirtieth of what zstd can.
    fn default() -> Self {
        Self {
            bytes: 256 << 30,
            entries: 8_000_000,
            ratio: 1000,
            names_bytes: 64 << 20,
            ratio_from_bytes: 1 << 30,
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
    let compressed = Arc::new(AtomicU64::new(0));
    let counting = Counting {
        reader: source,
        bytes: Arc::clone(&compressed),
    };
    let hashing = Hashing {
        reader: decompress(counting, Proof::of(expected)).map_err(unreadable)?,
        hasher: Sha256::new(),
        bytes: 0,
        compressed,
        limits,
        excess: None,
    };
    let mut archive = Archive::new(BufReader::with_capacity(BUFFER_BYTES, hashing));
    let mut path = PathBuf::new();
    let outcome = extract_all(&mut archive, Extractor::new(root), limits, &mut path);
    let entries = archive.entries();
    let mut reader = archive.into_inner();
    let too_large = |(what, limit)| LayerError::TooLarge {
        what,
        limit,
        entry: entries.saturating_sub(1),
        path: path.clone(),
    };
    let implied = match (outcome, reader.get_ref().excess) {
        // The reader stopped because of the limit, which is a better reason than the broken archive.
        (Err(_), Some(excess)) => return Err(too_large(excess)),
        (outcome, _) => outcome?,
    };
    // The digest covers what follows the end marker too.
    let rest = io::copy(&mut reader, &mut io::sink());
    if let Some(excess) = reader.get_ref().excess {
        return Err(too_large(excess));
    }
    rest.map_err(|source| LayerError::Read { entries, source })?;
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

/// Makes all entries; `path` is the name of the one in hand.
fn extract_all(
    archive: &mut Archive<impl BufRead>,
    mut extractor: Extractor,
    limits: Limits,
    path: &mut PathBuf,
) -> Result<Vec<PathBuf>, LayerError> {
    let mut bytes = 0_u64;
    while let Some(entry) = archive.next_entry()? {
        *path = PathBuf::from(OsStr::from_bytes(&entry.path));
        let number = archive.entries();
        let too_large = |what, limit| LayerError::TooLarge {
            what,
            limit,
            entry: number - 1,
            path: path.clone(),
        };
        bytes = bytes.saturating_add(entry.size);
        if bytes > limits.bytes {
            return Err(too_large("bytes", limits.bytes));
        }
        extractor
            .extract(&entry, archive)
            .map_err(|error| archive.take_failure().unwrap_or(error))?;
        if number.saturating_add(extractor.made()) > limits.entries {
            return Err(too_large("entries", limits.entries));
        }
        if extractor.names_bytes() > limits.names_bytes {
            return Err(too_large("bytes of directory names", limits.names_bytes));
        }
    }
    extractor.finish()
}

/// Counts what passes.
struct Counting<R> {
    reader: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Hashes and counts what passes, up to a limit.
struct Hashing<R> {
    reader: R,
    hasher: Sha256,
    bytes: u64,
    /// What the decompressor has taken.
    compressed: Arc<AtomicU64>,
    limits: Limits,
    /// Which limit was reached.
    excess: Option<(&'static str, u64)>,
}

impl<R> Hashing<R> {
    fn find_excess(&self) -> Option<(&'static str, u64)> {
        let limits = self.limits;
        if self.bytes > limits.bytes {
            return Some(("bytes", limits.bytes));
        }
        let compressed = self.compressed.load(Ordering::Relaxed);
        let is_bomb = self.bytes > limits.ratio_from_bytes
            && self.bytes > compressed.saturating_mul(limits.ratio);
        is_bomb.then_some(("times its compressed bytes", limits.ratio))
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
        if self.excess.is_some() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        self.excess = self.find_excess();
        Ok(count)
    }
}
