//! Tokens as a verifier sees them: verified by a library that shares nothing with the code that signs.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

const URL: &str = "https://node-1.example";

fn issuer() -> (tempfile::TempDir, Issuer) {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::open(folder.path(), URL).unwrap();
    (folder, issuer)
}

fn request() -> Request {
    Request {
        namespace: "shop".to_owned(),
        account: "robot".to_owned(),
        account_uid: "uid-a".to_owned(),
        pod: Some(BoundPod {
            name: "web".to_owned(),
            uid: "uid-p".to_owned(),
        }),
        audiences: vec!["vault".to_owned()],
        expiration_seconds: 600,
    }
}

fn verify(issuer: &Issuer, token: &str, audience: &str) -> jsonwebtoken::errors::Result<Value> {
    let keys: JwkSet = serde_json::from_value(issuer.jwks()).unwrap();
    let id = decode_header(token)?.kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&id).unwrap())?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[URL]);
    validation.validate_nbf = true;
    validation.leeway = 0;
    decode::<Value>(token, &key, &validation).map(|data| data.claims)
}

#[test]
fn a_token_is_verified_with_the_published_keys_and_says_who_carries_it() {
    let (_folder, issuer) = issuer();
    let now = Timestamp::now();
    let issued = issuer.issue(&request(), Some("node-1"), now).unwrap();
    let mut claims = verify(&issuer, &issued.token, "vault").unwrap();
    assert_eq!(claims["jti"].as_str().unwrap().len(), 36);
    claims["jti"] = Value::Null;
    let seconds = now.as_second();
    assert_eq!(
        claims,
        json!({
            "aud": ["vault"], "iss": URL, "sub": "system:serviceaccount:shop:robot", "jti": null,
            "exp": seconds + 600, "iat": seconds, "nbf": seconds,
            "kubernetes.io": {"namespace": "shop", "node": {"name": "node-1"}, "pod": {"name": "web", "uid": "uid-p"},
                "serviceaccount": {"name": "robot", "uid": "uid-a"}},
        })
    );
    assert_eq!(issued.expires_at.as_second(), seconds + 600);
}

#[test]
fn a_token_for_nobody_else_is_for_the_issuer() {
    let (_folder, issuer) = issuer();
    let request = Request {
        pod: None,
        audiences: Vec::new(),
        ..request()
    };
    let issued = issuer
        .issue(&request, Some("node-1"), Timestamp::now())
        .unwrap();
    let claims = verify(&issuer, &issued.token, URL).unwrap();
    assert_eq!(
        claims["kubernetes.io"],
        json!({"namespace": "shop", "serviceaccount": {"name": "robot", "uid": "uid-a"}})
    );
}

#[test]
fn a_token_is_refused_for_another_audience_after_its_time_and_when_it_was_changed() {
    let (_folder, issuer) = issuer();
    let now = Timestamp::now();
    let issued = issuer.issue(&request(), None, now).unwrap();
    assert!(verify(&issuer, &issued.token, "other").is_err());

    let past = Timestamp::from_second(now.as_second() - 1000).unwrap();
    let old = issuer.issue(&request(), None, past).unwrap();
    assert!(verify(&issuer, &old.token, "vault").is_err());

    let (head, signature) = issued.token.rsplit_once('.').unwrap();
    let other = issuer.issue(&request(), None, now).unwrap();
    let (other_head, _) = other.token.rsplit_once('.').unwrap();
    assert_ne!(head, other_head);
    assert!(verify(&issuer, &format!("{other_head}.{signature}"), "vault").is_err());
}

#[test]
fn the_key_is_private_and_the_same_after_opening_again() {
    let (folder, issuer) = issuer();
    let issued = issuer.issue(&request(), None, Timestamp::now()).unwrap();
    let again = Issuer::open(folder.path(), URL).unwrap();
    assert_eq!(again.jwks(), issuer.jwks());
    assert!(verify(&again, &issued.token, "vault").is_ok());
    let mode = fs::metadata(folder.path().join("token.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);

    let (_other_folder, other) = self::issuer();
    assert_ne!(other.jwks(), issuer.jwks());
}

#[test]
fn a_file_that_is_no_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    file_with(&folder, b"no key");
    assert!(matches!(
        Issuer::open(folder.path(), URL),
        Err(TokenError::Key { .. })
    ));
}

fn file_with(folder: &tempfile::TempDir, bytes: &[u8]) {
    let path = folder.path().join("token.key");
    crate::file::replace(&path, bytes, crate::file::Durability::Rename).unwrap();
}

#[test]
fn a_token_is_not_printed() {
    let (_folder, issuer) = issuer();
    let issued = issuer.issue(&request(), None, Timestamp::now()).unwrap();
    assert!(!format!("{issued:?} {issuer:?}").contains(&issued.token));
}

#[test]
fn discovery_names_where_the_keys_are() {
    let (_folder, issuer) = issuer();
    assert_eq!(
        issuer.discovery()["jwks_uri"],
        "https://node-1.example/openid/v1/jwks"
    );
    assert_eq!(issuer.discovery()["issuer"], URL);
}
