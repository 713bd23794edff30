//! Tests of policies and signatures: by keys made here, and by what the real cosign has made
//! (`tests/golden/signature/cosign.json`, the output of `cosign sign`).

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde::Deserialize;
use serde_json::json;

use super::super::tests::{Recipe, config};
use super::super::{ErrorKind, Images, ImagesConfig};
use super::*;
use crate::registry::fake::{Door, FakeRegistry, Fault};
use crate::registry::{Registry, RegistryConfig};

/// A pair of keys as cosign has them.
struct Signer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap();
        Self { pair, random }
    }

    fn sign(&self, message: &[u8]) -> String {
        STANDARD.encode(self.pair.sign(&self.random, message).unwrap())
    }

    fn pem(&self) -> String {
        // RFC 5480: SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING }.
        let mut info = vec![
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        info.extend_from_slice(self.pair.public_key().as_ref());
        let text = STANDARD.encode(info);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    /// Puts a signature in cosign's older form beside an image.
    fn sign_simply(&self, registry: &FakeRegistry, digest: &str, payload: &serde_json::Value) {
        let payload = payload.to_string();
        let layer = json!({
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "digest": registry.put_blob("app", payload.as_bytes()),
            "size": payload.len(),
            "annotations": {"dev.cosignproject.cosign/signature": self.sign(payload.as_bytes())},
        });
        let tag = format!("{}.sig", digest.replace(':', "-"));
        registry.put_manifest("app", &tag, &manifest(&[layer]));
    }

    /// Puts a bundle beside an image.
    fn sign_bundle(&self, registry: &FakeRegistry, digest: &str, statement: &serde_json::Value) {
        let payload = statement.to_string();
        let kind = "application/vnd.in-toto+json";
        let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let bundle = json!({
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": "x"}},
            "dsseEnvelope": {
                "payload": STANDARD.encode(&payload),
                "payloadType": kind,
                "signatures": [{"sig": self.sign(signed.as_bytes())}],
            },
        });
        let bundle = bundle.to_string();
        let layer = json!({
            "mediaType": BUNDLE_TYPE,
            "digest": registry.put_blob("app", bundle.as_bytes()),
            "size": bundle.len(),
        });
        refer(registry, "app", digest, &[manifest(&[layer])]);
    }
}

const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn manifest(layers: &[serde_json::Value]) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": crate::registry::fake::digest(b"{}"),
            "size": 2,
        },
        "layers": layers,
    })
    .to_string()
}

/// Answers who refers to a digest.
fn refer(registry: &FakeRegistry, repository: &str, digest: &str, manifests: &[String]) {
    let referrers: Vec<_> = manifests
        .iter()
        .map(|text| {
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": registry.put_manifest(repository, "unused", text),
                "size": text.len(),
                "artifactType": BUNDLE_TYPE,
            })
        })
        .collect();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": referrers,
    });
    registry.put(
        &format!("/v2/{repository}/referrers/{digest}"),
        "application/vnd.oci.image.index.v1+json",
        index.to_string().as_bytes(),
    );
}

fn payload(reference: &str, digest: &str) -> serde_json::Value {
    json!({
        "critical": {
            "identity": {"docker-reference": reference},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": null,
    })
}

fn statement(name: &str, digest: &str) -> serde_json::Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest.replace("sha256:", "")}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
}

/// A store with a policy, and a registry with an image.
struct Stage {
    folder: tempfile::TempDir,
    images: Images,
    registry: FakeRegistry,
    digest: String,
}

