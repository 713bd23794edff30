//! Tests of sessions against a registry on 127.0.0.1.

use std::fs;
use std::io::Write;
use std::time::Duration;

use oci_spec::image::Digest;

use super::error::chain;
use super::fake::{Door, FakeRegistry, Fault, digest};
use super::*;

mod explain;
mod failover;
mod identity;
mod proxy;
mod tls;

fn config() -> RegistryConfig {
    RegistryConfig {
        no_progress: Duration::from_millis(300),
        attempts: 3,
        pause: Duration::from_millis(1),
        ..RegistryConfig::default()
    }
}

fn session_with(
    config: RegistryConfig,
    registry: &FakeRegistry,
    credentials: Option<Credentials>,
) -> Session {
    let reference = registry.name("x").parse().unwrap();
    Registry::new(config)
        .session(&reference, credentials.as_ref())
        .unwrap()
}

/// Rules for `r.example`, as the text of its `hosts.toml`.
fn with_rules(text: &str) -> (tempfile::TempDir, RegistryConfig) {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("r.example")).unwrap();
    let path = directory.path().join("r.example/hosts.toml");
    let mut file = fs::File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let config = RegistryConfig {
        certs_directories: vec![directory.path().to_owned()],
        ..config()
    };
    (directory, config)
}

/// Of `r.example/x`, by these rules.
fn session_by(text: &str) -> Session {
    let (_directory, config) = with_rules(text);
    let reference = "r.example/x".parse().unwrap();
    Registry::new(config).session(&reference, None).unwrap()
}

/// An address at which nobody listens.
fn nobody() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn session(registry: &FakeRegistry) -> Session {
    session_with(config(), registry, None)
}

