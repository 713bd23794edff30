//! Imports of OCI layouts and docker archives, whole and broken.

use super::*;

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
