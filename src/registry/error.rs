//! What can go wrong between us and a registry, by step. URLs are shown without their queries, which may be signed.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hyper::StatusCode;

use super::{Advice, Source};

/// A step that did not work out.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A `hosts.toml` or a certificate that it names cannot be read.
    #[error("read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A `hosts.toml` breaks the rules.
    #[error("parse {path}", path = path.display())]
    Hosts {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: toml::de::Error,
    },
    /// A key of a `hosts.toml` has a value that cannot be.
    #[error("{path}: {key}: {problem}", path = path.display())]
    Rule {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong with its value.
        problem: &'static str,
    },
    /// An auth file is not one. Its content is not shown.
    #[error("{path}:{line}:{column}: not Docker's config.json", path = path.display())]
    AuthFile {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        line: usize,
        /// Where it breaks.
        column: usize,
    },
    /// A credential helper did not do its work. What it printed is not shown.
    #[error("credential helper docker-credential-{name}: {problem}")]
    Helper {
        /// Its name, as auth files have it.
        name: String,
        /// What went wrong.
        problem: &'static str,
    },
    /// A credential helper cannot be run.
    #[error("run credential helper docker-credential-{name}")]
    HelperProcess {
        /// Its name, as auth files have it.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file holds no key in PEM form.
    #[error("no private key in {path}", path = path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A client certificate cannot be used, or its key is another one's.
    #[error("use client certificate {path}", path = path.display())]
    ClientCertificate {
        /// The file.
        path: PathBuf,
        /// What the library said.
        #[source]
        source: rustls::Error,
    },
    /// A file holds no certificate in PEM form.
    #[error("no certificate in {path}", path = path.display())]
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
    /// TLS failed in a way for which there is advice.
    #[error("ask {url}: {advice}")]
    Handshake {
        /// Whom.
        url: String,
        /// What would help.
        advice: Advice,
        /// What the client said.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// A host took the request, or not even the connection, and did not answer.
    #[error("ask {url}: no answer for {seconds} seconds")]
    NoAnswer {
        /// Whom.
        url: String,
        /// How long we waited.
        seconds: u64,
    },
    /// None of several hosts had it.
    #[error("{}", tried(earlier))]
    AllHosts {
        /// What the first ones said, in the order in which they were asked.
        earlier: Vec<RegistryError>,
        /// What the last one said.
        #[source]
        last: Box<RegistryError>,
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
    /// Nothing came for too long, or next to nothing.
    #[error("{url}: no progress for {seconds} seconds")]
    Stalled {
        /// From whom.
        url: String,
        /// How long we waited.
        seconds: u64,
    },
    /// The answer is another part than the one that was asked for.
    #[error("{url}: bytes {range:?} instead of those from {offset} on")]
    WrongRange {
        /// From whom.
        url: String,
        /// The first byte that is missing.
        offset: u64,
        /// Its `Content-Range`.
        range: String,
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
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The registry wants a proof that we do not know how to give.
    #[error("{url}: unknown challenge {challenge:?}")]
    Challenge {
        /// Who.
        url: String,
        /// Its `WWW-Authenticate`.
        challenge: String,
    },
    /// The registry wants a password, and none is known.
    #[error("{url}: it wants a user name and a password")]
    NoPassword {
        /// Who.
        url: String,
    },
    /// The registry refuses who we are.
    #[error("with {}", source_of(identity.as_ref()))]
    Denied {
        /// Where the credentials were from, if there were any.
        identity: Option<Source>,
        /// What it said.
        #[source]
        source: Box<RegistryError>,
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
            Self::AllHosts { last, .. } => last.kind(),
            Self::Read { .. }
            | Self::Hosts { .. }
            | Self::Rule { .. }
            | Self::AuthFile { .. }
            | Self::Helper { .. }
            | Self::HelperProcess { .. }
            | Self::NoKey { .. }
            | Self::ClientCertificate { .. }
            | Self::NoCertificate { .. }
            | Self::Tls { .. }
            | Self::NoHost { .. } => ErrorKind::Configuration,
            Self::Connect { .. }
            | Self::Handshake { .. }
            | Self::NoAnswer { .. }
            | Self::Receive { .. }
            | Self::WrongRange { .. }
            | Self::Truncated { .. } => ErrorKind::Unavailable,
            Self::Stalled { .. } => ErrorKind::TimedOut,
            Self::Status { status, .. } => match *status {
                StatusCode::NOT_FOUND => ErrorKind::NotFound,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Unauthorized,
                StatusCode::TOO_MANY_REQUESTS => ErrorKind::RateLimited,
                StatusCode::REQUEST_TIMEOUT => ErrorKind::TimedOut,
                status if status.is_server_error() => ErrorKind::Unavailable,
                _ => ErrorKind::Protocol,
            },
            Self::Challenge { .. }
            | Self::NoPassword { .. }
            | Self::InsecureRealm { .. }
            | Self::NoToken { .. } => ErrorKind::Unauthorized,
            Self::Token { source, .. } | Self::Denied { source, .. } => source.kind(),
            Self::NoReferrers { .. } => ErrorKind::NotFound,
            Self::BadUrl { .. } | Self::Redirect { .. } => ErrorKind::Protocol,
            Self::TooLarge { .. } | Self::WrongDigest { .. } | Self::Referrers { .. } => {
                ErrorKind::Corrupt
            }
        }
    }

    /// Whether asking again may help.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            // What the peer is does not change with the next handshake.
            Self::Handshake { .. } => return false,
            Self::Token { source, .. } => return source.is_passing(),
            _ => {}
        }
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
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Token { source, .. } => source.retry_after(),
            _ => None,
        }
    }

    /// What hosts said that were asked one after another.
    pub(super) fn of_hosts(earlier: Vec<Self>, last: Self) -> Self {
        match earlier.is_empty() {
            true => last,
            false => Self::AllHosts {
                earlier,
                last: Box::new(last),
            },
        }
    }
}

fn source_of(identity: Option<&Source>) -> String {
    identity.map_or_else(
        || "no credentials".to_owned(),
        |source| format!("the credentials of {source}"),
    )
}

/// `2 hosts were asked; first: …; last`, which goes on with the last one's error as the cause.
fn tried(earlier: &[RegistryError]) -> String {
    let causes: Vec<String> = earlier.iter().map(chain).collect();
    let count = earlier.len() + 1;
    format!(
        "{count} hosts were asked: {}; and at last",
        causes.join("; ")
    )
}

/// An error and all its causes.
pub(super) fn chain(error: &RegistryError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
