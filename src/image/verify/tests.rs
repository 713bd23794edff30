//! Tests of verification and repair: bytes are flipped, files are removed, records are broken. Unpacking needs root.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use super::super::tests::{Recipe, config, count, open, tar, wait_until};
use super::super::{ErrorKind, Images};
use super::*;
use crate::registry::fake::{Door, FakeRegistry, Fault, digest};

macro_rules! needs_root {
    () => {
        if !rustix::process::geteuid().is_root() {
            println!("SKIP not root");
            return;
        }
    };
}

/// An image of three layers in a store, and where it came from.
struct Store {
    folder: tempfile::TempDir,
    images: Images,
    registry: FakeRegistry,
    recipe: Recipe,
    image: Arc<Image>,
}

impl Store {
    async fn new() -> Self {
        let (folder, images) = open();
        let registry = FakeRegistry::start(Door::Open).await;
        let recipe = Recipe::three("one");
        recipe.serve(&registry, "app", "1");
        registry.put_manifest("app", "multi", &recipe.index());
        let name = registry.name("app:multi");
        let image = images.pull(&name, None).await.unwrap();
        Self {
            folder,
            images,
            registry,
            recipe,
            image,
        }
    }

    fn blob(&self, digest: &str) -> PathBuf {
        let name = digest.strip_prefix("sha256:").unwrap();
        self.folder.path().join("blobs/sha256").join(name)
    }

    fn layer(&self, number: usize) -> PathBuf {
        let chain_id = &self.image.chain_ids[number];
        self.images.snapshots().layer(chain_id).unwrap()
    }

    fn record(&self) -> PathBuf {
        let name = self.image.id.replace("sha256:", "");
        self.folder.path().join(format!("images/{name}.json"))
    }

    /// Whether everything is right, by another look.
    async fn is_whole(&self) -> bool {
        let (findings, summary) = verify(&self.images, Repair::No).await;
        assert!(findings.is_empty(), "{findings:#?}");
        summary.broken == 0 && summary.layers == 3 && summary.images == 1
    }
}

async fn verify(images: &Images, repair: Repair) -> (Vec<Finding>, Summary) {
    let request = VerifyRequest {
        references: Vec::new(),
        repair,
    };
    let (sender, mut events) = mpsc::channel(4);
    let images = images.clone();
    let verifying = tokio::spawn(async move { images.verify(request, sender).await });
    let mut findings = Vec::new();
    while let Some(event) = events.recv().await {
        if let VerifyEvent::Finding(finding) = event {
            findings.push(finding);
        }
    }
    (findings, verifying.await.unwrap().unwrap())
}

/// `subject: problem` of each.
fn told(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| match finding.problem.differences() {
            [] => format!("{}: {}", finding.subject.name(), chain(&finding.problem)),
            [first, ..] => format!("layer: {} {}", first.path.display(), first.deviation),
        })
        .collect()
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => chain(source),
        None => error.to_string(),
    }
}

fn write(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
}

fn flip(path: &Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    let place = file.metadata().unwrap().len() / 2;
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], place).unwrap();
}

