//! Exports, and their way back into another store.

use super::*;

/// The whole archive of an export, and its announced length.
pub(super) async fn export_archive(images: &Images, references: &[&str]) -> Vec<u8> {
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
    let archive = export_archive(&images, &[&one.id(), &name("other:2")]).await;
    assert_eq!(
        archive,
        export_archive(&images, &[&one.id(), &name("other:2")]).await
    );

    let (folder, elsewhere) = open();
    let imported = import_archive(&elsewhere, folder.path(), &archive).await;
    assert_eq!(imported.len(), 2);
    assert_eq!(elsewhere.list(), images.list());

    // By one tag: that name only. By digest: no tag.
    let (folder, elsewhere) = open();
    let archive = export_archive(&images, &[&name("app:again")]).await;
    let imported = import_archive(&elsewhere, folder.path(), &archive).await;
    assert_eq!(imported[0].repo_tags, [name("app:again")]);
    let (folder, elsewhere) = open();
    let digest = images.find(&one.id()).unwrap().repo_digests[0].clone();
    let imported = import_archive(
        &elsewhere,
        folder.path(),
        &export_archive(&images, &[&digest]).await,
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
    let archive = export_archive(&images, &[&tag]).await;
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

/// The `manifest.json` of an archive.
pub(super) fn docker_manifest(archive: &[u8]) -> Option<serde_json::Value> {
    let mut archive = tar::Archive::new(archive);
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let entry = entries.find(|entry| entry.path().unwrap() == Path::new("manifest.json"))?;
    Some(serde_json::from_reader(entry).unwrap())
}
