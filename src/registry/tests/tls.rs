//! TLS: whose certificates are trusted, and which of ours are shown.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use super::*;

/// An authority with its certificate in PEM form.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(parameters, key),
            pem,
        }
    }

    /// A certificate for a name or address, and its key, in PEM form.
    pub(super) fn certify(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Settings of a server with that name, which lets in whom `clients` has certified.
    pub(super) fn server(&self, name: &str, clients: Option<&Self>) -> rustls::ServerConfig {
        let (certificate, key) = self.certify(name);
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                let root = CertificateDer::from_pem_slice(clients.pem.as_bytes()).unwrap();
                roots.add(root).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        builder.with_single_cert(chain, key).unwrap()
    }
}

pub(super) fn write(path: &Path, text: &str) {
    let mut file = fs::File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

async fn pull(address: std::net::SocketAddr, rule: &str) -> Result<Manifest, RegistryError> {
    let session = session_by(&format!("server = \"https://{address}\"\n{rule}"));
    session.manifest_by_tag("1").await
}

#[tokio::test]
async fn certificates_are_checked_against_the_rule_of_the_host() {
    let authority = Authority::new("one");
    let tls = authority.server("127.0.0.1", None);
    let registry = FakeRegistry::start_encrypted(Door::Open, tls).await;
    registry.put_manifest("x", "1", MANIFEST);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    write(&file, &authority.pem);
    let named = format!("ca = {:?}", file.display().to_string());
    for rule in [named.as_str(), "skip_verify = true"] {
        let manifest = pull(registry.address, rule).await.unwrap();
        assert_eq!(manifest.bytes, MANIFEST.as_bytes());
    }
    let error = pull(registry.address, "").await.unwrap_err();
    let said = chain(&error);
    assert!(
        said.contains("ca in hosts.toml") && said.contains("skip_verify"),
        "{said}"
    );
    assert!(said.contains("UnknownIssuer"), "{said}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    // Not worth another attempt: there was one connection for each pull.
    let missing = pull(registry.address, "ca = \"/nonexistent\"")
        .await
        .unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Configuration);
    write(&file, "no certificate");
    let empty = pull(registry.address, &named).await.unwrap_err();
    assert!(
        matches!(empty, RegistryError::NoCertificate { .. }),
        "{empty}"
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_says_so() {
    let authority = Authority::new("one");
    let tls = authority.server("other.example", None);
    let registry = FakeRegistry::start_encrypted(Door::Open, tls).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    write(&file, &authority.pem);
    let rule = format!("ca = {:?}", file.display().to_string());
    let said = chain(&pull(registry.address, &rule).await.unwrap_err());
    assert!(said.contains("by a name that it is for"), "{said}");
}

#[tokio::test]
async fn a_host_that_speaks_no_tls_says_so() {
    let registry = FakeRegistry::start(Door::Open).await;
    let said = chain(&pull(registry.address, "").await.unwrap_err());
    assert!(said.contains("registry.plain_http"), "{said}");
    assert_eq!(registry.log().len(), 0);
}

#[tokio::test]
async fn the_certificate_of_the_right_authority_is_shown() {
    let (servers, clients, others) = (
        Authority::new("s"),
        Authority::new("c"),
        Authority::new("o"),
    );
    let tls = servers.server("127.0.0.1", Some(&clients));
    let registry = FakeRegistry::start_encrypted(Door::Open, tls).await;
    registry.put_manifest("x", "1", MANIFEST);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(&path("ca.pem"), &servers.pem);
    let (certificate, key) = clients.certify("node");
    write(&path("good.cert"), &certificate);
    write(&path("good.key"), &key);
    write(&path("good.pem"), &format!("{certificate}{key}"));
    let (certificate, key) = others.certify("node");
    write(&path("other.pem"), &format!("{certificate}{key}"));
    let shown = |names: &str| {
        let folder = folder.path().display();
        let client = names.replace('@', &format!("{folder}/"));
        format!("ca = \"{folder}/ca.pem\"\nclient = {client}")
    };
    for names in [
        "\"@good.pem\"",
        "[\"@other.pem\", \"@good.pem\"]",
        "[[\"@other.pem\", \"\"], [\"@good.cert\", \"@good.key\"]]",
    ] {
        let outcome = pull(registry.address, &shown(names)).await;
        assert!(outcome.is_ok(), "{names}: {}", chain(&outcome.unwrap_err()));
    }
    for names in ["[]", "\"@other.pem\""] {
        let said = chain(&pull(registry.address, &shown(names)).await.unwrap_err());
        assert!(said.contains("client in hosts.toml"), "{names}: {said}");
    }
    let mixed = shown("[[\"@other.pem\", \"@good.key\"]]");
    let error = pull(registry.address, &mixed).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::ClientCertificate { .. }),
        "{error}"
    );
    let keyless = pull(registry.address, &shown("\"@good.cert\""))
        .await
        .unwrap_err();
    assert!(matches!(keyless, RegistryError::NoKey { .. }), "{keyless}");
}

#[tokio::test]
async fn docker_s_folder_of_certificates_is_enough() {
    let (servers, clients) = (Authority::new("s"), Authority::new("c"));
    let tls = servers.server("127.0.0.1", Some(&clients));
    let registry = FakeRegistry::start_encrypted(Door::Open, tls).await;
    registry.put_manifest("x", "1", MANIFEST);
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join(registry.address.to_string());
    fs::create_dir(&folder).unwrap();
    write(&folder.join("ca.crt"), &servers.pem);
    let (certificate, key) = clients.certify("node");
    write(&folder.join("client.cert"), &certificate);
    write(&folder.join("client.key"), &key);
    let config = RegistryConfig {
        certs_directories: vec![directory.path().to_owned()],
        ..config()
    };
    session_with(config, &registry, None)
        .manifest_by_tag("1")
        .await
        .unwrap();
}
