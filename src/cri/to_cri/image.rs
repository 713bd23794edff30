//! Images.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::cri::wire::runtime as wire;
use crate::image;

/// An image, the same in ListImages and ImageStatus.
pub(in crate::cri) fn image(image: &image::Image) -> wire::Image {
    let user = user_of(image);
    // As the shim reads it: a sign makes a name of a number.
    let is_number = user.bytes().all(|byte| byte.is_ascii_digit());
    let uid = is_number.then(|| user.parse().ok()).flatten();
    wire::Image {
        id: image.id.clone(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        size: image.size,
        uid: uid.map(|value| wire::Int64Value { value }),
        username: match uid {
            Some(_) => String::new(),
            None => user.to_owned(),
        },
        spec: Some(wire::ImageSpec {
            image: image.id.clone(),
            ..wire::ImageSpec::default()
        }),
        pinned: image.pinned,
    }
}

/// The image's user without its group: `1000` of `1000:1000`. Root, as a number, where the image names none: the
/// kubelet refuses images that have neither uid nor user name when a pod asks for runAsNonRoot.
fn user_of(image: &image::Image) -> &str {
    let user = image
        .config
        .config()
        .as_ref()
        .and_then(|config| config.user().as_deref())
        .and_then(|user| user.split(':').next())
        .unwrap_or_default();
    if user.is_empty() { "0" } else { user }
}

/// Verbose information: containerd's keys, and the layers.
pub(in crate::cri) fn image_info(
    image: &image::Image,
    details: &image::ImageDetails,
) -> BTreeMap<String, String> {
    let layers: Vec<serde_json::Value> = details
        .layers
        .iter()
        .map(|layer| {
            json!({
                "digest": layer.digest,
                "diffID": layer.diff_id,
                "chainID": layer.chain_id,
                "size": layer.size,
                "mediaType": layer.media_type,
            })
        })
        .collect();
    super::info(&json!({
        "chainID": image.chain_ids.last().map(ToString::to_string),
        "imageSpec": image.config,
        "manifestDigest": image.manifest_digest,
        "layers": layers,
    }))
}

/// How full a file system is.
pub(in crate::cri) fn filesystem_usage(
    mountpoint: &Path,
    [bytes, inodes]: [u64; 2],
    timestamp: i64,
) -> wire::FilesystemUsage {
    wire::FilesystemUsage {
        timestamp,
        fs_id: Some(wire::FilesystemIdentifier {
            mountpoint: mountpoint.display().to_string(),
        }),
        used_bytes: Some(wire::UInt64Value { value: bytes }),
        inodes_used: Some(wire::UInt64Value { value: inodes }),
    }
}
