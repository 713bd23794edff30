//! Fits `image` and `snapshot` to what the domain asks for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

use super::readings::device_name;
use crate::image::{ErrorKind, Image, ImageError, ImageKind, Images};
use crate::oci::ImageDefaults;
use crate::pod::{
    ContainerImage, ContainerImages, FilesystemFigures, PodError, PodErrorKind, PreparedImages,
    RootDirectories, Subject, WritableLayer,
};
use crate::snapshot::{self, Measurement, SnapshotError};

/// The images of this node.
#[derive(Debug)]
pub(super) struct NodeImages {
    images: Images,
}

impl NodeImages {
    /// Over that store.
    pub(super) fn new(images: Images) -> Self {
        Self { images }
    }
}

#[async_trait]
impl ContainerImages for NodeImages {
    fn find(&self, reference: &str) -> Option<ContainerImage> {
        self.images.find(reference).map(|image| described(&image))
    }

    async fn prepare(
        &self,
        image_id: &str,
        volumes: &[String],
        container_id: &str,
    ) -> Result<PreparedImages, PodError> {
        let find = |id: &str| {
            self.images.find(id).ok_or_else(|| {
                let subject = Subject::Image(id.to_owned());
                PodError::new(PodErrorKind::NotFound, subject, "it was removed meanwhile")
            })
        };
        let image = find(image_id)?;
        let volumes: Vec<_> = volumes
            .iter()
            .map(|id| find(id))
            .collect::<Result<_, _>>()?;
        let images = self.images.clone();
        let id = container_id.to_owned();
        on_disk(container_id, "make its root file system", move || {
            let all: Vec<&Image> = volumes.iter().chain([&image]).map(Arc::as_ref).collect();
            images
                .lease(&all, &id)
                .map_err(|error| image_error(&id, "keep its images", error))?;
            let rootfs = images
                .snapshots()
                .prepare(&id, &image.chain_ids)
                .map_err(|error| snapshot_error(&id, "make its root file system", error))?;
            let mut layers = BTreeMap::new();
            for volume in &volumes {
                let stack = images.snapshots().stack(&volume.chain_ids);
                let stack =
                    stack.map_err(|error| snapshot_error(&id, "find its image volumes", error))?;
                layers.insert(volume.id.clone(), stack);
            }
            Ok(PreparedImages {
                root: RootDirectories {
                    lower: rootfs.lower,
                    upper: rootfs.upper,
                    work: rootfs.work,
                },
                volumes: layers,
            })
        })
        .await
    }

    async fn release(&self, container_id: &str) -> Result<(), PodError> {
        let images = self.images.clone();
        let id = container_id.to_owned();
        on_disk(container_id, "remove its root file system", move || {
            images
                .snapshots()
                .remove_writable(&id)
                .map_err(|error| snapshot_error(&id, "remove its writable layer", error))?;
            images
                .release(&id)
                .map_err(|error| image_error(&id, "give its image back", error))
        })
        .await
    }

    async fn writable_layer(&self, container_id: &str) -> Option<WritableLayer> {
        let snapshots = self.images.snapshots();
        let told = |measurement: Measurement| WritableLayer {
            timestamp: nanoseconds(measurement.taken_at),
            mountpoint: snapshots.containers_folder().display().to_string(),
            used_bytes: measurement.written.bytes,
            inodes_used: measurement.written.inodes,
        };
        if let Some(known) = snapshots.known_usage(container_id) {
            return Some(told(known));
        }
        let walked = snapshots.clone();
        let id = container_id.to_owned();
        match tokio::task::spawn_blocking(move || walked.measure_usage(&id)).await {
            Ok(Ok(measurement)) => Some(told(measurement)),
            Ok(Err(error)) => {
                tracing::debug!(container = container_id, %error, "measure its writable layer");
                None
            }
            Err(error) => {
                tracing::error!(container = container_id, %error, "measure its writable layer");
                None
            }
        }
    }

    fn filesystem(&self, path: &str) -> Option<FilesystemFigures> {
        let figures = rustix::fs::statvfs(path).ok()?;
        let device = rustix::fs::stat(path).ok()?.st_dev;
        Some(FilesystemFigures {
            device: device_name(rustix::fs::major(device), rustix::fs::minor(device)),
            bytes: figures.f_blocks.saturating_mul(figures.f_frsize),
            inodes: figures.f_files,
            free_inodes: figures.f_ffree,
        })
    }
}

/// Since 1970.
fn nanoseconds(time: SystemTime) -> i64 {
    let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)
}

async fn on_disk<T: Send + 'static>(
    container_id: &str,
    step: &'static str,
    work: impl FnOnce() -> Result<T, PodError> + Send + 'static,
) -> Result<T, PodError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(PodError::new(
            PodErrorKind::Internal,
            Subject::Container(container_id.to_owned()),
            step,
        )
        .caused_by(error)),
    }
}

fn described(image: &Image) -> ContainerImage {
    let config = image.config.config();
    let config = config.as_ref();
    ContainerImage {
        id: image.id.clone(),
        name: image.repo_tags.first().unwrap_or(&image.id).clone(),
        reference: image.repo_digests.first().unwrap_or(&image.id).clone(),
        is_artifact: image.kind == ImageKind::Artifact,
        defaults: config.map_or_else(ImageDefaults::default, |config| ImageDefaults {
            user: config.user().clone().unwrap_or_default(),
            environment: config.env().clone().unwrap_or_default(),
            entrypoint: config.entrypoint().clone().unwrap_or_default(),
            command: config.cmd().clone().unwrap_or_default(),
            working_directory: config.working_dir().clone().unwrap_or_default(),
            volumes: volumes(config),
            stop_signal: config.stop_signal().clone().unwrap_or_default(),
        }),
    }
}

fn volumes(config: &oci_spec::image::Config) -> Vec<String> {
    let mut volumes: Vec<String> = config.volumes().iter().flatten().cloned().collect();
    volumes.sort();
    volumes
}

fn image_error(container_id: &str, step: &str, error: ImageError) -> PodError {
    let kind = match error.kind() {
        ErrorKind::NotFound => PodErrorKind::NotFound,
        ErrorKind::InvalidReference => PodErrorKind::InvalidArgument,
        ErrorKind::DiskFull => PodErrorKind::ResourceExhausted,
        ErrorKind::TimedOut => PodErrorKind::DeadlineExceeded,
        ErrorKind::RegistryUnavailable | ErrorKind::RateLimited => PodErrorKind::Unavailable,
        ErrorKind::SignatureInvalid
        | ErrorKind::Unauthorized
        | ErrorKind::Corrupt
        | ErrorKind::Configuration
        | ErrorKind::Io => PodErrorKind::Internal,
    };
    PodError::new(kind, Subject::Container(container_id.to_owned()), step).caused_by(error)
}

fn snapshot_error(container_id: &str, step: &str, error: SnapshotError) -> PodError {
    let kind = match error.kind() {
        snapshot::ErrorKind::DiskFull => PodErrorKind::ResourceExhausted,
        _ => PodErrorKind::Internal,
    };
    PodError::new(kind, Subject::Container(container_id.to_owned()), step).caused_by(error)
}
