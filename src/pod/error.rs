//! Why a request on a pod was not carried out: one kind each, which `cri/status.rs` turns into a gRPC code.

use std::fmt;

/// What a caller branches on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodErrorKind {
    /// No sandbox, container or image of that name.
    NotFound,
    /// The key is taken by another configuration.
    AlreadyExists,
    /// The request cannot be right, whatever the state.
    InvalidArgument,
    /// The object is not in the state that the request needs.
    FailedPrecondition,
    /// A deadline passed.
    DeadlineExceeded,
    /// A resource is used up: disk, addresses, processes.
    ResourceExhausted,
    /// Something that the request needs is not there at the moment.
    Unavailable,
    /// An image cannot be mounted as a volume.
    ImageVolume,
    /// Not built.
    Unimplemented,
    /// The system, or Carpel, failed.
    Internal,
}

/// The object that a request named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A sandbox by id.
    Sandbox(String),
    /// A container by id.
    Container(String),
    /// An image by reference.
    Image(String),
    /// The runtime as a whole.
    Runtime,
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sandbox(id) => write!(formatter, "sandbox {id}"),
            Self::Container(id) => write!(formatter, "container {id}"),
            Self::Image(reference) => write!(formatter, "image {reference:?}"),
            Self::Runtime => write!(formatter, "runtime"),
        }
    }
}

/// A request on a pod that was not carried out: the object, the step and the cause.
///
/// It can be cloned, because a request that joined another one gets the same error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{subject}: {step}")]
pub struct PodError {
    /// What a caller branches on.
    pub kind: PodErrorKind,
    /// The object.
    pub subject: Subject,
    /// The step that did not work, as prose.
    pub step: String,
    /// The cause, if another error was it.
    #[source]
    pub source: Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>,
}

impl PodError {
    /// An error without a cause below it.
    pub fn new(kind: PodErrorKind, subject: Subject, step: impl Into<String>) -> Self {
        Self {
            kind,
            subject,
            step: step.into(),
            source: None,
        }
    }

    /// The same with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(std::sync::Arc::new(source));
        self
    }

    /// What a caller branches on.
    pub fn kind(&self) -> PodErrorKind {
        self.kind
    }
}

/// An error with all its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Nobody has this id.
pub(super) fn no_sandbox(id: &str) -> PodError {
    PodError::new(
        PodErrorKind::NotFound,
        Subject::Sandbox(id.to_owned()),
        "no such sandbox",
    )
}

/// Nobody has this id.
pub(super) fn no_container(id: &str) -> PodError {
    PodError::new(
        PodErrorKind::NotFound,
        Subject::Container(id.to_owned()),
        "no such container",
    )
}
