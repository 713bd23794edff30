//! Several hosts: what makes the next one be asked, and what is said when none has it.

use std::time::Instant;

use super::*;

fn blob_of(size: u32) -> Vec<u8> {
    (0..size).flat_map(u32::to_le_bytes).collect()
}

fn two_hosts(mirror: std::net::SocketAddr, upstream: std::net::SocketAddr) -> String {
    format!("server = \"http://{upstream}\"\n[host.\"http://{mirror}\"]\n")
}

#[tokio::test]
async fn a_mirror_that_dies_within_a_blob_is_followed_by_the_next_host_at_the_offset() {
    let bytes = blob_of(30_000);
    let mirror = FakeRegistry::start(Door::Open).await;
    let upstream = FakeRegistry::start(Door::Open).await;
    let blob = mirror.put_blob("x", &bytes);
    upstream.put_blob("x", &bytes);
    let path = format!("/v2/x/blobs/{blob}");
    mirror.fail(&path, Fault::Cut(50_000));
    mirror.fail(&path, Fault::Status(502));
    let session = session_by(&two_hosts(mirror.address, upstream.address));
    let size = Some(bytes.len() as u64);
    assert!(download(&session, &blob, size).await.unwrap() == bytes);
    // It had brought bytes, and got a second chance.
    assert_eq!(mirror.count(&path), 2);
    assert_eq!(upstream.count("bytes=50000-"), 1);
    assert_eq!(upstream.log().len(), 1);
}

