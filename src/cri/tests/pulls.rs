//! `carpel.v1.Admin`'s pull, through the client of the command line. Unpacking keeps the owners of files: as root only.

use tonic::Code;

use super::Served;
use super::images::tar;
use crate::cri::{Client, ClientError, Pull, PulledLayerState};
use crate::registry::fake::{Door, FakeRegistry, digest};

/// Puts an image with one layer into a registry, and returns its id and the digest of its layer.
fn publish(registry: &FakeRegistry, tag: &str) -> (String, String) {
    let layer = tar(&[("hello", &[7; 100_000])]);
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let config = serde_json::json!({
        "architecture": architecture,
        "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    })
    .to_string();
    let id = registry.put_blob("app", config.as_bytes());
    let blob = registry.put_blob("app", &layer);
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": id,
            "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": blob,
            "size": layer.len(),
        }],
    });
    registry.put_manifest("app", tag, &manifest.to_string());
    (id, blob)
}

#[tokio::test]
async fn root_a_pull_for_the_command_line_tells_how_far_it_is() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP not root");
        return;
    }
    let served = Served::start().await;
    // `me:word`, as HTTP's Basic writes it.
    let registry = FakeRegistry::start(Door::Basic("Basic bWU6d29yZA==".to_owned())).await;
    let (id, blob) = publish(&registry, "1");
    let client = Client::connect(&served.path()).await.unwrap();
    let pull = Pull {
        reference: registry.name("app:1"),
        username: "me".to_owned(),
        password: "word".to_owned(),
    };
    let mut told = Vec::new();
    let image = client
        .pull_image(pull.clone(), |layers| told.push(layers.to_vec()))
        .await
        .unwrap();
    assert_eq!(
        (&image.id, &*image.repo_tags),
        (&id, &[registry.name("app:1")][..])
    );
    assert_eq!(image.repo_digests.len(), 1);
    assert!(image.size_bytes > 100_000);
    let last = told.last().unwrap();
    assert_eq!((last.len(), &last[0].digest), (1, &blob));
    assert_eq!(last[0].state, PulledLayerState::Done);
    assert_eq!(last[0].received_bytes, last[0].size_bytes);
    assert!(last[0].size_bytes > 100_000);
    let mut changes = told.clone();
    changes.dedup();
    assert_eq!(changes.len(), told.len());

    let strangers = Pull {
        password: "guess".to_owned(),
        ..pull.clone()
    };
    let nothing = Pull {
        reference: registry.name("app:2"),
        ..pull.clone()
    };
    let broken = Pull {
        reference: "!".to_owned(),
        ..pull
    };
    for (pull, expected) in [
        (strangers, Code::PermissionDenied),
        (nothing, Code::NotFound),
        (broken, Code::InvalidArgument),
    ] {
        match client.pull_image(pull.clone(), |_layers| {}).await {
            Err(ClientError::Call { code, .. }) => assert_eq!(code, expected, "{pull:?}"),
            other => panic!("{pull:?}: {other:?}"),
        }
    }
    served.stop().await;
}
