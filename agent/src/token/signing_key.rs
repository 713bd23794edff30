//! The key that signs tokens: ECDSA on P-256 (ES256), in a file that only root reads.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use super::TokenError;
use crate::file::{self, Durability};

/// What comes before the point in a public key on P-256 as DER (RFC 5480, `SubjectPublicKeyInfo`).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The bytes of a coordinate on P-256.
const COORDINATE_BYTES: usize = 32;

/// A key pair with the id by which verifiers find its public half.
pub(super) struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    id: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The key of a file, which is made if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, TokenError> {
        let random = SystemRandom::new();
        let document = match file::read(path)? {
            Some(document) => document,
            None => {
                let document =
                    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                        .map_err(|_unspecified| TokenError::Random)?;
                file::replace(path, document.as_ref(), Durability::Synced)?;
                document.as_ref().to_vec()
            }
        };
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &document, &random)
            .map_err(|_rejected| TokenError::Key {
            path: path.to_owned(),
        })?;
        let id = key_id(pair.public_key().as_ref());
        Ok(Self { pair, random, id })
    }

    /// Signs claims: header, claims and signature, each in base64 (RFC 7515, compact serialisation).
    pub(super) fn sign(&self, claims: &[u8]) -> Result<String, TokenError> {
        let header = json!({"alg": "ES256", "kid": self.id});
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self
            .pair
            .sign(&self.random, message.as_bytes())
            .map_err(|_unspecified| TokenError::Random)?;
        Ok(format!(
            "{message}.{}",
            URL_SAFE_NO_PAD.encode(signature.as_ref())
        ))
    }

    /// The public half (RFC 7517).
    pub(super) fn public(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        // An uncompressed point: 4, x, y.
        let (x, y) = point
            .get(1..)
            .unwrap_or_default()
            .split_at(COORDINATE_BYTES);
        json!({
            "use": "sig",
            "kty": "EC",
            "kid": self.id,
            "crv": "P-256",
            "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
        })
    }
}

/// The id of a public key, as the API server makes it: the hash of its DER.
fn key_id(point: &[u8]) -> String {
    let der = [&SPKI_PREFIX[..], point].concat();
    URL_SAFE_NO_PAD.encode(digest(&SHA256, &der))
}
