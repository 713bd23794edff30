//! What can go wrong with images, by step. Errors are shared by everyone who waited for the same pull.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use oci_spec::distribution::ParseError;
use oci_spec::image::Digest;

use super::signature::{PolicyError, SignatureError};
use crate::content::{self, ContentError};
use crate::layer::{self, LayerError};
use crate::persist::{self, PersistError};
use crate::registry::{self, RegistryError};
use crate::snapshot::{self, SnapshotError};

/// Why something with an image did not work out; cheap to clone.
#[derive(Clone)]
pub struct ImageError(Arc<Failure>);

/// A step that did not work out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("image reference {reference:?}")]
    Reference {
        reference: String,
        #[source]
        source: ParseError,
    },
    #[error("image {reference} is not here")]
    NotFound { reference: String },
    #[error("pull {reference}")]
    Registry {
        reference: String,
        #[source]
        source: RegistryError,
    },
    #[error(transparent)]
    Policy { source: PolicyError },
    #[error("pull {reference}")]
    Signature {
        reference: String,
        #[source]
        source: SignatureError,
    },
    #[error("parse {what} {digest}")]
    Parse {
        what: &'static str,
        digest: Digest,
        #[source]
        source: serde_json::Error,
    },
    #[error("{what} {digest}: {problem}")]
    Unusable {
        what: &'static str,
        digest: Digest,
        problem: &'static str,
    },
    #[error("nobody is known who has {digest}: import or pull its image again")]
    NoOrigin { digest: Digest },
    #[error("index {digest} has no image for linux/{architecture}")]
    NoPlatform {
        digest: Digest,
        architecture: &'static str,
    },
    #[error("keep the content of an image")]
    Content {
        #[source]
        source: ContentError,
    },
    #[error("unpack layer {digest}")]
    Layer {
        digest: Digest,
        #[source]
        source: LayerError,
    },
    #[error("keep the layers of an image")]
    Snapshot {
        #[source]
        source: SnapshotError,
    },
    #[error("keep the record of image {id}")]
    Record {
        id: String,
        #[source]
        source: PersistError,
    },
    #[error("read the records of a daemon before this one")]
    Records {
        #[source]
        source: PersistError,
    },
    #[error("record {path} is of an unknown version")]
    UnknownRecord { path: PathBuf },
    #[error("keep the lease of container {container_id}")]
    Lease {
        container_id: String,
        #[source]
        source: PersistError,
    },
    #[error("container id {container_id:?} cannot name a file")]
    BadContainerId { container_id: String },
    #[error("{step} {path}")]
    Folder {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("read the archive {path}")]
    Archive {
        path: PathBuf,
        #[source]
        source: LayerError,
    },
    #[error("archive {path}: {problem}")]
    BadArchive {
        path: PathBuf,
        problem: &'static str,
    },
    #[error("archive {path}: parse {file}")]
    ArchiveJson {
        path: PathBuf,
        file: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("a task of the image side ended early")]
    Task {
        #[source]
        source: tokio::task::JoinError,
    },
    #[error("the task that others waited for ended early")]
    Abandoned,
}

/// What a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Neither here nor at the registry.
    NotFound,
    /// The reference is not one.
    InvalidReference,
    /// The registry cannot be reached, or is broken for now.
    RegistryUnavailable,
    /// The registry refuses these credentials, or their absence.
    Unauthorized,
    /// The registry wants to be asked less often.
    RateLimited,
    /// The registry does not go on.
    TimedOut,
    /// Bytes are not what they were announced to be, or not an image for this host.
    Corrupt,
    /// The signature policy does not let it in.
    SignatureInvalid,
    /// No space, inode or quota is left.
    DiskFull,
    /// Our own configuration is wrong.
    Configuration,
    /// The file system, or something inside Carpel.
    Io,
}

impl ImageError {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            Failure::Reference { .. } | Failure::BadContainerId { .. } => {
                ErrorKind::InvalidReference
            }
            Failure::NotFound { .. } | Failure::NoOrigin { .. } => ErrorKind::NotFound,
            Failure::Registry { source, .. } => of_registry(source.kind()),
            Failure::Policy { .. } => ErrorKind::Configuration,
            Failure::Signature { .. } => ErrorKind::SignatureInvalid,
            Failure::Parse { .. }
            | Failure::Unusable { .. }
            | Failure::NoPlatform { .. }
            | Failure::BadArchive { .. }
            | Failure::ArchiveJson { .. } => ErrorKind::Corrupt,
            Failure::Content { source } => match source.kind() {
                content::ErrorKind::Missing | content::ErrorKind::Io => ErrorKind::Io,
                content::ErrorKind::Corrupt => ErrorKind::Corrupt,
                content::ErrorKind::DiskFull => ErrorKind::DiskFull,
            },
            Failure::Layer { source, .. } | Failure::Archive { source, .. } => {
                match source.kind() {
                    layer::ErrorKind::Corrupt | layer::ErrorKind::TooLarge => ErrorKind::Corrupt,
                    layer::ErrorKind::DiskFull => ErrorKind::DiskFull,
                    layer::ErrorKind::Io => ErrorKind::Io,
                }
            }
            Failure::Snapshot { source } => match source.kind() {
                snapshot::ErrorKind::DiskFull => ErrorKind::DiskFull,
                snapshot::ErrorKind::Missing
                | snapshot::ErrorKind::Invalid
                | snapshot::ErrorKind::Io => ErrorKind::Io,
            },
            Failure::Record { source, .. }
            | Failure::Records { source }
            | Failure::Lease { source, .. } => match source.kind() {
                persist::ErrorKind::DiskFull => ErrorKind::DiskFull,
                persist::ErrorKind::Torn | persist::ErrorKind::Io => ErrorKind::Io,
            },
            Failure::Folder { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
                _ => ErrorKind::Io,
            },
            Failure::Task { .. } | Failure::Abandoned | Failure::UnknownRecord { .. } => {
                ErrorKind::Io
            }
        }
    }
}

fn of_registry(kind: registry::ErrorKind) -> ErrorKind {
    match kind {
        registry::ErrorKind::NotFound => ErrorKind::NotFound,
        registry::ErrorKind::Unauthorized => ErrorKind::Unauthorized,
        registry::ErrorKind::RateLimited => ErrorKind::RateLimited,
        registry::ErrorKind::Unavailable => ErrorKind::RegistryUnavailable,
        registry::ErrorKind::TimedOut => ErrorKind::TimedOut,
        registry::ErrorKind::Corrupt | registry::ErrorKind::Protocol => ErrorKind::Corrupt,
        registry::ErrorKind::Configuration => ErrorKind::Configuration,
    }
}

impl From<Failure> for ImageError {
    fn from(failure: Failure) -> Self {
        Self(Arc::new(failure))
    }
}

impl From<ContentError> for ImageError {
    fn from(source: ContentError) -> Self {
        Failure::Content { source }.into()
    }
}

impl From<SnapshotError> for ImageError {
    fn from(source: SnapshotError) -> Self {
        Failure::Snapshot { source }.into()
    }
}

impl From<tokio::task::JoinError> for ImageError {
    fn from(source: tokio::task::JoinError) -> Self {
        Failure::Task { source }.into()
    }
}

impl fmt::Debug for ImageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, formatter)
    }
}

impl std::error::Error for ImageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
