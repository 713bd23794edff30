//! What can go wrong between us and a registry, by step. URLs are shown without their queries, which may be signed.

use std::io;
use std::path::PathBuf;

use hyper::StatusCode;

/// A step that did not work out.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A `hosts.toml` or a certificate that it names cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A `hosts.toml` breaks the rules.
    #[error("parse {path}")]
    Hosts {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: toml::de::Error,
    },
    /// A file holds no certificate in PEM form.
    #[error("no certificate in {path}")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// TLS cannot be set up.
    #[error("set up tls")]
    Tls {
        /// What the library said.
        #[source]
        source: rustls::Error,
    },
    /// No host may be asked: `hosts.toml` gives none of them the capability.
    #[error("no host of {registry} has the capability {capability}")]
    NoHost {
        /// The registry.
        registry: String,
        /// `pull` or `resolve`.
        capability: &'static str,
    },
    /// A URL cannot be built or is not one.
    #[error("{url} is no url")]
    BadUrl {
        /// The text.
        url: String,
    },
    /// No answer came: connection refused, name unknown, TLS refused, connection lost.
    #[error("ask {url}")]
    Connect {
        /// Whom.
        url: String,
        /// What the client said.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// The answer broke off.
    #[error("receive {url}")]
    Receive {
        /// From whom.
        url: String,
        /// What the connection said.
        #[source]
        source: hyper::Error,
    },
    /// Nothing came for too long.
    #[error("{url}: no progress for {seconds} seconds")]
    Stalled {
        /// From whom.
        url: String,
        /// How long we waited.
        seconds: u64,
    },
    /// The answer ended early.
    #[error("{url}: {found} of {expected} bytes")]
    Truncated {
        /// From whom.
        url: String,
        /// The announced size.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The registry said no.
    #[error("{url}: {status}{}{detail}", if detail.is_empty() { "" } else { ": " })]
    Status {
        /// Who.
        url: String,
        /// How.
        status: StatusCode,
        /// Its own words, if it had any.
        detail: String,
        /// After how many seconds it wants to be asked again.
        retry_after_seconds: Option<u64>,
    },
    /// The registry wants a proof that we do not know how to give.
    #[error("{url}: unknown challenge {challenge:?}")]
    Challenge {
        /// Who.
        url: String,
        /// Its `WWW-Authenticate`.
        challenge: String,
    },
    /// The registry wants credentials sent to a server that would receive them in the clear.
    #[error("{url}: the token server {realm} is not encrypted")]
    InsecureRealm {
        /// Who.
        url: String,
        /// The token server.
        realm: String,
    },
    /// The registry's token server gave no token.
    #[error("get a token from {realm}")]
    Token {
        /// The token server.
        realm: String,
        /// Why.
        #[source]
        source: Box<RegistryError>,
    },
    /// The token server's answer holds no token.
    #[error("no token in the answer of {realm}")]
    NoToken {
        /// The token server.
        realm: String,
    },
    /// A redirect leads nowhere, in a circle, or from TLS to plain HTTP.
    #[error("{url}: redirect to {location:?}")]
    Redirect {
        /// Who.
        url: String,
        /// Its `Location`, without the query.
        location: String,
    },
    /// The registry does not know what refers to a manifest.
    #[error("{url}: no list of referrers")]
    NoReferrers {
        /// Who.
        url: String,
    },
    /// The list of what refers to a manifest is not one.
    #[error("{url}: parse the list of referrers")]
    Referrers {
        /// Who.
        url: String,
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
    /// A manifest or token is larger than is accepted.
    #[error("{url}: more than {limit} bytes")]
    TooLarge {
        /// Who.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The bytes are not those of the digest.
    #[error("{url}: digest {found} instead of {expected}")]
    WrongDigest {
        /// Who.
        url: String,
        /// What was asked for, or what the registry announced.
        expected: String,
        /// Of the bytes.
        found: String,
    },
}

/// What a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The registry does not have it.
    NotFound,
    /// The registry refuses these credentials, or their absence.
    Unauthorized,
    /// The registry wants to be asked less often.
    RateLimited,
    /// The registry cannot be reached or is broken for now.
    Unavailable,
    /// The registry is there but does not go on.
    TimedOut,
    /// What it sends is not what it announced.
    Corrupt,
    /// Our own configuration is wrong.
    Configuration,
    /// It breaks the protocol, or refuses for a reason of its own.
    Protocol,
}

impl RegistryError {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. }
            | Self::Hosts { .. }
            | Self::NoCertificate { .. }
            | Self::Tls { .. }
            | Self::NoHost { .. } => ErrorKind::Configuration,
            Self::Connect { .. } | Self::Receive { .. } | Self::Truncated { .. } => {
                ErrorKind::Unavailable
            }
            Self::Stalled { .. } => ErrorKind::TimedOut,
            Self::Status { status, .. } => match *status {
                StatusCode::NOT_FOUND => ErrorKind::NotFound,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Unauthorized,
                StatusCode::TOO_MANY_REQUESTS => ErrorKind::RateLimited,
                StatusCode::REQUEST_TIMEOUT => ErrorKind::TimedOut,
                status if status.is_server_error() => ErrorKind::Unavailable,
                _ => ErrorKind::Protocol,
            },
            Self::Challenge { .. } | Self::InsecureRealm { .. } | Self::NoToken { .. } => {
                ErrorKind::Unauthorized
            }
            Self::Token { source, .. } => source.kind(),
            Self::NoReferrers { .. } => ErrorKind::NotFound,
            Self::BadUrl { .. } | Self::Redirect { .. } => ErrorKind::Protocol,
            Self::TooLarge { .. } | Self::WrongDigest { .. } | Self::Referrers { .. } => {
                ErrorKind::Corrupt
            }
        }
    }

    /// Whether asking again may help.
    pub(super) fn is_passing(&self) -> bool {
        match self.kind() {
            ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::TimedOut => true,
            ErrorKind::NotFound
            | ErrorKind::Unauthorized
            | ErrorKind::Corrupt
            | ErrorKind::Configuration
            | ErrorKind::Protocol => false,
        }
    }

    /// How long the registry asks us to wait.
    pub(super) fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Status {
                retry_after_seconds,
                ..
            } => *retry_after_seconds,
            Self::Token { source, .. } => source.retry_after_seconds(),
            _ => None,
        }
    }
}