fn truncate(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

#[tokio::test]
async fn root_what_was_pulled_is_right_and_all_of_it_is_looked_at() {
    needs_root!();
    let store = Store::new().await;
    let (findings, summary) = verify(&store.images, Repair::No).await;
    assert!(findings.is_empty(), "{findings:?}");
    let expected = Summary {
        images: 1,
        // Index, manifest, configuration, three layers.
        blobs: 6,
        layers: 3,
        ..Summary::default()
    };
    assert_eq!(summary, expected);
}

#[tokio::test]
async fn root_each_damage_is_found_and_repaired() {
    needs_root!();
    type Damage = fn(&Store);
    let damages: [(&str, Damage); 11] = [
        ("blob", |store| {
            flip(&store.blob(&digest(&store.recipe.blobs[1])))
        }),
        ("blob", |store| {
            truncate(&store.blob(&digest(&store.recipe.blobs[0])))
        }),
        ("blob", |store| {
            fs::remove_file(store.blob(&digest(&store.recipe.blobs[2]))).unwrap()
        }),
        ("blob", |store| {
            flip(&store.blob(&store.recipe.manifest_digest()))
        }),
        ("blob", |store| {
            fs::remove_file(store.blob(&store.recipe.id())).unwrap()
        }),
        ("blob", |store| {
            truncate(&store.blob(&digest(store.recipe.index().as_bytes())))
        }),
        ("layer", |store| flip(&store.layer(1).join("bin/sh"))),
        ("layer", |store| {
            fs::remove_file(store.layer(0).join("etc/motd")).unwrap()
        }),
        ("layer", |store| {
            let mode = fs::Permissions::from_mode(0o4755);
            fs::set_permissions(store.layer(1).join("bin/sh"), mode).unwrap();
        }),
        ("record", |store| truncate(&store.record())),
        ("record", |store| fs::remove_file(store.record()).unwrap()),
    ];
    for (number, (subject, damage)) in damages.into_iter().enumerate() {
        let store = Store::new().await;
        damage(&store);
        let (findings, summary) = verify(&store.images, Repair::No).await;
        let subjects: Vec<_> = findings.iter().map(|found| found.subject.name()).collect();
        assert_eq!(subjects, [subject], "{number}: {findings:#?}");
        assert_eq!((summary.broken, summary.repaired), (1, 0));
        assert_eq!(findings[0].image, store.registry.name("app:multi"));

        let (findings, summary) = verify(&store.images, Repair::Yes).await;
        assert_eq!((summary.broken, summary.repaired), (0, 1), "{findings:#?}");
        assert!(store.is_whole().await, "{number}");
        // So it is for the next daemon.
        let again = Images::open(config(store.folder.path())).unwrap();
        assert_eq!(again.list(), store.images.list());
        let snapshots = count(&store.folder.path().join("snapshots"));
        wait_until(|| snapshots == 3 && count(&store.folder.path().join("ingest")) == 0).await;
    }
}

#[tokio::test]
async fn root_a_broken_blob_and_its_broken_layer_are_both_repaired() {
    needs_root!();
    let store = Store::new().await;
    flip(&store.blob(&digest(&store.recipe.blobs[1])));
    fs::remove_dir_all(store.layer(1).join("bin")).unwrap();
    let (findings, summary) = verify(&store.images, Repair::Yes).await;
    assert_eq!((summary.broken, summary.repaired), (0, 2), "{findings:#?}");
    assert!(store.is_whole().await);
    // Without the blob a layer cannot be judged.
    flip(&store.blob(&digest(&store.recipe.blobs[1])));
    fs::remove_dir_all(store.layer(1).join("bin")).unwrap();
    let (findings, summary) = verify(&store.images, Repair::No).await;
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!(summary.unchecked_layers, 1);
}

#[tokio::test]
async fn root_a_repair_that_fails_says_why() {
    needs_root!();
    let store = Store::new().await;
    let blob = digest(&store.recipe.blobs[1]);
    flip(&store.blob(&blob));
    let path = format!("/v2/app/blobs/{blob}");
    store.registry.fail(&path, Fault::WrongBytes);
    let (findings, summary) = verify(&store.images, Repair::Yes).await;
    assert_eq!((summary.broken, summary.repaired), (1, 0));
    let Outcome::Failed(error) = &findings[0].outcome else {
        panic!("{findings:?}");
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert_eq!(count(&store.folder.path().join("ingest")), 0);
    // The fault is used up.
    verify(&store.images, Repair::Yes).await;
    assert!(store.is_whole().await);
}

#[tokio::test]
async fn root_a_layer_in_use_is_replaced_for_new_containers_only() {
    needs_root!();
    let store = Store::new().await;
    let snapshots = store.images.snapshots();
    store.images.lease(&[&store.image], "old").unwrap();
    let old = snapshots.prepare("old", &store.image.chain_ids).unwrap();
    write(&store.layer(2).join("etc/name"), b"changed");
    let (findings, summary) = verify(&store.images, Repair::Yes).await;
    assert_eq!(
        told(&findings),
        ["layer: etc/name has 7 bytes instead of 3"]
    );
    assert_eq!(summary.repaired, 1);

    let new = snapshots.prepare("new", &store.image.chain_ids).unwrap();
    assert_ne!(new.lower[0], old.lower[0]);
    assert_eq!(new.lower[1..], old.lower[1..]);
    assert_eq!(fs::read(new.lower[0].join("etc/name")).unwrap(), b"one");
    // The container that runs keeps what it has, across a restart of the daemon too.
    assert_eq!(fs::read(old.lower[0].join("etc/name")).unwrap(), b"changed");
    store.images.inner.collect();
    assert!(old.lower[0].is_dir());
    let again = Images::open(config(store.folder.path())).unwrap();
    let chain_ids = &store.image.chain_ids;
    assert_eq!(again.snapshots().prepare("new", chain_ids).unwrap(), new);
    assert!(old.lower[0].is_dir());
    again.release("old").unwrap();
    wait_until(|| !old.lower[0].exists()).await;
    assert!(new.lower[0].is_dir());
}

#[tokio::test]
async fn root_a_record_that_lies_is_found_by_its_manifest() {
    needs_root!();
    let store = Store::new().await;
    let text = fs::read_to_string(store.record()).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    record["chain_ids"].as_array_mut().unwrap().pop();
    let layer = digest(&store.recipe.blobs[2]);
    let blobs = record["blobs"].as_array_mut().unwrap();
    blobs.retain(|blob| blob.as_str() != Some(&layer));
    write(&store.record(), record.to_string().as_bytes());
    // The next daemon believes it, and collects what it does not name.
    let images = Images::open(config(store.folder.path())).unwrap();
    assert!(!store.blob(&layer).exists());
    let (findings, _) = verify(&images, Repair::No).await;
    let subjects: Vec<_> = findings.iter().map(|found| found.subject.name()).collect();
    assert_eq!(subjects, ["record", "blob", "layer"], "{findings:#?}");
    let (findings, summary) = verify(&images, Repair::Yes).await;
    assert_eq!((summary.broken, summary.repaired), (0, 3), "{findings:#?}");
    let (findings, summary) = verify(&images, Repair::No).await;
    assert_eq!((findings.len(), summary.layers), (0, 3), "{findings:#?}");
    assert_eq!(images.list()[0].chain_ids, store.image.chain_ids);
    let again = Images::open(config(store.folder.path())).unwrap();
    assert_eq!(again.list(), images.list());
}

#[tokio::test]
async fn root_one_blob_of_a_layer_is_enough() {
    needs_root!();
    let store = Store::new().await;
    // The same image with its layers compressed in another way: its blobs are never fetched.
    let mut other = Recipe::three("one");
    let plain = other.diffs.clone();
    for (before, after) in other.blobs.clone().iter().zip(&plain) {
        other.manifest = other.manifest.replace(&digest(before), &digest(after));
        let size = |bytes: &Vec<u8>| format!(r#""size":{}"#, bytes.len());
        other.manifest = other.manifest.replace(&size(before), &size(after));
    }
    other.blobs = plain;
    other.serve(&store.registry, "app", "plain");
    let name = store.registry.name("app:plain");
    let image = store.images.pull(&name, None).await.unwrap();
    assert_eq!(image.id, store.image.id);
    let (findings, summary) = verify(&store.images, Repair::No).await;
    assert!(findings.is_empty(), "{findings:#?}");
    assert_eq!(summary.layers, 3);
}

#[tokio::test]
async fn root_a_peculiar_archive_is_no_damage() {
    needs_root!();
    let store = Store::new().await;
    // A file in a directory that becomes a link: read again, its name leads elsewhere.
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut add = |kind, name: &str, text: &str| {
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        match kind {
            ::tar::EntryType::Symlink => {
                header.set_size(0);
                builder.append_link(&mut header, name, text).unwrap();
            }
            _ => {
                header.set_size(text.len() as u64);
                builder
                    .append_data(&mut header, name, text.as_bytes())
                    .unwrap();
            }
        }
    };
    add(::tar::EntryType::Directory, "d/", "");
    add(::tar::EntryType::Regular, "d/x", "1");
    add(::tar::EntryType::Symlink, "d", "other");
    add(::tar::EntryType::Regular, "d/y", "2");
    let recipe = Recipe::new("odd", vec![builder.into_inner().unwrap()]);
    recipe.serve(&store.registry, "app", "odd");
    let name = store.registry.name("app:odd");
    let image = store.images.pull(&name, None).await.unwrap();
    let (findings, summary) = verify(&store.images, Repair::No).await;
    assert!(findings.is_empty(), "{findings:#?}");
    assert_eq!(summary.layers, 4);
    let layer = store.images.snapshots().layer(&image.chain_ids[0]).unwrap();
    flip(&layer.join("other/y"));
    let (findings, _) = verify(&store.images, Repair::Yes).await;
    assert_eq!(
        told(&findings),
        ["layer: other/y has other bytes from 0 on"]
    );
    assert!(verify(&store.images, Repair::No).await.0.is_empty());
}

#[tokio::test]
async fn root_files_of_an_artifact_are_compared_with_their_blobs() {
    needs_root!();
    let store = Store::new().await;
    let descriptor = |media_type: &str, bytes: &[u8]| {
        serde_json::json!({
            "mediaType": media_type,
            "digest": store.registry.put_blob("model", bytes),
            "size": bytes.len(),
            "annotations": {"org.opencontainers.image.title": "weights/model.bin"},
        })
    };
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example.model",
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [descriptor("application/octet-stream", &[7; 100_000])],
    });
    store
        .registry
        .put_manifest("model", "1", &manifest.to_string());
    let name = store.registry.name("model:1");
    let artifact = store.images.pull(&name, None).await.unwrap();
    let (findings, summary) = verify(&store.images, Repair::No).await;
    assert!(findings.is_empty(), "{findings:#?}");
    assert_eq!((summary.images, summary.layers), (2, 4));
    let file = |images: &Images| {
        let layer = images.snapshots().layer(&artifact.chain_ids[0]).unwrap();
        layer.join("weights/model.bin")
    };
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("has other bytes from 50000 on", flip),
        ("has 50000 bytes instead of 100000", truncate),
        ("has 100001 bytes instead of 100000", |path| {
            write(path, &[7; 100_001])
        }),
        ("is missing", |path| fs::remove_file(path).unwrap()),
    ];
    for (expected, damage) in damages {
        damage(&file(&store.images));
        let (findings, _) = verify(&store.images, Repair::Yes).await;
        assert_eq!(
            told(&findings),
            [format!("layer: weights/model.bin {expected}")]
        );
        assert!(verify(&store.images, Repair::No).await.0.is_empty());
    }
}

