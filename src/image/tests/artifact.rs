//! Artifacts: images of files by their titles.

use super::export::{docker_manifest, export_archive};
use super::*;

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

    let alone = export_archive(&images, &[&name]).await;
    assert_eq!(docker_manifest(&alone), None);
    let both = export_archive(&images, &[&name, &image_name]).await;
    let saved = docker_manifest(&both).unwrap();
    let saved = saved.as_array().unwrap();
    assert_eq!(saved.len(), 1, "{saved:?}");
    assert_eq!(saved[0]["RepoTags"][0], image_name);

    let (folder, other) = open();
    let imported = import_archive(&other, folder.path(), &alone).await;
    assert_eq!(imported.len(), 1);
    assert_eq!(imported[0].id, artifact.id);
    assert_eq!(imported[0].kind, ImageKind::Artifact);
    assert_eq!(imported[0].chain_ids, artifact.chain_ids);
}
