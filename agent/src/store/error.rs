//! What can go wrong with the store.

use std::path::PathBuf;

use crate::file::FileError;
use crate::manifest::Key;

/// An object that could not be kept, or may not be changed so.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key of the Secrets is not what this program made.
    #[error(
        "the key of the Secrets {path} is not one: restore it, or remove it together with the Secrets"
    )]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The system has no random numbers.
    #[error("random numbers of the system")]
    Random,
    /// A Secret could not be sealed.
    #[error("seal {key}")]
    Seal {
        /// The Secret.
        key: Key,
    },
    /// An object could not be written as JSON.
    #[error("encode {key}")]
    Encode {
        /// The object.
        key: Key,
        /// What the encoder said.
        #[source]
        source: serde_json::Error,
    },
    /// The object may not be changed in this field.
    #[error("{} \"{}\" is invalid: {field}: {detail}", .key.kind, .key.name)]
    Immutable {
        /// The object.
        key: Key,
        /// Its field.
        field: &'static str,
        /// Why not.
        detail: &'static str,
    },
    /// The object is on its way out; it can be applied again when it is gone.
    #[error("object is being deleted: {} \"{}\" already exists", .key.kind.plural(), .key.name)]
    BeingDeleted {
        /// The object.
        key: Key,
    },
}

/// What a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The disk or the system refused.
    Internal,
    /// The change is not allowed.
    Invalid,
    /// The object is in the way for a while.
    Conflict,
}

impl StoreError {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::File(_)
            | Self::Key { .. }
            | Self::Random
            | Self::Seal { .. }
            | Self::Encode { .. } => ErrorKind::Internal,
            Self::Immutable { .. } => ErrorKind::Invalid,
            Self::BeingDeleted { .. } => ErrorKind::Conflict,
        }
    }
}
