//! Tests of the image side: pulls from a registry on 127.0.0.1, imports, removal, restart. Unpacking keeps the owners
//! of files, so those that unpack need root.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::registry::fake::{Door, FakeRegistry, Fault, digest};
use crate::snapshot::tests::du_and_find;

macro_rules! needs_root {
    () => {
        if !rustix::process::geteuid().is_root() {
            println!("SKIP not root");
            return;
        }
    };
}

/// An image as its author has it.
pub(super) struct Recipe {
    pub(super) config: Vec<u8>,
    /// Uncompressed archives, bottom first.
    pub(super) diffs: Vec<Vec<u8>>,
    /// The same, as they are transported.
    pub(super) blobs: Vec<Vec<u8>>,
    pub(super) manifest: String,
}

/// An archive of files with a text each; a name that ends in a slash is a directory.
pub(super) fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        let is_directory = name.ends_with('/');
        header.set_entry_type(match is_directory {
            true => tar::EntryType::Directory,
            false => tar::EntryType::Regular,
        });
        header.set_mode(if is_directory { 0o755 } else { 0o644 });
        header.set_size(text.len() as u64);
        builder
            .append_data(&mut header, name, text.as_bytes())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Recipe {
    pub(super) fn new(name: &str, diffs: Vec<Vec<u8>>) -> Self {
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        let diff_ids: Vec<_> = diffs.iter().map(|diff| digest(diff)).collect();
        let config = serde_json::json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": [format!("NAME={name}")], "Cmd": ["/bin/sh"], "User": "7:8"},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created_by": "a test"}],
        });
        let config = config.to_string().into_bytes();
        // One of each way of transport.
        let blobs: Vec<_> = diffs
            .iter()
            .enumerate()
            .map(|(number, diff)| match number % 3 {
                0 => gzip(diff),
                1 => zstd::encode_all(diff.as_slice(), 1).unwrap(),
                _ => diff.clone(),
            })
            .collect();
        let layer = |blob: &Vec<u8>| {
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": digest(blob),
                "size": blob.len(),
            })
        };
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(&config),
                "size": config.len(),
            },
            "layers": blobs.iter().map(layer).collect::<Vec<_>>(),
        });
        Self {
            config,
            diffs,
            blobs,
            manifest: manifest.to_string(),
        }
    }

    /// Three layers; the top one removes a file and passes through a directory.
    pub(super) fn three(name: &str) -> Self {
        let diffs = vec![
            tar(&[("etc/", ""), ("etc/motd", "hello"), ("etc/old", "old")]),
            tar(&[("bin/", ""), ("bin/sh", &"shell ".repeat(20_000))]),
            tar(&[("etc/.wh.old", ""), ("etc/name", name)]),
        ];
        Self::new(name, diffs)
    }

    pub(super) fn id(&self) -> String {
        digest(&self.config)
    }

    pub(super) fn manifest_digest(&self) -> String {
        digest(self.manifest.as_bytes())
    }

    pub(super) fn serve(&self, registry: &FakeRegistry, repository: &str, tag: &str) {
        registry.put_blob(repository, &self.config);
        for blob in &self.blobs {
            registry.put_blob(repository, blob);
        }
        registry.put_manifest(repository, tag, &self.manifest);
    }

    /// An index with this image and one for another system.
    pub(super) fn index(&self) -> String {
        let entry = |architecture: &str, digest: &str| {
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest,
                "size": self.manifest.len(),
                "platform": {"os": "linux", "architecture": architecture},
            })
        };
        let own = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry("s390x", &digest(b"elsewhere")), entry(own, &self.manifest_digest())],
        })
        .to_string()
    }
}

pub(super) fn config(root: &Path) -> ImagesConfig {
    ImagesConfig {
        root: root.to_owned(),
        certs_directories: Vec::new(),
        pinned: vec!["*/pinned:*".to_owned()],
        no_progress: Duration::from_millis(500),
        attempts: 2,
        ..ImagesConfig::default()
    }
}

pub(super) fn open() -> (tempfile::TempDir, Images) {
    let folder = tempfile::tempdir().unwrap();
    let images = Images::open(config(folder.path())).unwrap();
    (folder, images)
}

pub(super) fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

fn blobs(root: &Path) -> usize {
    count(&root.join("blobs/sha256"))
}

