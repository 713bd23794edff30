//! Whose credentials a host gets.

use super::tls::write;
use super::*;

/// "user:secret"
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

fn with_auth_file(text: &str) -> (tempfile::TempDir, RegistryConfig) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.json");
    write(&file, text);
    let config = RegistryConfig {
        auth_files: vec![file],
        helper_directories: vec![folder.path().to_owned()],
        ..config()
    };
    (folder, config)
}

#[tokio::test]
async fn a_pull_without_credentials_takes_those_of_the_file_for_its_repository() {
    let registry = FakeRegistry::start(Door::Basic(BASIC.to_owned())).await;
    registry.put_manifest("x", "1", MANIFEST);
    let host = registry.address;
    let text = format!(
        r#"{{"auths": {{"{host}": {{"auth": "dTpw"}}, "{host}/x": {{"auth": "dXNlcjpzZWNyZXQ="}}}}}}"#
    );
    let (_folder, config) = with_auth_file(&text);
    let session = session_with(config.clone(), &registry, None);
    session.manifest_by_tag("1").await.unwrap();
    // The request's own come first, and nobody else's after them.
    let wrong = Credentials {
        username: "user".to_owned(),
        password: "wrong".to_owned(),
        ..Credentials::default()
    };
    let session = session_with(config, &registry, Some(wrong));
    let error = session.manifest_by_tag("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let said = chain(&error);
    assert!(
        said.contains("with the credentials of the request"),
        "{said}"
    );
    assert!(!said.contains("wrong"), "{said}");
}

#[tokio::test]
async fn a_helper_is_asked_only_when_the_registry_asks_and_once_for_all() {
    let open = FakeRegistry::start(Door::Open).await;
    let closed = FakeRegistry::start(Door::Bearer(Some(BASIC.to_owned()))).await;
    let (folder, config) = with_auth_file(r#"{"credsStore": "counting"}"#);
    let script = "#!/bin/sh\necho >>\"${0%/*}/count\"\n\
        printf '{\"Username\":\"user\",\"Secret\":\"secret\"}'\n";
    // Written by another process, because a file that this one has open for writing cannot be run.
    let program = folder.path().join("docker-credential-counting");
    let written = std::process::Command::new("sh")
        .args(["-c", "printf '%s' \"$2\" >\"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(&program)
        .arg(script)
        .status();
    assert!(written.unwrap().success());
    for registry in [&open, &closed] {
        registry.put_manifest("x", "1", MANIFEST);
        let blob = registry.put_blob("x", b"blob");
        let session = session_with(config.clone(), registry, None);
        session.manifest_by_tag("1").await.unwrap();
        download(&session, &blob, None).await.unwrap();
    }
    let count = fs::read_to_string(folder.path().join("count")).unwrap();
    assert_eq!(count.lines().count(), 1);
}

#[tokio::test]
async fn headers_of_the_rule_open_the_door_and_go_to_no_other_host() {
    let storage = FakeRegistry::start(Door::Open).await;
    for door in [
        Door::Basic(BASIC.to_owned()),
        Door::Bearer(Some(BASIC.to_owned())),
    ] {
        let registry = FakeRegistry::start(door.clone()).await;
        registry.put_manifest("x", "1", MANIFEST);
        let blob = registry.put_blob("x", b"blob");
        storage.put("/storage", "", b"blob");
        let location = format!("http://{}/storage", storage.address);
        registry.fail(&format!("/v2/x/blobs/{blob}"), Fault::Redirect(location));
        let session = session_by(&format!(
            "server = \"http://{}\"\n[header]\nAuthorization = \"{BASIC}\"",
            registry.address
        ));
        session.manifest_by_tag("1").await.unwrap();
        assert_eq!(download(&session, &blob, None).await.unwrap(), b"blob");
    }
    assert_eq!(storage.log(), ["GET /storage - -", "GET /storage - -"]);
}

#[tokio::test]
async fn a_broken_auth_file_is_an_error_only_for_who_needs_it() {
    let (_folder, config) = with_auth_file("{");
    let open = FakeRegistry::start(Door::Open).await;
    open.put_manifest("x", "1", MANIFEST);
    let session = session_with(config.clone(), &open, None);
    session.manifest_by_tag("1").await.unwrap();
    let closed = FakeRegistry::start(Door::Basic(BASIC.to_owned())).await;
    let session = session_with(config, &closed, None);
    let error = session.manifest_by_tag("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
}
