//! Tokens of service accounts: JSON Web Tokens that say which pod of which account carries them, signed with a key of
//! this node's own, and the public half of that key as a JSON Web Key Set.
//!
//! They have the shape of a cluster's tokens (RFC 7519; KEP 1205, bound service account tokens), so whoever can verify
//! those can verify these: `iss`, `sub`, `aud`, `exp`, `iat`, `nbf`, `jti` and `kubernetes.io`. A library for JWT would
//! bring thirty crates to do what is one page here; tests verify with such a library
//! (docs/decisions/0043-tokens-are-signed-by-the-nodes-own-key.md).

mod claims;
mod issuer;
mod signing_key;
#[cfg(test)]
mod tests;

pub use claims::{BoundPod, Request};
pub use issuer::{Issued, Issuer};

use std::path::PathBuf;

use crate::file::FileError;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The key's file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key's file holds no key.
    #[error("the signing key {path} is not one: remove it to have a new one made")]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The system has no random numbers, or signing did not work.
    #[error("random numbers of the system")]
    Random,
    /// The claims cannot be written as JSON.
    #[error("encode the claims")]
    Encode(#[from] serde_json::Error),
}