#[tokio::test]
async fn wrong_manifests_and_documents_are_got_from_the_next_host() {
    let mirror = FakeRegistry::start(Door::Open).await;
    let upstream = FakeRegistry::start(Door::Open).await;
    let digest = upstream.put_manifest("x", "1", MANIFEST);
    mirror.put_manifest("x", "1", MANIFEST);
    let blob = upstream.put_blob("x", b"document");
    mirror.put_blob("x", b"document");
    let session = session_by(&two_hosts(mirror.address, upstream.address));
    mirror.fail(&format!("/v2/x/manifests/{digest}"), Fault::WrongBytes);
    let asked = digest.parse().unwrap();
    let manifest = session.manifest_by_digest(&asked).await.unwrap();
    assert_eq!(manifest.bytes, MANIFEST.as_bytes());
    mirror.fail(&format!("/v2/x/blobs/{blob}"), Fault::WrongBytes);
    let document = session.document(&blob.parse().unwrap(), 8).await.unwrap();
    assert_eq!(document, b"document");
    assert_eq!(upstream.log().len(), 2);
    let large = session.document(&blob.parse().unwrap(), 7).await;
    assert_eq!(large.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_host_that_sent_wrong_bytes_is_not_asked_again() {
    let mirror = FakeRegistry::start(Door::Open).await;
    let upstream = FakeRegistry::start(Door::Open).await;
    let blob = mirror.put_blob("x", b"good");
    upstream.put_blob("x", b"good");
    mirror.fail(&format!("/v2/x/blobs/{blob}"), Fault::WrongBytes);
    let session = session_by(&two_hosts(mirror.address, upstream.address));
    let digest: Digest = blob.parse().unwrap();
    let mut stream = session.blob(&digest, Some(4));
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "????");
    stream.distrust();
    assert!(session.has_turned_away());
    assert!(!session.has_turned_away());
    assert_eq!(download(&session, &blob, Some(4)).await.unwrap(), b"good");
    assert_eq!(mirror.log().len(), 1);
    // There is nobody after the last one.
    let mut stream = session.blob(&digest, Some(4));
    stream.chunk().await.unwrap().unwrap();
    stream.distrust();
    assert!(!session.has_turned_away());
    assert_eq!(download(&session, &blob, Some(4)).await.unwrap(), b"good");
}

#[tokio::test]
async fn a_part_that_begins_elsewhere_is_refused() {
    let bytes = blob_of(30_000);
    let registry = FakeRegistry::start(Door::Open).await;
    let blob = registry.put_blob("x", &bytes);
    let path = format!("/v2/x/blobs/{blob}");
    registry.fail(&path, Fault::Cut(50_000));
    registry.fail(&path, Fault::WrongPart);
    let size = Some(bytes.len() as u64);
    assert!(download(&session(&registry), &blob, size).await.unwrap() == bytes);
    assert_eq!(registry.count("bytes=50000-"), 2);
}

#[tokio::test]
async fn a_byte_now_and_then_is_no_progress() {
    let registry = FakeRegistry::start(Door::Open).await;
    let blob = registry.put_blob("x", &[1; 100_000]);
    let path = format!("/v2/x/blobs/{blob}");
    registry.fail(&path, Fault::Drip);
    // It is taken for a stall, and another connection brings the rest.
    let bytes = download(&session(&registry), &blob, Some(100_000))
        .await
        .unwrap();
    assert_eq!(bytes.len(), 100_000);
    assert_eq!(registry.count(&path), 2);
}

#[tokio::test]
async fn the_registry_says_when_to_come_again() {
    // Dates have whole seconds: at least one is left of two.
    let soon = std::time::SystemTime::now() + Duration::from_secs(2);
    for when in [httpdate::fmt_http_date(soon), "1".to_owned()] {
        let registry = FakeRegistry::start(Door::Open).await;
        registry.put_manifest("x", "1", MANIFEST);
        let fault = Fault::RetryAfter(429, when.clone());
        registry.fail("/v2/x/manifests/1", fault);
        let began = Instant::now();
        session(&registry).manifest_by_tag("1").await.unwrap();
        assert!(began.elapsed() > Duration::from_millis(800), "{when}");
    }
}

#[tokio::test]
async fn all_hosts_are_named_with_their_reasons() {
    let mirror = FakeRegistry::start(Door::Basic("Basic x".to_owned())).await;
    let nobody = nobody();
    let session = session_by(&two_hosts(mirror.address, nobody));
    let error = session.manifest_by_tag("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let said = chain(&error);
    for part in [
        "2 hosts were asked",
        &mirror.address.to_string(),
        "with no credentials",
        "it wants a user name and a password",
        &nobody.to_string(),
        "Connection refused",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let blob = digest(b"x");
    let said = chain(&download(&session, &blob, None).await.unwrap_err());
    assert!(said.contains("2 hosts were asked"), "{said}");
}

#[tokio::test]
async fn a_mirror_that_may_not_resolve_is_not_asked_for_tags() {
    let mirror = FakeRegistry::start(Door::Open).await;
    let upstream = FakeRegistry::start(Door::Open).await;
    upstream.put_manifest("x", "1", MANIFEST);
    let blob = mirror.put_blob("x", b"blob");
    let rule = two_hosts(mirror.address, upstream.address) + "capabilities = [\"pull\"]";
    let session = session_by(&rule);
    session.manifest_by_tag("1").await.unwrap();
    assert_eq!(mirror.log().len(), 0);
    assert_eq!(download(&session, &blob, None).await.unwrap(), b"blob");
    assert_eq!(mirror.count("?ns=r.example"), 1);
}

#[tokio::test]
async fn a_host_that_takes_no_connection_is_left_after_its_own_timeout() {
    // A full backlog: the kernel answers no more connections.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut held = Vec::new();
    for _ in 0..8 {
        let connecting = tokio::net::TcpStream::connect(address);
        match tokio::time::timeout(Duration::from_millis(100), connecting).await {
            Ok(stream) => held.push(stream.unwrap()),
            Err(_elapsed) => break,
        }
    }
    let upstream = FakeRegistry::start(Door::Open).await;
    upstream.put_manifest("x", "1", MANIFEST);
    let rule = two_hosts(address, upstream.address) + "dial_timeout = \"150ms\"";
    let (_directory, config) = with_rules(&rule);
    let config = RegistryConfig {
        no_progress: Duration::from_secs(20),
        ..config
    };
    let reference = "r.example/x".parse().unwrap();
    let session = Registry::new(config).session(&reference, None).unwrap();
    let began = Instant::now();
    session.manifest_by_tag("1").await.unwrap();
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(100) && took < Duration::from_secs(10),
        "{took:?}"
    );
}
