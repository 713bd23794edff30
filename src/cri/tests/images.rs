//! The image calls over a real store, and `carpel.v1.Admin` through the client of the command line. Unpacking keeps the
//! owners of files, so those that import need root.

use std::io::Cursor;

use sha2::{Digest, Sha256};
use tonic::Code;

use super::Served;
use crate::cri::wire::runtime::*;
use crate::cri::{
    Archive, Client, ClientError, ExplainDepth, ExplainRequest, ExplainedPolicy, Prune,
};

macro_rules! needs_root {
    () => {
        if !rustix::process::geteuid().is_root() {
            println!("SKIP not root");
            return;
        }
    };
}

pub(super) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// What `docker save` writes, of an image with one layer and the user `user`.
fn docker_archive(tag: &str, user: &str) -> Vec<u8> {
    let layer = tar(&[("hello", b"hello\n")]);
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let diff_id = Sha256::digest(&layer);
    let diff_id: String = diff_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let config = serde_json::json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "User": user },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{diff_id}")] },
    });
    let manifest = serde_json::json!([
        { "Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"] }
    ]);
    tar(&[
        ("config.json", config.to_string().as_bytes()),
        ("layer.tar", &layer),
        ("manifest.json", manifest.to_string().as_bytes()),
    ])
}

async fn import(served: &Served, bytes: Vec<u8>, length: usize) -> Result<String, ClientError> {
    let client = Client::connect(&served.path()).await.unwrap();
    let archive = Archive {
        file_name: "image.tar".to_owned(),
        reference: None,
        length_bytes: length as u64,
    };
    let (report, mut reported) = tokio::sync::watch::channel(0);
    let progress = move |read| {
        report.send_replace(read);
    };
    let mut images = client
        .import_image(archive, Cursor::new(bytes), progress)
        .await?;
    assert_eq!(*reported.borrow_and_update(), length as u64);
    assert_eq!(images.len(), 1);
    Ok(images.remove(0).id)
}

fn spec(image: &str) -> Option<ImageSpec> {
    Some(ImageSpec {
        image: image.to_owned(),
        ..ImageSpec::default()
    })
}

