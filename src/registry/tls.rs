//! What a host's certificate is checked against, and what we show ourselves.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::RegistryError;
use super::hosts::{ClientCertificate, Host, Verification};

/// The TLS settings for a host: the system's authorities and its own, or none, and our certificates for it. TLS 1.2
/// and 1.3 are spoken.
pub(super) fn configuration(host: &Host) -> Result<ClientConfig, RegistryError> {
    let provider = Arc::new(ring::default_provider());
    let mut configuration = match host.verification {
        Verification::Full => verified(&provider, &host.authorities)?,
        Verification::Skipped => builder(&provider)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(Arc::clone(&provider))))
            .with_no_client_auth(),
    };
    if !host.client_certificates.is_empty() {
        let keys = host.client_certificates.iter();
        let keys = keys.map(|client| certified_key(client, &provider));
        configuration.client_auth_cert_resolver = Arc::new(OwnCertificates {
            keys: keys.collect::<Result<_, _>>()?,
        });
    }
    Ok(configuration)
}

/// The TLS settings for whom no rule is: the system's authorities.
pub(super) fn of_system() -> Result<ClientConfig, RegistryError> {
    verified(&Arc::new(ring::default_provider()), &[])
}

fn builder(
    provider: &Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, RegistryError> {
    ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| RegistryError::Tls { source })
}

fn verified(
    provider: &Arc<CryptoProvider>,
    authorities: &[std::path::PathBuf],
) -> Result<ClientConfig, RegistryError> {
    let mut roots = RootCertStore::empty();
    // A broken file among the system's is not ours to judge; without any, no certificate will be valid.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in authorities {
        if let (0, _) = roots.add_parsable_certificates(certificates(path)?) {
            return Err(no_certificate(path));
        }
    }
    Ok(builder(provider)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    let bytes = read(path)?;
    let found = CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok);
    Ok(found.collect())
}

fn certified_key(
    client: &ClientCertificate,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, RegistryError> {
    let chain = certificates(&client.certificate)?;
    if chain.is_empty() {
        return Err(no_certificate(&client.certificate));
    }
    let path = &client.key;
    let key = PrivateKeyDer::from_pem_slice(&read(path)?);
    // What the parser says could be a part of the key.
    let key = key.map_err(|_broken| RegistryError::NoKey { path: path.clone() })?;
    let key = CertifiedKey::from_der(chain, key, provider);
    key.map(Arc::new)
        .map_err(|source| RegistryError::ClientCertificate {
            path: client.certificate.clone(),
            source,
        })
}

fn read(path: &Path) -> Result<Vec<u8>, RegistryError> {
    fs::read(path).map_err(|source| RegistryError::Read {
        path: path.to_owned(),
        source,
    })
}

fn no_certificate(path: &Path) -> RegistryError {
    RegistryError::NoCertificate {
        path: path.to_owned(),
    }
}

/// Our certificates for a host, of which one is shown if it is asked for.
#[derive(Debug)]
struct OwnCertificates {
    keys: Vec<Arc<CertifiedKey>>,
}

impl ResolvesClientCert for OwnCertificates {
    /// The first one of an authority that the host accepts, else the first one: its list need not be whole.
    fn resolve(
        &self,
        authorities: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let usable = || {
            let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
            self.keys.iter().filter(fits)
        };
        // The issuer's name is a part of the certificate, in the same encoding.
        let is_of = |key: &CertifiedKey, authority: &[u8]| {
            !authority.is_empty()
                && key.cert.iter().any(|certificate| {
                    let mut parts = certificate.windows(authority.len());
                    parts.any(|part| part == authority)
                })
        };
        let accepted = |key: &&Arc<CertifiedKey>| {
            let mut authorities = authorities.iter();
            authorities.any(|authority| is_of(key, authority))
        };
        usable().find(accepted).or_else(|| usable().next()).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.keys.is_empty()
    }
}

/// Accepts every certificate, where `skip_verify` says so. Signatures of the handshake are still checked, so the
/// peer has the key of the certificate that it shows.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