impl Stage {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::open(ImagesConfig {
            signature_policy: Some(folder.path().join("policy.toml")),
            ..config(folder.path())
        });
        let registry = FakeRegistry::start(Door::Open).await;
        // Without layers, so that no root is needed to unpack them.
        let recipe = Recipe::new("signed", Vec::new());
        recipe.serve(&registry, "app", "1");
        Self {
            images: images.unwrap(),
            registry,
            digest: recipe.manifest_digest(),
            folder,
        }
    }

    fn policy(&self, text: &str) {
        let path = self.folder.path().join("policy.toml");
        File::create(path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    /// A policy that wants a signature by one key.
    fn wants(&self, signer: &Signer, more: &str) {
        let key = signer.pem();
        let host = self.registry.address;
        self.policy(&format!(
            "[scope.\"*\"]\npolicy = \"reject\"\n\
             [scope.\"{host}\"]\npolicy = \"cosign\"\nkeys = ['''{key}''']\n{more}\n"
        ));
    }

    async fn pull(&self) -> Result<(), ImageError> {
        let name = self.registry.name("app:1");
        self.images.pull(&name, None).await.map(drop)
    }

    /// The whole message of a pull that is refused for its signature; nothing of the image is fetched then.
    async fn refusal(&self) -> String {
        let error = self.pull().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SignatureInvalid, "{error:?}");
        assert!(self.images.list().is_empty());
        let config = "application/vnd.oci.image.config.v1+json";
        assert!(!self.registry.log().iter().any(|line| line.contains(config)));
        chain(&error)
    }

    fn repository(&self) -> String {
        self.registry.name("app")
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[tokio::test]
async fn without_a_policy_everything_is_let_in_and_no_signature_asked_for() {
    let stage = Stage::new().await;
    stage.pull().await.unwrap();
    assert_eq!(stage.registry.count(".sig"), 0);
    assert_eq!(stage.registry.count("/referrers/"), 0);
}

#[tokio::test]
async fn a_simple_signature_by_the_key_lets_an_image_in() {
    let stage = Stage::new().await;
    let signer = Signer::new();
    stage.wants(&signer, "");
    let refusal = stage.refusal().await;
    assert!(refusal.contains("has no signature"), "{refusal}");
    let good = payload(&stage.repository(), &stage.digest);
    signer.sign_simply(&stage.registry, &stage.digest, &good);
    stage.pull().await.unwrap();
    assert_eq!(stage.registry.count("/referrers/"), 1);
    // By digest too, and the policy is asked also when everything is here.
    let by_digest = stage.registry.name(&format!("app@{}", stage.digest));
    stage.images.pull(&by_digest, None).await.unwrap();
    stage.policy("[scope.\"*\"]\npolicy = \"reject\"\n");
    let error = stage.pull().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SignatureInvalid);
}

#[tokio::test]
async fn a_bundle_by_the_key_lets_an_image_in() {
    let stage = Stage::new().await;
    let signer = Signer::new();
    stage.wants(&signer, "");
    for name in ["", &stage.repository()] {
        let good = statement(name, &stage.digest);
        signer.sign_bundle(&stage.registry, &stage.digest, &good);
        stage.pull().await.unwrap();
    }
}

#[tokio::test]
async fn a_simple_signature_of_something_else_is_refused_with_the_reason() {
    let stage = Stage::new().await;
    let (signer, other) = (Signer::new(), Signer::new());
    stage.wants(&signer, "");
    let (name, digest) = (stage.repository(), stage.digest.clone());
    let mut attestation = payload(&name, &digest);
    attestation["critical"]["type"] = "something else".into();
    let elsewhere = format!("sha256:{}", "a".repeat(64));
    for (signed_by, payload, reason) in [
        (&other, payload(&name, &digest), "no key of the policy"),
        (&signer, payload(&name, &elsewhere), "of another image"),
        (
            &signer,
            payload("evil.example/app", &digest),
            "made for evil.example/app",
        ),
        (&signer, payload("!", &digest), "made for !"),
        (&signer, attestation, "another type: something else"),
        (&signer, json!({"critical": 3}), "parse what was signed"),
    ] {
        signed_by.sign_simply(&stage.registry, &digest, &payload);
        let refusal = stage.refusal().await;
        assert!(refusal.contains(reason), "{refusal}");
        assert!(refusal.contains(&digest), "{refusal}");
    }
    // A payload that is not the one that was signed.
    let good = payload(&name, &digest);
    signer.sign_simply(&stage.registry, &digest, &good);
    let path = crate::registry::fake::digest(good.to_string().as_bytes());
    for _ in 0..2 {
        stage
            .registry
            .fail(&format!("/v2/app/blobs/{path}"), Fault::WrongBytes);
    }
    let refusal = stage.refusal().await;
    assert!(refusal.contains("its digest is not"), "{refusal}");
}

#[tokio::test]
async fn a_bundle_of_something_else_is_refused_with_the_reason() {
    let stage = Stage::new().await;
    let (signer, other) = (Signer::new(), Signer::new());
    stage.wants(&signer, "");
    let digest = stage.digest.clone();
    let mut attestation = statement("", &digest);
    attestation["predicateType"] = "https://slsa.dev/provenance/v1".into();
    let elsewhere = format!("sha256:{}", "a".repeat(64));
    for (signed_by, statement, reason) in [
        (&other, statement("", &digest), "no key of the policy"),
        (&signer, statement("", &elsewhere), "of another image"),
        (
            &signer,
            statement("evil.example/app", &digest),
            "made for evil.example/app",
        ),
        (&signer, attestation, "another type: https://slsa.dev"),
    ] {
        signed_by.sign_bundle(&stage.registry, &digest, &statement);
        let refusal = stage.refusal().await;
        assert!(refusal.contains(reason), "{refusal}");
    }
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_not_taken_for_a_missing_signature() {
    let stage = Stage::new().await;
    let signer = Signer::new();
    stage.wants(&signer, "");
    let tag = format!("/v2/app/manifests/{}.sig", stage.digest.replace(':', "-"));
    for _ in 0..2 {
        stage.registry.fail(&tag, Fault::Status(503));
    }
    let error = stage.pull().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RegistryUnavailable, "{error:?}");
    assert!(stage.images.list().is_empty());
}

#[tokio::test]
async fn the_identity_of_a_signature_is_compared_as_the_policy_says() {
    let stage = Stage::new().await;
    let signer = Signer::new();
    let name = stage.repository();
    let exact = format!("{name}:1");
    for (rule, signed, is_good) in [
        ("", name.as_str(), true),
        ("", exact.as_str(), true),
        ("identity = \"exact\"", exact.as_str(), true),
        ("identity = \"exact\"", name.as_str(), false),
        ("identity = \"exact\"", "a.example/app:1", false),
        ("identity = \"any\"", "a.example/app", true),
        ("signed_as = \"a.example/team\"", "a.example/team/app", true),
        ("signed_as = \"a.example/team\"", name.as_str(), false),
    ] {
        stage.wants(&signer, rule);
        let payload = payload(signed, &stage.digest);
        signer.sign_simply(&stage.registry, &stage.digest, &payload);
        let outcome = stage.pull().await;
        assert_eq!(outcome.is_ok(), is_good, "{rule} {signed}: {outcome:?}");
    }
    // A bundle without a name does not say for which tag it was made.
    stage.wants(&signer, "identity = \"exact\"");
    signer.sign_bundle(
        &stage.registry,
        &stage.digest,
        &statement("", &stage.digest),
    );
    assert!(stage.pull().await.is_err());
}

#[tokio::test]
async fn a_scope_that_rejects_asks_no_registry() {
    let stage = Stage::new().await;
    let host = stage.registry.address;
    stage.policy(&format!(
        "[scope.\"*\"]\npolicy = \"accept\"\n[scope.\"{host}/app\"]\npolicy = \"reject\"\n"
    ));
    let refusal = stage.refusal().await;
    assert!(refusal.ends_with(&format!("the policy for {host}/app rejects it")));
    assert_eq!(stage.registry.log(), [""; 0]);
    // Only whole parts of a name count.
    stage.policy(&format!(
        "[scope.\"*\"]\npolicy = \"accept\"\n[scope.\"{host}/ap\"]\npolicy = \"reject\"\n"
    ));
    stage.pull().await.unwrap();
}

/// Policies, and what is said of each.
const BROKEN: [(&str, &str); 15] = [
    ("scope = 3", "policy.toml:1: scope: not a table"),
    ("", "policy.toml:1: policy: scope \"*\" is missing"),
    ("[scope", "policy.toml:1: policy: not TOML"),
    ("\n[scopes]", "policy.toml:2: scopes: unknown key"),
    (
        "{default}[scope.\"a.example\"]\npolicy = \"acept\"",
        "policy.toml:4: scope.\"a.example\".policy: \"acept\" is none of accept, reject, cosign",
    ),
    (
        "{default}[scope.\"a.example\"]\n",
        "policy.toml:3: scope.\"a.example\": policy is missing",
    ),
    (
        "{default}[scope.\"a.example\"]\npolicy = \"cosign\"",
        "policy.toml:4: scope.\"a.example\": keys is missing",
    ),
    (
        "{default}[scope.\"a.example\"]\npolicy = \"keyless\"",
        "policy.toml:4: scope.\"a.example\".policy: signatures without a key are not supported",
    ),
    (
        "{default}[scope.\"a.example\"]\npolicy = \"accept\"\nkeys = ['''{key}''']",
        "policy.toml:5: scope.\"a.example\".keys: only for policy \"cosign\"",
    ),
    (
        "{default}[scope.\"a.example\"]\npolicy = \"cosign\"\nkeys = []",
        "policy.toml:5: scope.\"a.example\".keys: a key is missing",
    ),
    (
        "{default}[scope.\"a.example\"]\npolicy = \"cosign\"\nkeys = [\n\"/nowhere\"]",
        "policy.toml:6: scope.\"a.example\".keys: key /nowhere: No such file",
    ),
    (
        "{default}[scope.\"a.example\"]\npolicy = \"cosign\"\nkeys = [\"team.pub\"]",
        "policy.toml:5: scope.\"a.example\".keys: not a PEM text or absolute path",
    ),
    (
        "{default}[scope.\"a.example\"]\npolicy = \"cosign\"\nkeys = ['''-----BEGIN''']",
        "policy.toml:5: scope.\"a.example\".keys: not a public key in PEM",
    ),
    (
        "{default}[scope.\"team/app\"]\npolicy = \"reject\"",
        "policy.toml:3: scope.\"team/app\": not a registry",
    ),
    (
        "{default}[scope.\"a.example/\"]\npolicy = \"reject\"",
        "policy.toml:3: scope.\"a.example/\": not a registry",
    ),
];

#[tokio::test]
async fn a_broken_policy_lets_nothing_in_and_names_line_and_key() {
    let stage = Stage::new().await;
    let key = Signer::new().pem();
    let default = "[scope.\"*\"]\npolicy = \"accept\"\n";
    for (text, expected) in BROKEN {
        let text = text.replace("{default}", default).replace("{key}", &key);
        stage.policy(&text);
        let error = stage.pull().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
        let message = chain(&error);
        assert!(message.contains(expected), "{message}");
        assert_eq!(stage.registry.log(), [""; 0]);
    }
    // It is read anew each time.
    stage.policy(default);
    stage.pull().await.unwrap();
}

#[test]
fn the_longest_scope_holds() {
    let text = "[scope.\"*\"]\npolicy = \"reject\"\n\
                [scope.\"a.example\"]\npolicy = \"accept\"\n\
                [scope.\"a.example/team/secret\"]\npolicy = \"reject\"\n\
                [scope.\"docker.io\"]\npolicy = \"accept\"\n";
    let policy = Policy::parse(text, Path::new("policy.toml")).unwrap();
    for (name, scope) in [
        ("a.example/team/app", "a.example"),
        ("a.example/team/secret", "a.example/team/secret"),
        ("a.example/team/secret/app:1", "a.example/team/secret"),
        ("a.example/team/secrets", "a.example"),
        ("b.example/app", "*"),
        ("a.example:5000/app", "*"),
        ("busybox", "docker.io"),
    ] {
        let name = Name::parse(name).unwrap();
        assert_eq!(policy.scope_of(&name).prefix, scope, "{name:?}");
    }
}

/// `tests/golden/signature/cosign.json`.
#[derive(Deserialize)]
struct Golden {
    digest: String,
    keys: HashMap<String, String>,
    simple: Simple,
    bundles: HashMap<String, Bundled>,
}

#[derive(Deserialize)]
struct Simple {
    manifest: String,
    payload: String,
}

#[derive(Deserialize)]
struct Bundled {
    manifest: String,
    bundle: String,
}

#[tokio::test]
async fn what_cosign_signs_is_good() {
    let golden = include_str!("../../../tests/golden/signature/cosign.json");
    let golden: Golden = serde_json::from_str(golden).unwrap();
    let digest: Digest = golden.digest.parse().unwrap();
    let name = Name::parse("registry.example/team/app:1").unwrap();
    let registry = FakeRegistry::start(Door::Open).await;
    let reference = registry.name("team/app").parse().unwrap();
    let session = Registry::new(RegistryConfig::default())
        .session(&reference, None)
        .unwrap();
    let verify = async |key: &str| {
        let text = format!(
            "[scope.\"*\"]\npolicy = \"cosign\"\nkeys = ['''{}''']",
            golden.keys[key]
        );
        let policy = Policy::parse(&text, Path::new("policy.toml")).unwrap();
        let requirement = Requirement {
            reference: name.canonical(),
            scope: Some(policy.scope_of(&name)),
            name: name.clone(),
        };
        requirement.verify(&session, &digest).await
    };
    // With an Ed25519 key cosign 3 signs by Ed25519ph (RFC 8032 §5.1), which is another algorithm: see below.
    let kinds = ["p256", "p384", "rsa"];
    for key in kinds {
        assert!(verify(key).await.is_err(), "{key}");
        let bundled = &golden.bundles[key];
        registry.put_blob("team/app", bundled.bundle.as_bytes());
        let manifests = std::slice::from_ref(&bundled.manifest);
        refer(&registry, "team/app", &golden.digest, manifests);
        verify(key).await.unwrap();
        let other = kinds.iter().find(|other| **other != key).unwrap();
        let error = verify(other).await.unwrap_err();
        assert!(chain(&error).contains("no key of the policy"), "{error:?}");
        refer(&registry, "team/app", &golden.digest, &[]);
    }
    registry.put_blob("team/app", golden.simple.payload.as_bytes());
    let tag = format!("{}.sig", golden.digest.replace(':', "-"));
    registry.put_manifest("team/app", &tag, &golden.simple.manifest);
    for key in kinds {
        verify(key).await.unwrap();
    }
    assert!(verify("ed25519").await.is_err());
}

#[test]
fn ed25519_is_verified_and_one_public_key_is_one_text() {
    let random = SystemRandom::new();
    let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
    // RFC 8410: SEQUENCE { SEQUENCE { id-Ed25519 }, BIT STRING }.
    let head = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    let info = [head.as_slice(), pair.public_key().as_ref()].concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(info)
    );
    let key = key::PublicKey::parse(pem.as_bytes()).unwrap();
    let signature = pair.sign(b"message");
    assert!(key.made(b"message", signature.as_ref()));
    assert!(!key.made(b"another", signature.as_ref()));
    // Two keys in one text would leave open which is meant; a private key is none.
    assert_eq!(key::PublicKey::parse(pem.repeat(2).as_bytes()), None);
    let private = pem.replace("PUBLIC", "PRIVATE");
    assert_eq!(key::PublicKey::parse(private.as_bytes()), None);
}