#[tokio::test]
async fn root_an_imported_image_is_listed_found_and_removed() {
    needs_root!();
    let served = Served::start().await;
    let archive = docker_archive("localhost/hello:1", "1000:7");
    let length = archive.len();
    let id = import(&served, archive, length).await.unwrap();
    let mut client = served.image().await;
    let list = client
        .list_images(ListImagesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(list.images.len(), 1);
    let image = &list.images[0];
    assert_eq!(
        (&image.id, &*image.repo_tags),
        (&id, &["localhost/hello:1".to_owned()][..])
    );
    assert_eq!(
        (image.uid.as_ref().unwrap().value, &*image.username),
        (1000, "")
    );
    assert!(image.size > 0);

    for name in [&*id, "localhost/hello:1"] {
        let request = ImageStatusRequest {
            image: spec(name),
            verbose: true,
        };
        let status = client.image_status(request).await.unwrap().into_inner();
        assert_eq!(status.image.as_ref(), Some(image), "{name}");
        let info: serde_json::Value = serde_json::from_str(&status.info["info"]).unwrap();
        assert_eq!(info["imageSpec"]["config"]["User"], "1000:7");
        assert!(info["chainID"].as_str().unwrap().starts_with("sha256:"));
        let filter = Some(ImageFilter { image: spec(name) });
        let list = client
            .list_images(ListImagesRequest { filter })
            .await
            .unwrap();
        assert_eq!(list.into_inner().images, std::slice::from_ref(image));
    }
    let mut stream = client
        .stream_images(StreamImagesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        stream.message().await.unwrap().unwrap().images,
        std::slice::from_ref(image)
    );
    assert!(stream.message().await.unwrap().is_none());

    for _twice in 0..2 {
        let request = RemoveImageRequest {
            image: spec("localhost/hello:1"),
        };
        client.remove_image(request).await.unwrap();
    }
    let list = Client::connect(&served.path())
        .await
        .unwrap()
        .list_images()
        .await
        .unwrap();
    assert!(list.is_empty());
}

#[tokio::test]
async fn root_users_are_numbers_names_or_root() {
    needs_root!();
    let served = Served::start().await;
    for (user, uid, name) in [
        ("", Some(0), ""),
        ("www:www", None, "www"),
        ("12", Some(12), ""),
        ("+12", None, "+12"),
        ("4294967296", Some(4_294_967_296), ""),
    ] {
        let archive = docker_archive("localhost/user:1", user);
        let length = archive.len();
        let id = import(&served, archive, length).await.unwrap();
        let request = ImageStatusRequest {
            image: spec(&id),
            verbose: false,
        };
        let status = served
            .image()
            .await
            .image_status(request)
            .await
            .unwrap()
            .into_inner();
        let image = status.image.unwrap();
        assert_eq!(image.uid.map(|uid| uid.value), uid, "{user:?}");
        assert_eq!(image.username, name, "{user:?}");
    }
}

#[tokio::test]
async fn an_archive_of_another_length_is_refused_and_nothing_stays() {
    let served = Served::start().await;
    for (bytes, length) in [(100, 99), (100, 101), (0, 1), (3_000_000, 10)] {
        let refused = import(&served, vec![7; bytes], length).await.unwrap_err();
        assert!(matches!(refused, ClientError::Call { .. }), "{refused}");
        assert!(refused.to_string().contains("length_bytes"), "{refused}");
    }
    let spool = std::fs::read_dir(served.folder.path().join("spool")).unwrap();
    assert_eq!(spool.count(), 0);
}

#[tokio::test]
async fn an_archive_that_is_none_is_refused_by_its_name() {
    let served = Served::start().await;
    let refused = import(&served, vec![7; 100], 100).await.unwrap_err();
    assert!(
        refused.to_string().contains("import image.tar: "),
        "{refused}"
    );
}

#[tokio::test]
async fn the_cli_client_reads_version_and_status() {
    let served = Served::start().await;
    let client = Client::connect(&served.path()).await.unwrap();
    assert_eq!(client.version().await.unwrap().runtime_name, "carpel");
    let state = client.status().await.unwrap();
    assert!(state.conditions.iter().all(|condition| condition.is_met));
    assert!(state.info.contains_key("config"));
}

#[tokio::test]
async fn a_missing_daemon_is_told_with_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.sock");
    let error = Client::connect(&path).await.unwrap_err();
    assert!(error.to_string().contains("none.sock"), "{error}");
}

#[tokio::test]
async fn an_image_that_is_not_here_is_an_empty_answer_and_can_be_removed() {
    let served = Served::start().await;
    let mut client = served.image().await;
    let request = ImageStatusRequest {
        image: spec("localhost/none:1"),
        verbose: true,
    };
    let answer = client.image_status(request).await.unwrap().into_inner();
    assert_eq!(answer, ImageStatusResponse::default());
    client
        .remove_image(RemoveImageRequest {
            image: spec("localhost/none:1"),
        })
        .await
        .unwrap();
    let refused = client
        .image_status(ImageStatusRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, "image.image: missing")
    );
}

