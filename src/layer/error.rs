//! What can go wrong while an archive is unpacked, by step. Names from archives are shown quoted: they may contain line
//! feeds and what terminals obey.

use std::io;
use std::path::PathBuf;

use oci_spec::image::Digest;
use rustix::io::Errno;

/// A step that did not work out.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive's bytes could not be read or inflated.
    #[error("read the archive after {entries} entries")]
    Read {
        /// How many entries were read before.
        entries: u64,
        /// What the reader or the decompressor said.
        #[source]
        source: io::Error,
    },
    /// The archive breaks the rules of its format, or uses a part of it that no layer has.
    #[error("entry {entry} of the archive ({path:?}): {problem}")]
    Malformed {
        /// The entry's number, from 0.
        entry: u64,
        /// Its name, as far as it is known.
        path: PathBuf,
        /// Which rule.
        problem: &'static str,
    },
    /// The archive is larger than its caller accepts.
    #[error("entry {entry} of the archive ({path:?}): more than the limit of {limit} {what}")]
    TooLarge {
        /// `bytes`, `entries`, `bytes of directory names` or `times its compressed bytes`.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// The number of the entry that went beyond it, from 0.
        entry: u64,
        /// Its name.
        path: PathBuf,
    },
    /// The file system refused an entry.
    #[error("{step} {path:?}")]
    Entry {
        /// What was being done.
        step: &'static str,
        /// The entry's name in the archive.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The directory to unpack into could not be opened.
    #[error("open target {path}")]
    Target {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The uncompressed archive is not the one that the image's configuration names.
    #[error("diff id {found} instead of {expected}")]
    WrongDiffId {
        /// From the image's configuration.
        expected: Digest,
        /// Of the bytes.
        found: Digest,
    },
}

/// What a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The archive is broken, hostile, or another one than announced.
    Corrupt,
    /// The archive exceeds a limit.
    TooLarge,
    /// No space, inode or quota is left.
    DiskFull,
    /// Any other error of the file system.
    Io,
}

impl LayerError {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull => ErrorKind::DiskFull,
                _ => ErrorKind::Corrupt,
            },
            Self::Malformed { .. } | Self::WrongDiffId { .. } => ErrorKind::Corrupt,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Entry { source, .. } | Self::Target { source, .. } => match source.kind() {
                // The archive asked for what cannot be.
                io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::InvalidFilename
                | io::ErrorKind::InvalidInput
                    if matches!(self, Self::Entry { .. }) =>
                {
                    ErrorKind::Corrupt
                }
                _ if source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                    ErrorKind::Corrupt
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
                _ => ErrorKind::Io,
            },
        }
    }
}
