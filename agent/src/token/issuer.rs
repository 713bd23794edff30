//! Issues tokens.

use std::path::Path;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::TokenError;
use super::claims::{Claims, Kubernetes, Request};
use super::signing_key::SigningKey;
use crate::file;

/// The name of the key's file.
const KEY_FILE: &str = "token.key";
/// Where verifiers find the keys, below the issuer's URL.
const JWKS_PATH: &str = "/openid/v1/jwks";

/// A token with its times.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token itself: whoever has it is the account.
    pub token: String,
    /// From when on it is valid.
    pub issued_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("issued_at", &self.issued_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Issues tokens with the key of this node.
#[derive(Debug)]
pub struct Issuer {
    key: SigningKey,
    url: String,
}

impl Issuer {
    /// With the key of a folder, which is made if it is not there. `url` is who the tokens say has issued them.
    ///
    /// # Errors
    /// If the key cannot be read or made.
    pub fn open(directory: &Path, url: &str) -> Result<Self, TokenError> {
        file::create_private_folder(directory)?;
        Ok(Self {
            key: SigningKey::open(&directory.join(KEY_FILE))?,
            url: url.to_owned(),
        })
    }

    /// A token from `now` on. The node's name is told in tokens of pods.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn issue(
        &self,
        request: &Request,
        node_name: Option<&str>,
        now: Timestamp,
    ) -> Result<Issued, TokenError> {
        let issued_at = now.as_second();
        let expires_at = issued_at.saturating_add(request.expiration_seconds);
        let own = [self.url.clone()];
        let claims = Claims {
            aud: match request.audiences.is_empty() {
                true => &own,
                false => &request.audiences,
            },
            exp: expires_at,
            iat: issued_at,
            iss: &self.url,
            jti: crate::store::uid().map_err(|_error| TokenError::Random)?,
            kubernetes: Kubernetes::of(request, node_name),
            nbf: issued_at,
            sub: format!(
                "system:serviceaccount:{}:{}",
                request.namespace, request.account
            ),
        };
        Ok(Issued {
            token: self.key.sign(&serde_json::to_vec(&claims)?)?,
            issued_at: now,
            expires_at: Timestamp::from_second(expires_at).unwrap_or(Timestamp::MAX),
        })
    }

    /// The keys that tokens can be verified with (RFC 7517): what `/openid/v1/jwks` serves.
    #[must_use]
    pub fn jwks(&self) -> Value {
        json!({"keys": [self.key.public()]})
    }

    /// What `/.well-known/openid-configuration` serves (OpenID Connect Discovery 1.0).
    #[must_use]
    pub fn discovery(&self) -> Value {
        json!({
            "issuer": self.url,
            "jwks_uri": format!("{}{JWKS_PATH}", self.url.trim_end_matches('/')),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// Who the tokens say has issued them.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}
