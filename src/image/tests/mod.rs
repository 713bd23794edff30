//! Tests of the image side, a file for each theme; here is what they share. Unpacking keeps the owners of files, so those
//! that unpack need root.

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

mod artifact;
mod export;
mod import;
mod pull;
mod store;

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

/// Writes an archive to a file of `folder` and imports it.
async fn import_archive(images: &Images, folder: &Path, archive: &[u8]) -> Vec<Arc<Image>> {
    let path = folder.join("exported.tar");
    File::create(&path).unwrap().write_all(archive).unwrap();
    images.import(path, ImportOptions::default()).await.unwrap()
}