pub(super) async fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited for 20 seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn root_an_image_of_three_layers_is_pulled_by_tag_index_and_digest() {
    needs_root!();
    let (folder, images) = open();
    let registry = FakeRegistry::start(Door::Bearer(None)).await;
    let recipe = Recipe::three("one");
    recipe.serve(&registry, "app", "1");
    let index = registry.put_manifest("app", "multi", &recipe.index());

    let image = images
        .pull(&registry.name("app:multi"), None)
        .await
        .unwrap();
    assert_eq!(image.id, recipe.id());
    assert_eq!(image.repo_tags, [registry.name("app:multi")]);
    assert_eq!(image.repo_digests, [registry.name(&format!("app@{index}"))]);
    assert_eq!(image.manifest_digest.to_string(), recipe.manifest_digest());
    let compressed: usize = recipe.blobs.iter().map(Vec::len).sum();
    let expected = compressed + recipe.config.len() + recipe.manifest.len();
    assert_eq!(image.size, expected as u64);
    let run = image.config.config().as_ref().unwrap();
    assert_eq!(run.user().as_deref(), Some("7:8"));
    assert_eq!(image.chain_ids.len(), 3);

    let rootfs = images.snapshots().prepare("c1", &image.chain_ids).unwrap();
    assert_eq!(
        fs::read_to_string(rootfs.lower[0].join("etc/name")).unwrap(),
        "one"
    );
    assert_eq!(
        fs::metadata(rootfs.lower[1].join("bin/sh")).unwrap().len(),
        120_000
    );
    assert_eq!(
        fs::read_to_string(rootfs.lower[2].join("etc/motd")).unwrap(),
        "hello"
    );
    assert!(fs::symlink_metadata(rootfs.lower[0].join("etc/old")).is_ok());

    // What is here is not fetched again, under whatever name.
    let before = registry.count("/blobs/");
    let again = images.pull(&registry.name("app:1"), None).await.unwrap();
    assert_eq!(again.id, image.id);
    assert_eq!(
        again.repo_tags,
        [registry.name("app:1"), registry.name("app:multi")]
    );
    let by_digest = registry.name(&format!("app@{}", recipe.manifest_digest()));
    let again = images.pull(&by_digest, None).await.unwrap();
    assert_eq!(again.repo_tags.len(), 2);
    assert_eq!(again.repo_digests.len(), 2);
    assert_eq!(registry.count("/blobs/"), before);
    assert_eq!(images.list(), std::slice::from_ref(&again));

    for name in [
        image.id.as_str(),
        &image.id[7..],
        &image.id[7..19],
        &registry.name("app:1"),
        &registry.name(&format!("app@{index}")),
        &by_digest,
    ] {
        assert_eq!(images.find(name).as_ref(), Some(&again), "{name}");
    }
    for name in ["app", "busybox", "", "!", "ffff", &image.id[7..10]] {
        assert_eq!(images.find(name), None, "{name}");
    }
    let usage = images.filesystem_usage().unwrap();
    assert!(usage.image.bytes > expected as u64);
    assert!(usage.image_mountpoint.is_dir() && usage.container_mountpoint.is_dir());
    assert_eq!(count(&folder.path().join("ingest")), 0);
}

