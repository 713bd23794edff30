//! What the store keeps: tags that move, removal, leases, restart, details, usage.

use super::*;

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
    let imported = import_archive(&images, folder.path(), &archive).await;
    assert_eq!(imported[0].id, recipe.id());
}
