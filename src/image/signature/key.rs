//! Public keys: read from PEM, and asked whether they made a signature.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::{Error, RawPublicKeyEntity, ring};

/// What cosign signs with. It takes SHA-256 whatever the curve, and newer versions the curve's own.
const ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 5] = [
    ring::ECDSA_P256_SHA256,
    ring::ECDSA_P384_SHA256,
    ring::ECDSA_P384_SHA384,
    ring::ED25519,
    ring::RSA_PKCS1_2048_8192_SHA256,
];

/// A public key that signatures can be compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    info: SubjectPublicKeyInfoDer<'static>,
}

impl PublicKey {
    /// The one key of a PEM text; `None` if it is none, or of a kind that is not supported.
    pub(super) fn parse(pem: &[u8]) -> Option<Self> {
        let mut keys = SubjectPublicKeyInfoDer::pem_slice_iter(pem);
        let info = keys.next()?.ok()?;
        if keys.next().is_some() {
            return None;
        }
        let key = Self { info };
        let is_supported = |algorithm: &&dyn SignatureVerificationAlgorithm| {
            !matches!(
                key.outcome(*algorithm, b"", b""),
                Err(Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_))
                    | Err(Error::BadDer)
            )
        };
        let is_key = RawPublicKeyEntity::try_from(&key.info).is_ok();
        let is_supported = is_key && ALGORITHMS.iter().any(is_supported);
        is_supported.then_some(key)
    }

    /// Whether this key made `signature` over `message`.
    pub(super) fn made(&self, message: &[u8], signature: &[u8]) -> bool {
        let mut algorithms = ALGORITHMS.iter();
        algorithms.any(|algorithm| self.outcome(*algorithm, message, signature).is_ok())
    }

    fn outcome(
        &self,
        algorithm: &dyn SignatureVerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        RawPublicKeyEntity::try_from(&self.info)?.verify_signature(algorithm, message, signature)
    }
}
