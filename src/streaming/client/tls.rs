//! Which streaming server is believed to be one, where it speaks TLS.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::StreamClientError;

/// The server that is trusted. Its URL came over the runtime's own socket, which only root reaches.
#[derive(Debug, Clone, Default)]
pub struct TrustedServer {
    certificate: Option<CertificateDer<'static>>,
}

impl TrustedServer {
    /// The server that has this certificate, whatever its name, issuer and age: the one that this node's configuration names.
    pub fn with_certificate(certificate: CertificateDer<'static>) -> Self {
        Self {
            certificate: Some(certificate),
        }
    }

    /// Speaks TLS with it. Without a certificate, it must have one that the host trusts.
    pub(super) async fn connect(
        &self,
        host: &str,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, StreamClientError> {
        let failed = |source| StreamClientError::Tls {
            host: host.to_owned(),
            source,
        };
        let address = host
            .rsplit_once(':')
            .map_or(host, |(address, _port)| address);
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(address.to_owned())
            .map_err(|source| failed(std::io::Error::other(source)))?;
        let config = self.config().map_err(StreamClientError::Trust)?;
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, socket).await.map_err(failed)
    }

    fn config(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let Some(certificate) = &self.certificate else {
            let mut roots = RootCertStore::empty();
            // What of the host's certificates cannot be read is not trusted.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(builder.with_root_certificates(roots).with_no_client_auth());
        };
        let verifier = Pinned {
            certificate: certificate.clone(),
            provider,
        };
        Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth())
    }
}

/// Takes one certificate and no other. That the server has its key is checked as always.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match *end_entity == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::Error::InvalidCertificate(
                rustls::CertificateError::ApplicationVerificationFailure,
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
