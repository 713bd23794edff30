//! What can go wrong between the daemon and a shim. How it becomes a gRPC status is decided in `cri`.

use std::path::PathBuf;
use std::time::Duration;

use carpel_shim_protocol::message::Failure;
use carpel_shim_protocol::message::FailureKind;
use rustix::io::Errno;

use super::packet::PacketError;

/// Why a request to a shim has no result. Cheap to clone: one loss of a connection is told to many callers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ShimError {
    /// The connection has ended before the answer came. Whether the shim has done the request is unknown: ask again by Hello.
    #[error("connection to the shim is lost")]
    Disconnected,
    /// No answer within the time that the caller had. The shim may still do it.
    #[error("shim has not answered {operation} within {limit:?}")]
    Timeout {
        /// Name of the request.
        operation: &'static str,
        /// What the caller had allowed.
        limit: Duration,
    },
    /// The shim has answered that it could not, and has undone what it had begun.
    #[error("{step}{}{}", errno_suffix(*.errno), detail_suffix(.detail))]
    Failed {
        /// What callers branch on.
        kind: ShimErrorKind,
        /// The step that was not possible, as prose.
        step: String,
        /// errno of the system call, or 0.
        errno: i32,
        /// More, or empty.
        detail: String,
    },
    /// An answer to another question than the one that was asked.
    #[error("shim answered {operation} with something else")]
    UnexpectedResponse {
        /// Name of the request.
        operation: &'static str,
    },
    /// A packet could not be sent, received or understood.
    #[error("packet to or from the shim")]
    Packet(#[source] PacketError),
    /// No shim listens at that path.
    #[error("connect to {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Errno,
    },
    /// Somebody else than root listens at that path.
    #[error("{path} is served by user {uid}")]
    ForeignPeer {
        /// The socket.
        path: PathBuf,
        /// User of the peer.
        uid: u32,
    },
}

/// What callers branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShimErrorKind {
    /// No container or exec of that id.
    NotFound,
    /// The container is not in the state that the request needs.
    WrongState,
    /// The request asks for what cannot be.
    Invalid,
    /// The program could not be executed; errno says why.
    Execute,
    /// A system call failed, in the shim or on the way to it.
    System,
    /// A volume made of an image could not be mounted, or has no such sub path.
    ImageVolume,
    /// The shim or the connection to it is gone.
    Disconnected,
    /// No answer in time.
    Timeout,
    /// The shim does not keep to the protocol.
    Protocol,
}

impl ShimError {
    /// What callers branch on.
    #[must_use]
    pub fn kind(&self) -> ShimErrorKind {
        match self {
            Self::Disconnected | Self::Connect { .. } => ShimErrorKind::Disconnected,
            Self::Timeout { .. } => ShimErrorKind::Timeout,
            Self::Failed { kind, .. } => *kind,
            Self::Packet(error) if error.is_system() => ShimErrorKind::System,
            Self::Packet(_) | Self::UnexpectedResponse { .. } | Self::ForeignPeer { .. } => {
                ShimErrorKind::Protocol
            }
        }
    }

    /// errno of the step that failed in the shim or on the way to it, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Failed { errno, .. } if *errno != 0 => Some(*errno),
            Self::Connect { source, .. } => Some(source.raw_os_error()),
            _ => None,
        }
    }
}

impl From<Failure> for ShimError {
    fn from(failure: Failure) -> Self {
        let kind = match failure.kind() {
            FailureKind::FailureNotFound => ShimErrorKind::NotFound,
            FailureKind::FailureWrongState => ShimErrorKind::WrongState,
            FailureKind::FailureInvalid => ShimErrorKind::Invalid,
            FailureKind::FailureExecute => ShimErrorKind::Execute,
            FailureKind::FailureImageVolume => ShimErrorKind::ImageVolume,
            FailureKind::FailureSystem | FailureKind::FailureUnspecified => ShimErrorKind::System,
        };
        Self::Failed {
            kind,
            step: failure.step,
            errno: failure.errno,
            detail: failure.detail,
        }
    }
}

fn errno_suffix(errno: i32) -> String {
    match errno {
        0 => String::new(),
        errno => format!(": {}", std::io::Error::from_raw_os_error(errno)),
    }
}

fn detail_suffix(detail: &str) -> String {
    match detail {
        "" => String::new(),
        detail => format!(": {detail}"),
    }
}
