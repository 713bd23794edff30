//! What can go wrong with snapshots, by step.

use std::io;
use std::path::PathBuf;

use super::ChainId;

/// A step that did not work out.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The folders of the store could not be made, listed or cleaned.
    #[error("prepare {path}")]
    Prepare {
        /// The folder or file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A layer could not be kept.
    #[error("{step} layer {chain_id}")]
    Commit {
        /// The layer.
        chain_id: ChainId,
        /// `measure`, `record`, `sync` or `rename`.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A layer that a container needs is not there.
    #[error("layer {chain_id} is not unpacked")]
    Missing {
        /// The layer.
        chain_id: ChainId,
    },
    /// The record of a layer cannot be read, or is that of another one.
    #[error("read the record of layer {chain_id}")]
    Damaged {
        /// The layer.
        chain_id: ChainId,
        /// What the kernel or the parser said.
        #[source]
        source: io::Error,
    },
    /// The name of a container would lead out of the store's folder.
    #[error("container id {container_id:?} cannot name a directory")]
    BadContainerId {
        /// The name.
        container_id: String,
    },
    /// A container's writable layer could not be made, removed or measured.
    #[error("{step} the writable layer of container {container_id}")]
    Writable {
        /// The container.
        container_id: String,
        /// `make`, `remove` or `measure`.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A layer could not be removed.
    #[error("remove layer {chain_id}")]
    Remove {
        /// The layer.
        chain_id: ChainId,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// What a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The layer is not there.
    Missing,
    /// The request makes no sense.
    Invalid,
    /// No space, inode or quota is left.
    DiskFull,
    /// Any other error of the file system.
    Io,
}

impl SnapshotError {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing { .. } => ErrorKind::Missing,
            Self::BadContainerId { .. } => ErrorKind::Invalid,
            Self::Prepare { source, .. }
            | Self::Damaged { source, .. }
            | Self::Commit { source, .. }
            | Self::Writable { source, .. }
            | Self::Remove { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
                _ => ErrorKind::Io,
            },
        }
    }
}