#[tokio::test]
async fn a_registry_that_is_not_there_has_the_text_that_the_kubelet_knows() {
    let served = Served::start().await;
    let request = PullImageRequest {
        image: spec("127.0.0.1:1/none:1"),
        ..PullImageRequest::default()
    };
    let refused = served.image().await.pull_image(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unknown, "{refused}");
    assert!(
        refused.message().starts_with("RegistryUnavailable: "),
        "{refused}"
    );
    let request = PullImageRequest {
        image: spec("UPPER CASE"),
        ..PullImageRequest::default()
    };
    let refused = served.image().await.pull_image(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
}

#[tokio::test]
async fn a_client_that_gives_up_sees_deadline_exceeded() {
    // A registry that accepts and says nothing.
    let registry = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = registry.local_addr().unwrap();
    let served = Served::start().await;
    let mut request = tonic::Request::new(PullImageRequest {
        image: spec(&format!("{address}/silent:1")),
        ..PullImageRequest::default()
    });
    // As a header only: with `set_timeout` this client would end the call by itself.
    request
        .metadata_mut()
        .insert("grpc-timeout", "1m".parse().unwrap());
    let refused = served.image().await.pull_image(request).await.unwrap_err();
    assert!(
        matches!(refused.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{refused}"
    );
}

#[tokio::test]
async fn the_file_systems_are_told_with_their_paths() {
    let served = Served::start().await;
    let answer = served
        .image()
        .await
        .image_fs_info(ImageFsInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    for usage in [
        &answer.image_filesystems[0],
        &answer.container_filesystems[0],
    ] {
        assert!(usage.timestamp > 0);
        assert!(usage.used_bytes.is_some() && usage.inodes_used.is_some());
        let mountpoint = &usage.fs_id.as_ref().unwrap().mountpoint;
        assert!(std::path::Path::new(mountpoint).is_dir(), "{mountpoint}");
    }
}

#[tokio::test]
async fn root_an_image_is_exported_told_of_and_removed_through_the_command_line_s_client() {
    needs_root!();
    let served = Served::start().await;
    let archive = docker_archive("localhost/hello:1", "7");
    let length = archive.len();
    let id = import(&served, archive, length).await.unwrap();
    let client = Client::connect(&served.path()).await.unwrap();

    let details = client.image_status("localhost/hello:1").await.unwrap();
    let details = details.unwrap();
    assert_eq!(details.summary.id, id);
    assert_eq!(details.info["imageSpec"]["config"]["User"], "7");
    assert_eq!(details.info["layers"].as_array().unwrap().len(), 1);

    let mut exported = Vec::new();
    let mut reports = Vec::new();
    let references = vec![id.clone()];
    let outcome = client
        .export_image(references, &mut exported, |report| reports.push(report))
        .await
        .unwrap();
    assert_eq!(outcome.written_bytes, exported.len() as u64);
    assert_eq!(reports[0].written_bytes, 0);
    assert!(
        reports
            .iter()
            .all(|report| report.length_bytes == exported.len() as u64)
    );
    assert_eq!(reports.last(), Some(&outcome));

    for references in [Vec::new(), vec!["localhost/none:1".to_owned()]] {
        let outcome = client
            .export_image(references, &mut Vec::new(), |_report| {})
            .await;
        let Err(ClientError::Call { code, .. }) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(
            matches!(code, Code::InvalidArgument | Code::NotFound),
            "{code:?}"
        );
    }

    client.remove_image(&id).await.unwrap();
    assert_eq!(client.image_status(&id).await.unwrap(), None);
    let length = exported.len();
    assert_eq!(import(&served, exported, length).await.unwrap(), id);
    served.stop().await;
}

async fn import_named(served: &Served, tag: &str, user: &str) -> String {
    let archive = docker_archive(tag, user);
    let length = archive.len();
    import(served, archive, length).await.unwrap()
}

#[tokio::test]
async fn root_all_names_of_an_image_are_one_entry_and_go_with_any_of_them() {
    needs_root!();
    let served = Served::start().await;
    let tags = [
        "localhost/hello:1",
        "example.org:5000/hello:2",
        "localhost/hello:3",
    ];
    let mut ids = Vec::new();
    for tag in tags {
        ids.push(import_named(&served, tag, "").await);
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let other = import_named(&served, "localhost/other:1", "7").await;
    let client = served.image().await;
    let list = client
        .clone()
        .list_images(ListImagesRequest::default())
        .await;
    let list = list.unwrap().into_inner().images;
    assert_eq!(list.len(), 2);
    let image = list.iter().find(|image| image.id == ids[0]).unwrap();
    let mut sorted = tags.map(str::to_owned);
    sorted.sort();
    assert_eq!(image.repo_tags, sorted);
    // By any tag, by id and by a short id the same message.
    for name in tags
        .into_iter()
        .chain([&*ids[0], &ids[0][7..], &ids[0][7..20]])
    {
        let request = ImageStatusRequest {
            image: spec(name),
            verbose: false,
        };
        let status = client.clone().image_status(request).await.unwrap();
        assert_eq!(status.into_inner().image.as_ref(), Some(image), "{name}");
    }
    // Two at once, by other names of it: both succeed, and neither is to be seen afterwards.
    let remove = |name: &str| {
        let mut client = client.clone();
        let request = RemoveImageRequest { image: spec(name) };
        async move { client.remove_image(request).await }
    };
    let (first, second) = tokio::join!(remove(tags[1]), remove(&ids[0]));
    first.unwrap();
    second.unwrap();
    let list = client
        .clone()
        .list_images(ListImagesRequest::default())
        .await;
    let left: Vec<String> = list
        .unwrap()
        .into_inner()
        .images
        .into_iter()
        .map(|image| image.id)
        .collect();
    assert_eq!(left, [other]);
}

#[tokio::test]
async fn root_a_stream_has_every_image_once() {
    needs_root!();
    let served = Served::start().await;
    let mut imported = Vec::new();
    for number in 0..20 {
        let tag = format!("localhost/image:{number}");
        imported.push(import_named(&served, &tag, &number.to_string()).await);
    }
    let stream = served
        .image()
        .await
        .stream_images(StreamImagesRequest::default())
        .await;
    let mut stream = stream.unwrap().into_inner();
    let mut streamed = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        assert!(!message.images.is_empty());
        streamed.extend(message.images.into_iter().map(|image| image.id));
    }
    imported.sort();
    streamed.sort();
    assert_eq!(streamed, imported);
}

#[tokio::test]
async fn root_unused_images_are_pruned_when_asked_for() {
    needs_root!();
    let served = Served::start().await;
    let first = import_named(&served, "localhost/hello:1", "1").await;
    // Takes the tag away from the first one.
    let second = import_named(&served, "localhost/hello:1", "2").await;
    let client = Client::connect(&served.path()).await.unwrap();
    let ids = |pruned: &crate::cri::Pruned| -> Vec<String> {
        pruned.images.iter().map(|image| image.id.clone()).collect()
    };
    let tell = Prune {
        dry_run: true,
        ..Prune::default()
    };
    let told = client.prune_images(&tell).await.unwrap();
    assert_eq!(ids(&told), [first]);
    assert!(told.freed_bytes > 0);
    assert_eq!(client.list_images().await.unwrap().len(), 2);
    assert_eq!(client.prune_images(&Prune::default()).await.unwrap(), told);
    let all = Prune {
        tagged_too: true,
        ..Prune::default()
    };
    let pruned = client.prune_images(&all).await.unwrap();
    assert_eq!(ids(&pruned), [second]);
    assert_eq!(pruned.images[0].repo_tags, ["localhost/hello:1"]);
    assert!(client.list_images().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_signature_policy_of_a_name_is_explained() {
    /// The base point of P-256 (FIPS 186-4, D.1.2.3), which nobody signs with.
    const KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n\
        6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n\
        -----END PUBLIC KEY-----\n";
    let served = Served::start().await;
    let client = Client::connect(&served.path()).await.unwrap();
    let policy_of = async |name: &str| {
        let request = ExplainRequest {
            reference: name.to_owned(),
            depth: ExplainDepth::Rules,
        };
        Ok::<_, ClientError>(client.explain_image(request).await?.signatures)
    };
    assert_eq!(policy_of("r.example/team/app").await.unwrap(), None);
    let file = served.folder.path().join("policy.toml");
    let text = format!(
        "[scope.\"*\"]\npolicy = \"reject\"\n\
         [scope.\"r.example/team\"]\npolicy = \"cosign\"\nidentity = \"exact\"\nkeys = [\"\"\"\n{KEY}\"\"\"]\n\
         signed_as = \"origin.example/team\"\n"
    );
    let write = |text: &str| {
        let mut file = std::fs::File::create(&file).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    write(&text);
    let signed = policy_of("r.example/team/app").await.unwrap().unwrap();
    let expected = ExplainedPolicy {
        file: file.display().to_string(),
        scope: "r.example/team".to_owned(),
        policy: "cosign".to_owned(),
        identity: "exact".to_owned(),
        keys: vec!["inline".to_owned()],
        signed_as: "origin.example/team".to_owned(),
    };
    assert_eq!(signed, expected);
    let refused = policy_of("other.example/app").await.unwrap().unwrap();
    assert_eq!(
        (refused.scope.as_str(), refused.policy.as_str()),
        ("*", "reject")
    );
    write("[scope.\"*\"]\npolicy = \"maybe\"\n");
    let broken = policy_of("other.example/app").await.unwrap_err();
    let ClientError::Call { code, .. } = &broken else {
        panic!("{broken}");
    };
    assert_eq!(*code, Code::FailedPrecondition, "{broken}");
    served.stop().await;
}
