//! One host to ask.

use std::path::PathBuf;
use std::time::Duration;

use hyper::{HeaderMap, Uri};

/// Whether a host's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::registry) enum Verification {
    /// Against the system's authorities and the host's own.
    Full,
    /// Not at all, as configured.
    Skipped,
}

/// What we prove ourselves with in the TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::registry) struct ClientCertificate {
    /// The certificate, and those between it and its authority.
    pub(in crate::registry) certificate: PathBuf,
    /// Its key; the same file may hold both.
    pub(in crate::registry) key: PathBuf,
}

/// One host to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::registry) struct Host {
    /// `http` or `https`.
    pub(in crate::registry) scheme: &'static str,
    /// Name and port.
    pub(in crate::registry) authority: String,
    /// What comes before the repository's name: `/v2`, unless the path is overridden.
    pub(in crate::registry) prefix: String,
    /// Whether it may serve blobs and manifests by digest.
    pub(in crate::registry) pulls: bool,
    /// Whether it may say what a tag means, which takes more trust.
    pub(in crate::registry) resolves: bool,
    pub(in crate::registry) verification: Verification,
    /// Files of authorities to trust besides the system's.
    pub(in crate::registry) authorities: Vec<PathBuf>,
    pub(in crate::registry) client_certificates: Vec<ClientCertificate>,
    /// Headers for each request; marked as sensitive, because some are secrets.
    pub(in crate::registry) headers: HeaderMap,
    /// How long a connection may take.
    pub(in crate::registry) connect_timeout: Option<Duration>,
    /// The proxy for this host, in place of the environment's.
    pub(in crate::registry) proxy: Option<Uri>,
    /// Whether it is a mirror, which is told the registry's name by `?ns=`.
    pub(in crate::registry) is_mirror: bool,
}

impl Host {
    /// The URL of its API, without a slash at the end.
    pub(in crate::registry) fn base(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority, self.prefix)
    }
}
