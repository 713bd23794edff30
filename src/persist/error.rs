//! What can go wrong with a file that is replaced whole, by step.

use std::io;
use std::path::PathBuf;

/// A step of reading or replacing a file that did not work out.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The temporary file beside the target could not be created.
    #[error("create {path}")]
    Create {
        /// The temporary file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The temporary file could not be written (a full disk, most often).
    #[error("write {path}")]
    Write {
        /// The temporary file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file or its folder could not be made durable.
    #[error("sync {path}")]
    Sync {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The temporary file could not take the target's place.
    #[error("rename {from} to {to}")]
    Rename {
        /// The temporary file.
        from: PathBuf,
        /// The file to replace.
        to: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file could not be removed.
    #[error("remove {path}")]
    Remove {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file or folder could not be read.
    #[error("read {path}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A value could not be turned into JSON: a map whose keys are not strings.
    #[error("encode {path}")]
    Encode {
        /// The file it was for.
        path: PathBuf,
        /// What the encoder said.
        #[source]
        source: serde_json::Error,
    },
    /// The file holds something else than the record: a power cut tore it, or another program wrote it.
    /// The caller logs this and goes on as if the record were missing.
    #[error("parse {path}")]
    Torn {
        /// The file.
        path: PathBuf,
        /// Where the text stops making sense.
        #[source]
        source: serde_json::Error,
    },
}

/// What a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The record does not parse: discard it, with a log line.
    Torn,
    /// No space or quota is left.
    DiskFull,
    /// Any other error of the file system.
    Io,
}

impl PersistError {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Torn { .. } => ErrorKind::Torn,
            Self::Encode { .. } => ErrorKind::Io,
            Self::Create { source, .. }
            | Self::Write { source, .. }
            | Self::Sync { source, .. }
            | Self::Rename { source, .. }
            | Self::Remove { source, .. }
            | Self::Read { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
                _ => ErrorKind::Io,
            },
        }
    }
}
