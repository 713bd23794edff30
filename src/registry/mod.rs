//! A client of OCI distribution registries.
//!
//! A [`Session`] pulls from one repository: it knows the hosts to try (containerd's `hosts.toml` layout, read anew for
//! each session), answers their challenges, follows redirects, and repeats what is worth repeating. Nothing is kept
//! between sessions, so an idle daemon pays nothing. What manifests mean, and where blobs go, is the caller's
//! business.

mod auth_file;
mod blob;
mod body;
mod challenge;
mod config;
mod credentials;
mod error;
mod explain;
#[cfg(test)]
pub(crate) mod fake;
mod helper;
mod hosts;
mod identity;
mod proxy;
mod referrers;
mod refused_tls;
mod retry;
mod session;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod transport;

pub use blob::BlobStream;
pub use config::RegistryConfig;
pub use credentials::Credentials;
pub use error::{ErrorKind, RegistryError};
pub use explain::{Answers, Depth, ExplainedHost, Explanation, Trust};
pub use identity::Source;
pub use proxy::ProxySettings;
pub use refused_tls::Advice;
pub use session::{Manifest, Registry, Session};
