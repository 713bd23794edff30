//! What can go wrong in the content store, by step.

use std::io;
use std::path::PathBuf;

use oci_spec::image::Digest;

/// A step that did not work out.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The store can hold blobs by sha256 only.
    #[error("digest {digest}: only sha256 is supported")]
    UnsupportedDigest {
        /// The digest that was asked for.
        digest: Digest,
    },
    /// The store's folders could not be made, listed or cleaned.
    #[error("prepare {path}")]
    Prepare {
        /// The folder or file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A blob that is not in the store was asked for.
    #[error("blob {digest} is not in the store")]
    Missing {
        /// The blob.
        digest: Digest,
    },
    /// A blob could not be read.
    #[error("read blob {digest}")]
    Read {
        /// The blob.
        digest: Digest,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A blob could not be written, synced or renamed.
    #[error("{step} blob {digest}")]
    Write {
        /// The blob.
        digest: Digest,
        /// `create`, `write`, `sync` or `commit`.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The bytes are not those of the digest.
    #[error("blob {digest}: the bytes have digest {found}")]
    WrongDigest {
        /// The blob.
        digest: Digest,
        /// What was received.
        found: String,
    },
    /// There are more or fewer bytes than announced.
    #[error("blob {digest}: {found} bytes instead of {expected}")]
    WrongSize {
        /// The blob.
        digest: Digest,
        /// The announced size.
        expected: u64,
        /// The size so far.
        found: u64,
    },
    /// A small blob (manifest, configuration) is larger than its reader accepts.
    #[error("blob {digest}: more than {limit} bytes")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// The limit in bytes.
        limit: u64,
    },
    /// A blob could not be removed.
    #[error("remove blob {digest}")]
    Remove {
        /// The blob.
        digest: Digest,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// What a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The blob is not there.
    Missing,
    /// The bytes are not those that were announced.
    Corrupt,
    /// No space or quota is left.
    DiskFull,
    /// Any other error of the file system.
    Io,
}

impl ContentError {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing { .. } => ErrorKind::Missing,
            Self::UnsupportedDigest { .. }
            | Self::WrongDigest { .. }
            | Self::WrongSize { .. }
            | Self::TooLarge { .. } => ErrorKind::Corrupt,
            Self::Prepare { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Remove { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
                _ => ErrorKind::Io,
            },
        }
    }
}