async fn download(
    session: &Session,
    digest: &str,
    size: Option<u64>,
) -> Result<Vec<u8>, RegistryError> {
    let digest: Digest = digest.parse().unwrap();
    let mut stream = session.blob(&digest, size);
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

const MANIFEST: &str = r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;

#[tokio::test]
async fn manifests_come_by_tag_and_digest_with_their_own_digest() {
    let registry = FakeRegistry::start(Door::Open).await;
    let expected = registry.put_manifest("x", "1", MANIFEST);
    let session = session(&registry);
    let by_tag = session.manifest_by_tag("1").await.unwrap();
    assert_eq!(by_tag.digest.to_string(), expected);
    assert_eq!(by_tag.bytes, MANIFEST.as_bytes());
    assert_eq!(
        by_tag.media_type,
        "application/vnd.oci.image.manifest.v1+json"
    );
    let by_digest = session.manifest_by_digest(&by_tag.digest).await.unwrap();
    assert_eq!(by_digest, by_tag);
    let missing = session.manifest_by_tag("2").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(registry.count("manifests/2"), 1);
}

#[tokio::test]
async fn another_manifest_than_that_of_the_digest_is_corrupt() {
    let registry = FakeRegistry::start(Door::Open).await;
    let asked = digest(b"something else");
    registry.put(&format!("/v2/x/manifests/{asked}"), "", MANIFEST.as_bytes());
    let error = session(&registry)
        .manifest_by_digest(&asked.parse().unwrap())
        .await
        .unwrap_err();
    assert!(
        matches!(error, RegistryError::WrongDigest { .. }),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_manifest_of_more_than_4_mib_is_refused() {
    let registry = FakeRegistry::start(Door::Open).await;
    registry.put("/v2/x/manifests/1", "", &vec![b' '; 4 * 1024 * 1024 + 1]);
    let error = session(&registry).manifest_by_tag("1").await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_for_all() {
    let registry = FakeRegistry::start(Door::Bearer(None)).await;
    registry.put_manifest("x", "1", MANIFEST);
    let blob = registry.put_blob("x", b"blob");
    let session = session(&registry);
    session.manifest_by_tag("1").await.unwrap();
    assert_eq!(download(&session, &blob, Some(4)).await.unwrap(), b"blob");
    assert_eq!(registry.count("/token"), 1);
    assert_eq!(
        registry.log()[1],
        "GET /token?service=fake&scope=repository%3Ax%3Apull - -"
    );
}

#[tokio::test]
async fn every_form_of_credentials_opens_its_door() {
    // base64 of "user:secret"
    let basic = "Basic dXNlcjpzZWNyZXQ=".to_owned();
    let password = Credentials {
        username: "user".to_owned(),
        password: "secret".to_owned(),
        ..Credentials::default()
    };
    let encoded = Credentials {
        auth: "dXNlcjpzZWNyZXQ=".to_owned(),
        ..Credentials::default()
    };
    let identity = Credentials {
        identity_token: "refresh".to_owned(),
        ..Credentials::default()
    };
    let token = Credentials {
        registry_token: "good".to_owned(),
        ..Credentials::default()
    };
    for (door, credentials) in [
        (Door::Basic(basic.clone()), password.clone()),
        (Door::Basic(basic.clone()), encoded),
        (Door::Bearer(Some(basic.clone())), password.clone()),
        (Door::Bearer(Some(basic.clone())), identity),
        (Door::Bearer(Some(basic.clone())), token),
    ] {
        let registry = FakeRegistry::start(door.clone()).await;
        registry.put_manifest("x", "1", MANIFEST);
        let session = session_with(config(), &registry, Some(credentials));
        session.manifest_by_tag("1").await.unwrap();
    }
    let elsewhere = Credentials {
        server_address: "other.example".to_owned(),
        ..password
    };
    for (door, credentials) in [
        (Door::Basic(basic.clone()), None),
        (Door::Basic(basic.clone()), Some(elsewhere.clone())),
        (Door::Bearer(Some(basic.clone())), None),
        (Door::Bearer(Some(basic)), Some(elsewhere)),
    ] {
        let registry = FakeRegistry::start(door.clone()).await;
        registry.put_manifest("x", "1", MANIFEST);
        let session = session_with(config(), &registry, credentials);
        let error = session.manifest_by_tag("1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{door:?} {error}");
        assert_eq!(registry.count("dXNlcjpzZWNyZXQ"), 0);
    }
}

#[tokio::test]
async fn redirects_are_followed_without_credentials() {
    let basic = "Basic dXNlcjpzZWNyZXQ=".to_owned();
    let registry = FakeRegistry::start(Door::Basic(basic)).await;
    let storage = FakeRegistry::start(Door::Open).await;
    let blob = registry.put_blob("x", b"unused");
    storage.put("/storage", "", b"unused");
    let path = format!("/v2/x/blobs/{blob}");
    let location = format!("http://{}/storage?signature=s", storage.address);
    registry.fail(&path, Fault::Redirect(location));
    let credentials = Credentials {
        username: "user".to_owned(),
        password: "secret".to_owned(),
        ..Credentials::default()
    };
    let session = session_with(config(), &registry, Some(credentials));
    assert_eq!(download(&session, &blob, Some(6)).await.unwrap(), b"unused");
    assert_eq!(storage.log(), ["GET /storage?signature=s - -"]);
    assert_eq!(registry.count("Basic"), 1);
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let registry = FakeRegistry::start(Door::Open).await;
    for _ in 0..30 {
        registry.fail(
            "/v2/x/manifests/1",
            Fault::Redirect("/v2/x/manifests/1".to_owned()),
        );
    }
    let error = session(&registry).manifest_by_tag("1").await.unwrap_err();
    assert!(matches!(error, RegistryError::Redirect { .. }), "{error}");
}

#[tokio::test]
async fn what_is_passing_is_asked_again_and_what_is_not_is_not() {
    for (faults, kind) in [
        (vec![429, 503], None),
        (vec![500, 500, 500], Some(ErrorKind::Unavailable)),
        (vec![429, 429, 429], Some(ErrorKind::RateLimited)),
        (vec![403], Some(ErrorKind::Unauthorized)),
        (vec![400], Some(ErrorKind::Protocol)),
    ] {
        let registry = FakeRegistry::start(Door::Open).await;
        registry.put_manifest("x", "1", MANIFEST);
        for status in &faults {
            registry.fail("/v2/x/manifests/1", Fault::Status(*status));
        }
        let outcome = session(&registry).manifest_by_tag("1").await;
        let requests = faults.len() + usize::from(kind.is_none());
        assert_eq!(registry.log().len(), requests, "{faults:?}");
        match outcome {
            Ok(_) => assert_eq!(kind, None),
            Err(error) => {
                assert_eq!(Some(error.kind()), kind);
                assert!(error.to_string().contains("a fault"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_cut_blob_goes_on_where_it_stopped() {
    let bytes: Vec<u8> = (0..30_000_u32).flat_map(u32::to_le_bytes).collect();
    let registry = FakeRegistry::start(Door::Open).await;
    let blob = registry.put_blob("x", &bytes);
    let path = format!("/v2/x/blobs/{blob}");
    registry.fail(&path, Fault::Cut(50_000));
    registry.fail(&path, Fault::Status(502));
    registry.fail(&path, Fault::Cut(10_000));
    let size = Some(bytes.len() as u64);
    assert!(download(&session(&registry), &blob, size).await.unwrap() == bytes);
    assert_eq!(registry.count("bytes=50000-"), 2);
    assert_eq!(registry.count("bytes=60000-"), 1);
}

#[tokio::test]
async fn a_cut_blob_is_right_without_ranges_too() {
    let bytes: Vec<u8> = (0..30_000_u32).flat_map(u32::to_le_bytes).collect();
    let registry = FakeRegistry::start(Door::Open).await;
    registry.without_ranges();
    let blob = registry.put_blob("x", &bytes);
    registry.fail(&format!("/v2/x/blobs/{blob}"), Fault::Cut(50_000));
    let size = Some(bytes.len() as u64);
    assert!(download(&session(&registry), &blob, size).await.unwrap() == bytes);
}

#[tokio::test]
async fn a_blob_that_is_always_cut_ends_with_an_error() {
    let registry = FakeRegistry::start(Door::Open).await;
    let blob = registry.put_blob("x", &[1; 1000]);
    for _ in 0..3 {
        registry.fail(&format!("/v2/x/blobs/{blob}"), Fault::Cut(0));
    }
    let error = download(&session(&registry), &blob, Some(1000))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_registry_that_does_not_go_on_times_out() {
    let registry = FakeRegistry::start(Door::Open).await;
    let blob = registry.put_blob("x", &[1; 1000]);
    for _ in 0..3 {
        registry.fail(&format!("/v2/x/blobs/{blob}"), Fault::Stall);
    }
    let error = download(&session(&registry), &blob, Some(1000))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let reference = format!("{}/x", nobody()).parse().unwrap();
    let session = Registry::new(config()).session(&reference, None).unwrap();
    let error = session.manifest_by_tag("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn mirrors_are_asked_first_and_the_rules_are_read_anew() {
    let upstream = FakeRegistry::start(Door::Open).await;
    let mirror = FakeRegistry::start(Door::Open).await;
    upstream.put_manifest("x", "1", MANIFEST);
    let blob = upstream.put_blob("x", b"blob");
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::new(RegistryConfig {
        certs_directories: vec![directory.path().to_owned()],
        ..config()
    });
    let reference = upstream.name("x").parse().unwrap();
    let pull = async || {
        let session = registry.session(&reference, None).unwrap();
        session.manifest_by_tag("1").await.unwrap();
        assert_eq!(download(&session, &blob, Some(4)).await.unwrap(), b"blob");
    };
    pull().await;
    assert_eq!(mirror.log().len(), 0);
    let folder = directory.path().join(upstream.address.to_string());
    fs::create_dir_all(&folder).unwrap();
    let mut file = fs::File::create(folder.join("hosts.toml")).unwrap();
    writeln!(file, "[host.\"http://{}\"]", mirror.address).unwrap();
    // The mirror is empty at first: both are asked.
    pull().await;
    let ns = format!("?ns={}", upstream.address);
    assert_eq!(mirror.count(&ns), 2);
    let before = upstream.log().len();
    mirror.put_manifest("x", "1", MANIFEST);
    mirror.put_blob("x", b"blob");
    pull().await;
    assert_eq!(upstream.log().len(), before);
}

fn referrers_index(types: &[&str]) -> String {
    let descriptor = |artifact_type: &&str| {
        serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": artifact_type,
            "digest": digest(artifact_type.as_bytes()),
            "size": 1,
        })
    };
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": types.iter().map(descriptor).collect::<Vec<_>>(),
    })
    .to_string()
}

async fn referrers(registry: &FakeRegistry, wanted: Option<&str>) -> Vec<String> {
    let subject: Digest = digest(b"subject").parse().unwrap();
    let found = session(registry).referrers(&subject, wanted).await.unwrap();
    found
        .iter()
        .map(|descriptor| descriptor.artifact_type().as_ref().unwrap().to_string())
        .collect()
}

#[tokio::test]
async fn referrers_are_listed_by_the_question_or_by_the_tag() {
    let index = referrers_index(&["a/b", "c/d"]);
    let subject = digest(b"subject");
    let by_question = FakeRegistry::start(Door::Open).await;
    let media_type = "application/vnd.oci.image.index.v1+json";
    let path = format!("/v2/x/referrers/{subject}");
    by_question.put(&path, media_type, index.as_bytes());
    let by_tag = FakeRegistry::start(Door::Open).await;
    by_tag.put_manifest("x", &subject.replace(':', "-"), &index);
    // It takes every path for one of its pages.
    let with_pages = by_tag.clone();
    with_pages.put(&path, "text/html", b"<html>");
    for registry in [&by_question, &by_tag, &with_pages] {
        assert_eq!(referrers(registry, None).await, ["a/b", "c/d"]);
        assert_eq!(referrers(registry, Some("c/d")).await, ["c/d"]);
    }
    assert_eq!(by_question.count("?artifactType=c%2Fd"), 1);
    let empty = FakeRegistry::start(Door::Open).await;
    assert!(referrers(&empty, None).await.is_empty());
}

#[tokio::test]
async fn a_host_that_cannot_tell_its_referrers_is_an_error_and_not_an_empty_list() {
    let registry = FakeRegistry::start(Door::Open).await;
    let subject = digest(b"subject");
    for _ in 0..3 {
        registry.fail(&format!("/v2/x/referrers/{subject}"), Fault::Status(500));
    }
    let session = session(&registry);
    let outcome = session.referrers(&subject.parse().unwrap(), None).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unavailable);
    let broken = FakeRegistry::start(Door::Open).await;
    let media_type = "application/vnd.oci.image.index.v1+json";
    broken.put(&format!("/v2/x/referrers/{subject}"), media_type, b"{");
    let session = session_with(config(), &broken, None);
    let outcome = session.referrers(&subject.parse().unwrap(), None).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Corrupt);
}
