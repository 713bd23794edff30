//! ImageFsInfo.

use std::time::{SystemTime, UNIX_EPOCH};

use tonic::Status;

use crate::cri::status;
use crate::cri::to_cri;
use crate::cri::wire::runtime::ImageFsInfoResponse;
use crate::image::Images;

/// Counting walks the writable layers of all containers, so it is done where blocking is allowed.
pub(in crate::cri) async fn filesystem(images: &Images) -> Result<ImageFsInfoResponse, Status> {
    let images = images.clone();
    let usage = tokio::task::spawn_blocking(move || images.filesystem_usage())
        .await
        .map_err(|error| Status::internal(status::chain(&error)))?
        .map_err(|error| status::of_image(&error))?;
    let timestamp = now();
    Ok(ImageFsInfoResponse {
        image_filesystems: vec![to_cri::filesystem_usage(
            &usage.image_mountpoint,
            [usage.image.bytes, usage.image.inodes],
            timestamp,
        )],
        container_filesystems: vec![to_cri::filesystem_usage(
            &usage.container_mountpoint,
            [usage.container.bytes, usage.container.inodes],
            timestamp,
        )],
    })
}

/// Nanoseconds since the epoch.
fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| {
        i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)
    })
}
