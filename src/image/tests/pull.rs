//! Pulls from a registry on 127.0.0.1: shared ones, their progress, their faults, mirrors.

use super::*;

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
