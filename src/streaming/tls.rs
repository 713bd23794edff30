//! TLS of the streaming server, for a node whose kubelet or API server asks for it.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::server::StreamingError;

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the certificate, then those that signed it.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// Reads the files.
///
/// # Errors
/// When they cannot be read, or do not belong together.
pub(super) fn configuration(files: &TlsFiles) -> Result<Arc<ServerConfig>, StreamingError> {
    let unreadable = |path: &PathBuf| {
        let path = path.clone();
        move |source| StreamingError::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable(&files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(StreamingError::Tls)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(StreamingError::Tls)?;
    // HTTP/2 has no upgrade.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