#[tokio::test]
async fn root_the_usage_of_the_store_agrees_with_du() {
    needs_root!();
    let (folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    Recipe::three("one").serve(&registry, "app", "1");
    let image = images.pull(&registry.name("app:1"), None).await.unwrap();
    images.lease(&[&image], "c1").unwrap();
    // And a blob on its way.
    let unfinished = folder.path().join("ingest/unfinished");
    fs::copy("/proc/self/comm", &unfinished).unwrap();
    let folders = [
        "blobs",
        "ingest",
        "images",
        "leases",
        "snapshots",
        "empty",
        "trash",
    ];
    let folders = folders.map(|name| folder.path().join(name));
    let usage = images.filesystem_usage().unwrap();
    assert_eq!(
        usage.image,
        du_and_find(&folders.each_ref().map(PathBuf::as_path))
    );
}

#[tokio::test]
async fn root_ten_pulls_of_one_reference_are_one() {
    needs_root!();
    let (_folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    let recipe = Recipe::three("one");
    recipe.serve(&registry, "app", "1");
    let pulls = (0..10).map(|_| {
        let (images, name) = (images.clone(), registry.name("app:1"));
        tokio::spawn(async move { images.pull(&name, None).await })
    });
    for pull in pulls.collect::<Vec<_>>() {
        assert_eq!(pull.await.unwrap().unwrap().id, recipe.id());
    }
    assert_eq!(registry.count("/manifests/"), 1);
    assert_eq!(registry.count("/blobs/"), 4);
}

#[tokio::test]
async fn root_pulls_with_other_credentials_are_pulls_of_their_own() {
    needs_root!();
    let (_folder, images) = open();
    // `me:word`, as HTTP's Basic writes it.
    let registry = FakeRegistry::start(Door::Basic("Basic bWU6d29yZA==".to_owned())).await;
    let recipe = Recipe::three("one");
    recipe.serve(&registry, "app", "1");
    let name = registry.name("app:1");
    let auth = |password: &str| {
        Some(RegistryAuth {
            username: "me".to_owned(),
            password: password.to_owned(),
            ..RegistryAuth::default()
        })
    };
    let (right, wrong, none) = tokio::join!(
        images.pull(&name, auth("word")),
        images.pull(&name, auth("guess")),
        images.pull(&name, None),
    );
    assert_eq!(right.unwrap().id, recipe.id());
    for refused in [wrong, none] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unauthorized);
    }
    // Nor is what is here by now given to whoever the registry would refuse.
    let refused = images.pull(&name, auth("guess")).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn root_everyone_who_joined_a_pull_sees_how_far_it_is() {
    needs_root!();
    let folder = tempfile::tempdir().unwrap();
    let images = Images::open(ImagesConfig {
        attempts: 3,
        ..config(folder.path())
    })
    .unwrap();
    let registry = FakeRegistry::start(Door::Open).await;
    let recipe = Recipe::three("one");
    recipe.serve(&registry, "app", "1");
    // The second layer comes in half, and the rest only after the registry was given up once.
    let layer = format!("/v2/app/blobs/{}", digest(&recipe.blobs[1]));
    let half = recipe.blobs[1].len() / 2;
    registry.fail(&layer, Fault::Cut(half));
    registry.fail(&layer, Fault::Stall);
    let name = registry.name("app:1");
    let first = images.begin_pull(&name, None).unwrap();
    let second = images.begin_pull(&name, None).unwrap();
    let states = |pulling: &Pulling| -> Vec<_> {
        let layers = pulling.progress();
        layers.iter().map(|layer| layer.state).collect()
    };
    let halfway = [
        LayerState::Done,
        LayerState::Downloading,
        LayerState::Unpacking,
    ];
    wait_until(|| states(&first) == halfway).await;
    assert_eq!(first.progress(), second.progress());
    let progress = first.progress();
    assert_eq!(progress[1].received_bytes, half as u64);
    assert_eq!(progress[1].size_bytes, recipe.blobs[1].len() as u64);
    assert_eq!(progress[1].digest.to_string(), digest(&recipe.blobs[1]));
    assert!(Arc::ptr_eq(
        &first.finished().await.unwrap(),
        &second.finished().await.unwrap()
    ));
    assert_eq!(states(&second), [LayerState::Done; 3]);
    assert_eq!(registry.count("/manifests/"), 1);

    // What is here is done at once.
    let again = images.begin_pull(&name, None).unwrap();
    again.finished().await.unwrap();
    assert_eq!(states(&again), [LayerState::Done; 3]);
    let sizes = again
        .progress()
        .into_iter()
        .map(|layer| layer.received_bytes);
    assert!(sizes.eq(recipe.blobs.iter().map(|blob| blob.len() as u64)));
}

#[tokio::test]
async fn root_a_caller_that_gives_up_does_not_stop_the_pull() {
    needs_root!();
    let (_folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    Recipe::three("one").serve(&registry, "app", "1");
    let name = registry.name("app:1");
    let given_up = tokio::time::timeout(Duration::ZERO, images.pull(&name, None)).await;
    assert!(given_up.is_err());
    wait_until(|| images.find(&name).is_some()).await;
    assert_eq!(registry.count("/manifests/"), 1);
}

#[tokio::test]
async fn root_blobs_in_flight_are_shared_between_images() {
    needs_root!();
    let (_folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    // The same layer above different ones: another chain, the same blob.
    let shared = tar(&[("data", &"x".repeat(300_000))]);
    for name in ["a", "b"] {
        let recipe = Recipe::new(name, vec![tar(&[("base", name)]), shared.clone()]);
        recipe.serve(&registry, "app", name);
    }
    let (a, b) = (registry.name("app:a"), registry.name("app:b"));
    let (a, b) = tokio::join!(images.pull(&a, None), images.pull(&b, None));
    assert_ne!(a.unwrap().chain_ids[1], b.unwrap().chain_ids[1]);
    let blob = digest(&zstd::encode_all(shared.as_slice(), 1).unwrap());
    assert_eq!(registry.count(&blob), 1);
}

#[tokio::test]
async fn root_faults_of_a_registry_have_their_kinds_and_leave_nothing() {
    needs_root!();
    let (folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    let recipe = Recipe::three("one");
    recipe.serve(&registry, "app", "1");
    let layer = format!("/v2/app/blobs/{}", digest(&recipe.blobs[1]));
    for (fault, kind) in [
        (Fault::WrongBytes, ErrorKind::Corrupt),
        (Fault::Status(500), ErrorKind::RegistryUnavailable),
        (Fault::Status(429), ErrorKind::RateLimited),
        (Fault::Status(403), ErrorKind::Unauthorized),
        (Fault::Stall, ErrorKind::TimedOut),
        (Fault::Cut(0), ErrorKind::RegistryUnavailable),
    ] {
        for _ in 0..2 {
            registry.fail(&layer, fault.clone());
        }
        let error = images
            .pull(&registry.name("app:1"), None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}: {error:?}");
        assert!(images.list().is_empty());
        assert_eq!(
            images
                .snapshots()
                .layer(&digest(&recipe.diffs[1]).parse().unwrap()),
            None
        );
        // Faults that were not needed are used up.
        while registry_has_faults(&registry, &layer).await {}
    }
    wait_until(|| count(&folder.path().join("ingest")) == 0).await;
    let image = images.pull(&registry.name("app:1"), None).await.unwrap();
    assert_eq!(image.id, recipe.id());
}

#[tokio::test]
async fn root_a_pull_after_a_failed_one_does_not_fail_with_its_layers_that_are_ending() {
    needs_root!();
    let (_folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    let recipe = Recipe::three("one");
    recipe.serve(&registry, "app", "1");
    let fail = |layer: usize, fault: Fault| {
        let path = format!("/v2/app/blobs/{}", digest(&recipe.blobs[layer]));
        registry.fail(&path, fault);
    };
    // The first pull fails at once; its other layers end one after another while the second pull waits for them.
    fail(0, Fault::Status(403));
    fail(1, Fault::Stall);
    fail(2, Fault::Stall);
    fail(2, Fault::Stall);
    let name = registry.name("app:1");
    let refused = images.pull(&name, None).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthorized, "{refused:?}");
    let image = images.pull(&name, None).await.unwrap();
    assert_eq!(image.id, recipe.id());
    // The stalls came, so that there was something to wait for.
    assert_eq!(registry.count(&digest(&recipe.blobs[2])), 3);
}

/// Asks for a blob until it is whole, or says that it was not.
async fn registry_has_faults(registry: &FakeRegistry, path: &str) -> bool {
    let digest: oci_spec::image::Digest = path.rsplit('/').next().unwrap().parse().unwrap();
    let client = crate::registry::Registry::new(crate::registry::RegistryConfig {
        attempts: 1,
        no_progress: Duration::from_millis(100),
        ..Default::default()
    });
    let reference = registry.name("app").parse().unwrap();
    let mut stream = client
        .session(&reference, None)
        .unwrap()
        .blob(&digest, None);
    let mut bytes = Vec::new();
    loop {
        match stream.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return super::manifest::digest_of(&bytes) != Some(digest),
            Err(_) => return true,
        }
    }
}

#[tokio::test]
async fn references_and_registries_that_are_not_there_are_told_apart() {
    let (_folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for (reference, kind) in [
        ("UPPER CASE".to_owned(), ErrorKind::InvalidReference),
        (
            format!("sha256:{}", "a".repeat(64)),
            ErrorKind::InvalidReference,
        ),
        (registry.name("app:none"), ErrorKind::NotFound),
        (format!("{closed}/app"), ErrorKind::RegistryUnavailable),
    ] {
        let error = images.pull(&reference, None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.to_string().contains(&reference), "{error}");
    }
    registry.put_manifest("app", "broken", r#"{"schemaVersion":2,"layers":3}"#);
    let error = images
        .pull(&registry.name("app:broken"), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

#[tokio::test]
async fn root_wrong_bytes_of_a_mirror_are_got_from_the_next_host() {
    let mirror = FakeRegistry::start(Door::Open).await;
    let upstream = FakeRegistry::start(Door::Open).await;
    let recipe = Recipe::three("mirrored");
    for registry in [&mirror, &upstream] {
        recipe.serve(registry, "x", "1");
    }
    let wrong = format!("/v2/x/blobs/{}", digest(&recipe.blobs[1]));
    mirror.fail(&wrong, Fault::WrongBytes);
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("certs.d/r.example");
    fs::create_dir_all(&rules).unwrap();
    let text = format!(
        "server = \"http://{}\"\n[host.\"http://{}\"]\n",
        upstream.address, mirror.address
    );
    let mut file = fs::File::create(rules.join("hosts.toml")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let config = ImagesConfig {
        certs_directories: vec![folder.path().join("certs.d")],
        ..config(&folder.path().join("root"))
    };
    let images = Images::open(config).unwrap();
    let image = images.pull("r.example/x:1", None).await.unwrap();
    assert_eq!(image.id, recipe.id());
    assert_eq!(mirror.count(&wrong), 1);
    assert_eq!(upstream.count(&wrong), 1);
    // Where there is nobody else, it is an error.
    let alone = FakeRegistry::start(Door::Open).await;
    recipe.serve(&alone, "x", "1");
    alone.fail(&wrong, Fault::WrongBytes);
    let (_folder, images) = open();
    let error = images
        .pull(&format!("{}:1", alone.name("x")), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(alone.count(&wrong), 1);
}

#[tokio::test]
async fn root_a_wrong_diff_id_keeps_nothing() {
    needs_root!();
    let (_folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    let mut recipe = Recipe::new("one", vec![tar(&[("a", "a")])]);
    let lie = digest(b"another archive");
    let config = String::from_utf8(recipe.config.clone()).unwrap();
    let lying = config.replace(&digest(&recipe.diffs[0]), &lie);
    recipe.manifest = recipe
        .manifest
        .replace(&recipe.id(), &digest(lying.as_bytes()));
    recipe.config = lying.into_bytes();
    recipe.serve(&registry, "app", "1");
    let error = images
        .pull(&registry.name("app:1"), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert_eq!(images.snapshots().layer(&lie.parse().unwrap()), None);
}

#[tokio::test]
async fn root_a_tag_that_moves_leaves_the_other_image() {
    needs_root!();
    let (folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    let name = registry.name("pinned:1");
    Recipe::three("one").serve(&registry, "pinned", "1");
    let one = images.pull(&name, None).await.unwrap();
    assert!(one.pinned);
    Recipe::three("two").serve(&registry, "pinned", "1");
    let two = images.pull(&name, None).await.unwrap();
    assert_ne!(one.id, two.id);
    assert_eq!(images.find(&name), Some(two.clone()));
    let one = images.find(&one.id).unwrap();
    assert_eq!((one.repo_tags.len(), one.pinned), (0, false));
    assert_eq!(one.repo_digests.len(), 1);
    // Two of three layers are the same.
    assert_eq!(count(&folder.path().join("snapshots")), 4);
    let reopened = Images::open(config(folder.path())).unwrap();
    assert_eq!(reopened.list(), images.list());
}

#[tokio::test]
async fn root_removing_by_one_tag_removes_all_and_frees_the_disk() {
    needs_root!();
    let (folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    let recipe = Recipe::three("one");
    let mut kept = Recipe::three("two");
    kept.diffs.clear();
    recipe.serve(&registry, "app", "1");
    recipe.serve(&registry, "other", "2");
    kept.serve(&registry, "app", "kept");
    images.pull(&registry.name("app:1"), None).await.unwrap();
    images.pull(&registry.name("other:2"), None).await.unwrap();
    let kept = images.pull(&registry.name("app:kept"), None).await.unwrap();
    let name = registry.name("other:2");
    let (first, second) = tokio::join!(images.remove(&name), images.remove(&name));
    first.unwrap();
    second.unwrap();
    images.remove(&name).await.unwrap();
    images.remove("never-seen").await.unwrap();
    assert_eq!(images.find(&registry.name("app:1")), None);
    assert_eq!(images.list(), std::slice::from_ref(&kept));
    wait_until(|| blobs(folder.path()) == 5).await;
    wait_until(|| count(&folder.path().join("snapshots")) == 3).await;
    for chain_id in &kept.chain_ids {
        assert!(images.snapshots().layer(chain_id).is_some());
    }
    images.remove(&kept.id).await.unwrap();
    wait_until(|| blobs(folder.path()) == 0).await;
    wait_until(|| count(&folder.path().join("snapshots")) == 0).await;
}

#[tokio::test]
async fn root_a_lease_keeps_the_layers_over_removal_and_restart() {
    needs_root!();
    let (folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    Recipe::three("one").serve(&registry, "app", "1");
    let image = images.pull(&registry.name("app:1"), None).await.unwrap();
    images.lease(&[&image], "c1").unwrap();
    images.remove(&image.id).await.unwrap();
    wait_until(|| blobs(folder.path()) == 0).await;
    drop(images);
    let images = Images::open(config(folder.path())).unwrap();
    assert_eq!(images.leased_containers(), ["c1"]);
    assert!(images.snapshots().prepare("c1", &image.chain_ids).is_ok());
    images.release("c1").unwrap();
    images.release("c1").unwrap();
    wait_until(|| count(&folder.path().join("snapshots")) == 0).await;
    let error = images.lease(&[&image], "c2").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(images.leased_containers().is_empty());
    assert!(images.lease(&[&image], "../c").is_err());
}

#[tokio::test]
async fn root_an_image_whose_layers_a_container_has_still_is_pulled_with_its_blobs() {
    needs_root!();
    let (folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    Recipe::three("one").serve(&registry, "app", "1");
    let image = images.pull(&registry.name("app:1"), None).await.unwrap();
    images.lease(&[&image], "c1").unwrap();
    images.remove(&image.id).await.unwrap();
    wait_until(|| blobs(folder.path()) == 0).await;
    let again = images.pull(&registry.name("app:1"), None).await.unwrap();
    assert_eq!(blobs(folder.path()), again.blobs.len());
    assert_eq!(again.chain_ids, image.chain_ids);
}

#[tokio::test]
async fn root_a_restart_finds_whole_images_and_nothing_else() {
    needs_root!();
    let (folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    for name in ["one", "two", "three"] {
        Recipe::three(name).serve(&registry, "app", name);
        images
            .pull(&registry.name(&format!("app:{name}")), None)
            .await
            .unwrap();
    }
    let before = images.list();
    let find = |name: &str| images.find(&registry.name(&format!("app:{name}"))).unwrap();
    let (one, two) = (find("one"), find("two"));
    // A record torn by a power cut, a layer that is gone, a half-written blob, a blob that nobody names.
    let record = |id: &str| folder.path().join(format!("images/{}.json", &id[7..]));
    File::create(record(&one.id))
        .unwrap()
        .write_all(b"{")
        .unwrap();
    images
        .snapshots()
        .remove_layer(two.chain_ids.last().unwrap())
        .unwrap();
    File::create(folder.path().join("ingest/7")).unwrap();
    let stray = folder.path().join("blobs/sha256").join("a".repeat(64));
    File::create(&stray).unwrap();
    let images = Images::open(config(folder.path())).unwrap();
    let left: Vec<_> = before
        .into_iter()
        .filter(|image| image.id != one.id && image.id != two.id)
        .collect();
    assert_eq!(images.list(), left);
    assert!(!record(&one.id).exists() && !record(&two.id).exists() && !stray.exists());
    assert_eq!(count(&folder.path().join("ingest")), 0);
    assert_eq!(blobs(folder.path()), 5);
    assert_eq!(count(&folder.path().join("snapshots")), 3);
}

/// Writes an OCI layout of some recipes, by the annotation and value that name each.
fn write_layout(folder: &Path, recipes: &[(&Recipe, &str, &str)]) {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let mut file = File::create(blobs.join(&digest(bytes)[7..])).unwrap();
        file.write_all(bytes).unwrap();
    };
    let mut manifests = Vec::new();
    for (recipe, annotation, name) in recipes {
        put(&recipe.config);
        put(recipe.manifest.as_bytes());
        recipe.blobs.iter().for_each(|blob| put(blob));
        manifests.push(serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": recipe.manifest_digest(),
            "size": recipe.manifest.len(),
            "annotations": {*annotation: name},
        }));
    }
    let index = serde_json::json!({"schemaVersion": 2, "manifests": manifests}).to_string();
    let mut file = File::create(folder.join("index.json")).unwrap();
    file.write_all(index.as_bytes()).unwrap();
}

fn archive_of(folder: &Path, target: &Path) {
    let mut builder = tar::Builder::new(File::create(target).unwrap());
    builder.append_dir_all(".", folder).unwrap();
    builder.finish().unwrap();
}

#[tokio::test]
async fn root_oci_layouts_are_imported_from_folders_and_archives() {
    needs_root!();
    let source = tempfile::tempdir().unwrap();
    let layout = source.path().join("layout");
    let (one, two) = (Recipe::three("one"), Recipe::three("two"));
    write_layout(
        &layout,
        &[
            (&one, "io.containerd.image.name", "docker.io/library/one:1"),
            (&two, "org.opencontainers.image.ref.name", "r.example/two:2"),
            (
                &two,
                "org.opencontainers.image.ref.name",
                "r.example/two:also",
            ),
        ],
    );
    let archive = source.path().join("layout.tar");
    archive_of(&layout, &archive);
    let zipped = source.path().join("layout.tgz");
    let bytes = gzip(&fs::read(&archive).unwrap());
    File::create(&zipped).unwrap().write_all(&bytes).unwrap();
    for path in [layout, archive, zipped] {
        let (folder, images) = open();
        let imported = images.import(path, ImportOptions::default()).await.unwrap();
        let ids: Vec<_> = imported.iter().map(|image| image.id.clone()).collect();
        assert_eq!(ids, [one.id(), two.id()]);
        assert_eq!(images.find("one:1").unwrap().id, one.id());
        let second = images.find("r.example/two:also").unwrap();
        assert_eq!(second.repo_tags, ["r.example/two:2", "r.example/two:also"]);
        assert_eq!(
            second.repo_digests,
            [format!("r.example/two@{}", two.manifest_digest())]
        );
        assert!(images.snapshots().prepare("c", &second.chain_ids).is_ok());
        assert_eq!(count(&folder.path().join("ingest")), 0);
    }
}

fn docker_archive(recipe: &Recipe, tags: &[&str], target: &Path) {
    let mut builder = tar::Builder::new(File::create(target).unwrap());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    let mut layers = Vec::new();
    for (number, diff) in recipe.diffs.iter().enumerate() {
        add(&format!("{number}/layer.tar"), diff);
        layers.push(format!("{number}/layer.tar"));
    }
    let config = format!("{}.json", &recipe.id()[7..]);
    add(&config, &recipe.config);
    let manifest = serde_json::json!([{"Config": config, "RepoTags": tags, "Layers": layers}]);
    add("manifest.json", manifest.to_string().as_bytes());
    builder.finish().unwrap();
}

#[tokio::test]
async fn root_docker_archives_are_imported() {
    needs_root!();
    let source = tempfile::tempdir().unwrap();
    let path = source.path().join("saved.tar");
    let recipe = Recipe::three("one");
    docker_archive(&recipe, &["busybox:1", "me/busybox:2"], &path);
    let (folder, images) = open();
    let imported = images
        .import(path.clone(), ImportOptions::default())
        .await
        .unwrap();
    assert_eq!(imported.len(), 1);
    assert_eq!(imported[0].id, recipe.id());
    assert_eq!(
        imported[0].repo_tags,
        ["docker.io/library/busybox:1", "docker.io/me/busybox:2"]
    );
    assert!(imported[0].repo_digests.is_empty());
    let rootfs = images
        .snapshots()
        .prepare("c", &imported[0].chain_ids)
        .unwrap();
    assert_eq!(
        fs::read_to_string(rootfs.lower[0].join("etc/name")).unwrap(),
        "one"
    );
    let options = ImportOptions {
        reference: Some("r.example/renamed".to_owned()),
    };
    let renamed = images.import(path, options).await.unwrap();
    assert_eq!(renamed[0].id, recipe.id());
    assert!(images.find("r.example/renamed:latest").is_some());
    let reopened = Images::open(config(folder.path())).unwrap();
    assert_eq!(reopened.list(), images.list());
}

#[tokio::test]
async fn broken_archives_are_refused_and_leave_nothing() {
    let source = tempfile::tempdir().unwrap();
    let empty = source.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let text = source.path().join("text");
    File::create(&text)
        .unwrap()
        .write_all(&[b'x'; 2000])
        .unwrap();
    let other = source.path().join("other.tar");
    archive_of(&empty, &other);
    let (folder, images) = open();
    for (path, kind) in [
        (PathBuf::from("/nonexistent"), ErrorKind::NotFound),
        (empty, ErrorKind::Corrupt),
        (text, ErrorKind::Corrupt),
        (other, ErrorKind::Corrupt),
    ] {
        let error = images
            .import(path.clone(), ImportOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{}: {error:?}", path.display());
    }
    assert_eq!(count(&folder.path().join("ingest")), 0);
    assert!(images.list().is_empty());
}

#[tokio::test]
async fn archives_beyond_the_limit_of_bytes_are_refused_and_leave_nothing() {
    let source = tempfile::tempdir().unwrap();
    let path = source.path().join("large.tar");
    // Each file alone is small enough, and compressed all of them are.
    let text = "x".repeat(3000);
    let archive = tar(&[("one", &text), ("two", &text)]);
    for bytes in [archive.clone(), gzip(&archive)] {
        File::create(&path).unwrap().write_all(&bytes).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let with_limit = |bytes| {
            let mut config = config(folder.path());
            config.limits.bytes = bytes;
            Images::open(config).unwrap()
        };
        let import = async |images: &Images| {
            let outcome = images.import(path.clone(), ImportOptions::default()).await;
            outcome.unwrap_err()
        };
        let images = with_limit(5999);
        let refused = import(&images).await;
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused:?}");
        let source = std::error::Error::source(&refused).unwrap().to_string();
        let said = format!("{refused}: {source}");
        assert!(said.contains("5999") && said.contains("two"), "{said}");
        assert_eq!(count(&folder.path().join("ingest")), 0);
        drop(images);
        // As many bytes as that are let in; that it holds no image is another reason.
        let refused = import(&with_limit(6000)).await;
        assert!(!format!("{refused:?}").contains("TooLarge"), "{refused:?}");
    }
}

/// The whole archive of an export, and its announced length.
async fn export(images: &Images, references: &[&str]) -> Vec<u8> {
    let references = references.iter().map(|name| (*name).to_owned()).collect();
    let export = images.export(references).await.unwrap();
    let length = export.length();
    let mut archive = Vec::new();
    let outcome = export.write(|chunk| {
        archive.extend_from_slice(&chunk);
        std::ops::ControlFlow::Continue(())
    });
    outcome.unwrap();
    assert_eq!(archive.len() as u64, length);
    archive
}

async fn import(images: &Images, folder: &Path, archive: &[u8]) -> Vec<std::sync::Arc<Image>> {
    let path = folder.join("exported.tar");
    File::create(&path).unwrap().write_all(archive).unwrap();
    images.import(path, ImportOptions::default()).await.unwrap()
}

#[tokio::test]
async fn root_an_exported_image_is_the_same_in_another_store() {
    needs_root!();
    let (_folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    let (one, two) = (Recipe::three("one"), Recipe::three("two"));
    one.serve(&registry, "app", "1");
    two.serve(&registry, "other", "2");
    registry.put_manifest("app", "multi", &one.index());
    registry.put_manifest("app", "again", &one.index());
    let name = |text: &str| registry.name(text);
    for reference in ["app:multi", "app:again", "other:2"] {
        images.pull(&name(reference), None).await.unwrap();
    }
    let archive = export(&images, &[&one.id(), &name("other:2")]).await;
    assert_eq!(
        archive,
        export(&images, &[&one.id(), &name("other:2")]).await
    );

    let (folder, elsewhere) = open();
    let imported = import(&elsewhere, folder.path(), &archive).await;
    assert_eq!(imported.len(), 2);
    assert_eq!(elsewhere.list(), images.list());

    // By one tag: that name only. By digest: no tag.
    let (folder, elsewhere) = open();
    let archive = export(&images, &[&name("app:again")]).await;
    let imported = import(&elsewhere, folder.path(), &archive).await;
    assert_eq!(imported[0].repo_tags, [name("app:again")]);
    let (folder, elsewhere) = open();
    let digest = images.find(&one.id()).unwrap().repo_digests[0].clone();
    let imported = import(
        &elsewhere,
        folder.path(),
        &export(&images, &[&digest]).await,
    )
    .await;
    assert!(imported[0].repo_tags.is_empty());
    assert_eq!(imported[0].repo_digests, [digest]);
}

#[tokio::test]
async fn root_an_export_reads_as_docker_archive_too() {
    needs_root!();
    let (_folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    let recipe = Recipe::three("one");
    recipe.serve(&registry, "app", "1");
    let tag = registry.name("app:1");
    images.pull(&tag, None).await.unwrap();
    let archive = export(&images, &[&tag]).await;
    // Without its index it is what `docker save` once wrote.
    let folder = tempfile::tempdir().unwrap();
    tar::Archive::new(archive.as_slice())
        .unpack(folder.path())
        .unwrap();
    fs::remove_file(folder.path().join("index.json")).unwrap();
    fs::remove_file(folder.path().join("oci-layout")).unwrap();
    let (_root, elsewhere) = open();
    let imported = elsewhere
        .import(folder.path().to_owned(), ImportOptions::default())
        .await
        .unwrap();
    assert_eq!(
        (&imported[0].id, &*imported[0].repo_tags),
        (&recipe.id(), &[tag][..])
    );
}

#[tokio::test]
async fn root_an_export_holds_its_blobs_and_tells_of_damage() {
    needs_root!();
    let (folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    let recipe = Recipe::three("one");
    recipe.serve(&registry, "app", "1");
    let tag = registry.name("app:1");
    images.pull(&tag, None).await.unwrap();
    let error = images.export(vec!["nothing:1".to_owned()]).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);

    let layer = folder
        .path()
        .join("blobs/sha256")
        .join(&digest(&recipe.blobs[1])[7..]);
    let export = images.export(vec![tag.clone()]).await.unwrap();
    images.remove(&tag).await.unwrap();
    images.inner.collect();
    assert!(layer.exists());
    let mut bytes = fs::read(&layer).unwrap();
    bytes[10] ^= 1;
    File::create(&layer).unwrap().write_all(&bytes).unwrap();
    let outcome = export.write(|_chunk| std::ops::ControlFlow::Continue(()));
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Corrupt);
    images.inner.collect();
    assert!(!layer.exists());
}

#[tokio::test]
async fn root_details_name_every_layer() {
    needs_root!();
    let (_folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    let recipe = Recipe::three("one");
    recipe.serve(&registry, "app", "1");
    let image = images.pull(&registry.name("app:1"), None).await.unwrap();
    let details = images.details(image.clone()).await.unwrap();
    assert_eq!(details.layers.len(), 3);
    for (number, layer) in details.layers.iter().enumerate() {
        assert_eq!(layer.digest.to_string(), digest(&recipe.blobs[number]));
        assert_eq!(layer.size, recipe.blobs[number].len() as u64);
        assert_eq!(layer.diff_id.to_string(), digest(&recipe.diffs[number]));
        assert_eq!(layer.chain_id, image.chain_ids[number]);
    }
}

#[tokio::test]
async fn root_a_file_that_comes_twice_in_an_archive_counts_as_the_last_one() {
    needs_root!();
    let recipe = Recipe::three("one");
    let config = String::from_utf8(recipe.config.clone()).unwrap();
    let layers: Vec<String> = recipe
        .diffs
        .iter()
        .map(|diff| String::from_utf8(diff.clone()).unwrap())
        .collect();
    let saved =
        serde_json::json!([{"Config": "config", "RepoTags": ["a:1"], "Layers": ["0", "1", "2"]}]);
    let archive = tar(&[
        ("config", "{}"),
        ("config", &config),
        ("0", "first"),
        ("0", &layers[0]),
        ("1", &layers[1]),
        ("2", &layers[2]),
        ("manifest.json", &saved.to_string()),
    ]);
    let (folder, images) = open();
    let imported = import(&images, folder.path(), &archive).await;
    assert_eq!(imported[0].id, recipe.id());
}

/// An artifact as ORAS pushes it: blobs with their media types and annotations.
fn artifact(blobs: &[(&[u8], &str, serde_json::Value)]) -> String {
    let layer = |(bytes, media_type, annotations): &(&[u8], &str, serde_json::Value)| {
        serde_json::json!({
            "mediaType": media_type,
            "digest": digest(bytes),
            "size": bytes.len(),
            "annotations": annotations,
        })
    };
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example.model",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": digest(b"{}"),
            "size": 2,
        },
        "layers": blobs.iter().map(layer).collect::<Vec<_>>(),
    })
    .to_string()
}

/// Puts an artifact into a registry, and gives the digest of its manifest.
fn serve_artifact(
    registry: &FakeRegistry,
    tag: &str,
    blobs: &[(&[u8], &str, serde_json::Value)],
) -> String {
    registry.put_blob("model", b"{}");
    for (bytes, _, _) in blobs {
        registry.put_blob("model", bytes);
    }
    registry.put_manifest("model", tag, &artifact(blobs))
}

#[tokio::test]
async fn root_an_artifact_is_an_image_of_files_by_their_titles() {
    needs_root!();
    const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    let (folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    let title = |title: &str| serde_json::json!({ "org.opencontainers.image.title": title });
    let archive = gzip(&tar(&[("extra/", ""), ("extra/inner", "unpacked")]));
    let untitled = format!("{TAR}+gzip");
    let blobs: [(&[u8], &str, serde_json::Value); 4] = [
        (b"weights", TAR, title("model.bin")),
        (b"{\"a\":1}", "application/json", title("config/a.json")),
        (&archive, &untitled, serde_json::json!({})),
        (b"nameless", "text/plain", serde_json::json!({})),
    ];
    let manifest = serve_artifact(&registry, "1", &blobs);
    let pulled = images.pull(&registry.name("model:1"), None).await.unwrap();
    assert_eq!(pulled.id, manifest);
    assert_eq!(pulled.kind, ImageKind::Artifact);
    assert!(pulled.size > 20);
    let read = |images: &Images, name: &str| {
        let stack = images.snapshots().stack(&pulled.chain_ids).unwrap();
        stack
            .iter()
            .find_map(|layer| fs::read_to_string(layer.join(name)).ok())
    };
    let nameless = digest(b"nameless");
    let files = [
        ("model.bin", "weights"),
        ("config/a.json", "{\"a\":1}"),
        ("extra/inner", "unpacked"),
        (&nameless["sha256:".len()..], "nameless"),
    ];
    // Again by the next daemon.
    drop(images);
    let images = Images::open(config(folder.path())).unwrap();
    assert_eq!(images.find(&registry.name("model:1")), Some(pulled.clone()));
    for (name, text) in files {
        assert_eq!(read(&images, name).as_deref(), Some(text), "{name}");
    }
    images.remove(&manifest).await.unwrap();
    wait_until(|| blobs_and_layers(&images, folder.path()) == 0).await;
}

fn blobs_and_layers(images: &Images, root: &Path) -> usize {
    blobs(root) + images.snapshots().chain_ids().len()
}

#[tokio::test]
async fn root_an_artifact_whose_title_leads_out_is_refused() {
    needs_root!();
    let (folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    let title = serde_json::json!({ "org.opencontainers.image.title": "../../escaped" });
    serve_artifact(&registry, "bad", &[(b"x", "text/plain", title)]);
    let refused = images.pull(&registry.name("model:bad"), None).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    assert!(refused.to_string().contains("title"), "{refused}");
    assert!(images.list().is_empty());
    assert!(!folder.path().join("escaped").exists());
}

#[tokio::test]
async fn root_an_exported_artifact_is_the_same_in_another_store_and_no_docker_image() {
    needs_root!();
    let (_folder, images) = open();
    let registry = FakeRegistry::start(Door::Open).await;
    let title = serde_json::json!({ "org.opencontainers.image.title": "model.bin" });
    serve_artifact(&registry, "1", &[(b"weights", "text/plain", title)]);
    let name = registry.name("model:1");
    let artifact = images.pull(&name, None).await.unwrap();
    let recipe = Recipe::three("beside");
    recipe.serve(&registry, "team/app", "1");
    let image_name = registry.name("team/app:1");
    images.pull(&image_name, None).await.unwrap();

    let alone = export(&images, &[&name]).await;
    assert_eq!(docker_manifest(&alone), None);
    let both = export(&images, &[&name, &image_name]).await;
    let saved = docker_manifest(&both).unwrap();
    let saved = saved.as_array().unwrap();
    assert_eq!(saved.len(), 1, "{saved:?}");
    assert_eq!(saved[0]["RepoTags"][0], image_name);

    let (folder, other) = open();
    let imported = import(&other, folder.path(), &alone).await;
    assert_eq!(imported.len(), 1);
    assert_eq!(imported[0].id, artifact.id);
    assert_eq!(imported[0].kind, ImageKind::Artifact);
    assert_eq!(imported[0].chain_ids, artifact.chain_ids);
}

/// The `manifest.json` of an archive.
fn docker_manifest(archive: &[u8]) -> Option<serde_json::Value> {
    let mut archive = tar::Archive::new(archive);
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let entry = entries.find(|entry| entry.path().unwrap() == Path::new("manifest.json"))?;
    Some(serde_json::from_reader(entry).unwrap())
}