#[tokio::test]
async fn root_a_stray_blob_is_removed_if_it_is_broken() {
    needs_root!();
    let store = Store::new().await;
    let name = digest(b"a blob of nobody");
    let stray = store.blob(&name);
    write(&stray, b"something else");
    let (findings, summary) = verify(&store.images, Repair::No).await;
    assert_eq!((findings.len(), summary.broken), (1, 1));
    assert_eq!(findings[0].image, "");
    // The collection that follows takes it, as all blobs of nobody.
    wait_until(|| !stray.exists()).await;
    write(&stray, b"something else");
    let (_, summary) = verify(&store.images, Repair::Yes).await;
    assert_eq!((summary.broken, summary.repaired), (0, 1));
    assert!(!stray.exists());
    // What a pull counts on stays.
    write(&stray, b"something else");
    let hold = store.images.inner.state.hold(&name.parse().unwrap());
    let (_, summary) = verify(&store.images, Repair::Yes).await;
    assert_eq!((summary.broken, summary.repaired), (1, 0));
    assert!(stray.exists());
    drop(hold);
}

#[tokio::test]
async fn root_images_are_named_and_who_is_not_here_is_told() {
    needs_root!();
    let store = Store::new().await;
    Recipe::new("two", vec![tar(&[("a", "a")])]).serve(&store.registry, "app", "2");
    let two = store.registry.name("app:2");
    store.images.pull(&two, None).await.unwrap();
    flip(&store.layer(1).join("bin/sh"));
    let check = |references: &[&str]| {
        let request = VerifyRequest {
            references: references.iter().map(|name| (*name).to_owned()).collect(),
            repair: Repair::No,
        };
        let (sender, events) = mpsc::channel(64);
        let images = store.images.clone();
        async move {
            let summary = images.verify(request, sender).await;
            drop(events);
            summary
        }
    };
    let summary = check(&[&two, &two]).await.unwrap();
    assert_eq!((summary.images, summary.layers, summary.broken), (1, 1, 0));
    let summary = check(&[&store.image.id]).await.unwrap();
    assert_eq!((summary.images, summary.broken), (1, 1));
    let error = check(&["nowhere.example/a"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn root_a_verification_ends_when_nobody_listens() {
    needs_root!();
    let store = Store::new().await;
    let (sender, events) = mpsc::channel(1);
    drop(events);
    let outcome = store.images.verify(VerifyRequest::default(), sender).await;
    assert!(outcome.is_err());
}

#[tokio::test]
async fn root_after_another_boot_what_lacks_files_or_bytes_is_not_believed() {
    needs_root!();
    let store = Store::new().await;
    let lose = |path: PathBuf| fs::remove_file(path).unwrap();
    let reopen = || Images::open(config(store.folder.path())).unwrap();
    let other_boot = || {
        let path = store.folder.path().join("store.json");
        write(&path, br#"{"version":1,"boot_id":"another"}"#);
    };
    // Within a boot nothing is looked at.
    truncate(&store.blob(&digest(&store.recipe.blobs[1])));
    let images = reopen();
    assert!(store.blob(&digest(&store.recipe.blobs[1])).exists());
    drop(images);

    other_boot();
    let images = reopen();
    assert_eq!(images.list().len(), 1);
    assert!(!store.blob(&digest(&store.recipe.blobs[1])).exists());
    let (_, summary) = verify(&images, Repair::Yes).await;
    assert_eq!(summary.repaired, 1);

    lose(store.layer(0).join("etc/motd"));
    other_boot();
    let images = reopen();
    assert_eq!(images.list(), [], "a layer lacks a file");
    let name = store.registry.name("app:multi");
    images.pull(&name, None).await.unwrap();
    let (findings, summary) = verify(&images, Repair::No).await;
    assert_eq!((findings.len(), summary.layers), (0, 3), "{findings:#?}");

    truncate(&store.blob(&store.recipe.manifest_digest()));
    other_boot();
    assert_eq!(reopen().list(), [], "a manifest is broken");
}
