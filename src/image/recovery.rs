//! Reading what a daemon before us has recorded. What cannot be used is logged and forgotten; collection, which comes
//! after, removes what belonged to it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use oci_spec::image::ImageConfiguration;

use super::error::Failure;
use super::images::Inner;
use super::lease::{LEASE_VERSION, Lease};
use super::pull::DOCUMENT_BYTES_MAX;
use super::record::{RECORD_VERSION, Record};
use super::state::Leased;
use super::{Image, ImageError, ImageKind, manifest};
use crate::persist::{self, PersistError};

impl Inner {
    /// Images whose record, configuration and layers are all there.
    pub(super) fn load_images(&self) -> Result<(), ImageError> {
        let mut images = BTreeMap::new();
        for path in persist::record_paths(&self.images_folder()).map_err(unreadable)? {
            match self.load_image(&path) {
                Ok(image) => {
                    images.insert(image.id.clone(), Arc::new(image));
                }
                Err(error) => forget(&path, &error)?,
            }
        }
        self.state.lock().images = images;
        Ok(())
    }

    /// Leases, whether or not their layers are still there: that is for the container's recovery to find out.
    pub(super) fn load_leases(&self) -> Result<(), ImageError> {
        for path in persist::record_paths(&self.leases_folder()).map_err(unreadable)? {
            match load_lease(&path) {
                Ok(lease) => {
                    let leased = Leased {
                        image_ids: lease.image_ids,
                        chain_ids: lease.chain_ids,
                    };
                    let mut table = self.state.lock();
                    table.leases.insert(lease.container_id, leased);
                }
                Err(error) => forget(&path, &error)?,
            }
        }
        Ok(())
    }

    fn load_image(&self, path: &Path) -> Result<Image, ImageError> {
        let record: Record = read(path, |record: &Record| record.version == RECORD_VERSION)?;
        for chain_id in &record.chain_ids {
            if self.snapshots.layer(chain_id).is_none() {
                return Err(Failure::Unusable {
                    what: "layer",
                    digest: chain_id.clone(),
                    problem: "it is gone",
                }
                .into());
            }
        }
        let bytes = self.content.read(&record.id, DOCUMENT_BYTES_MAX)?;
        let config = match record.kind {
            ImageKind::Image => manifest::configuration(&record.id, &bytes)?,
            ImageKind::Artifact => ImageConfiguration::default(),
        };
        let mut image = record.into_image(config);
        image.pinned = self.is_pinned(&image);
        Ok(image)
    }
}

fn load_lease(path: &Path) -> Result<Lease, ImageError> {
    read(path, |lease: &Lease| lease.version == LEASE_VERSION)
}

/// Reads a record of a version that is known here.
fn read<T: serde::de::DeserializeOwned>(
    path: &Path,
    is_known: impl Fn(&T) -> bool,
) -> Result<T, ImageError> {
    let record = persist::read_json(path).map_err(unreadable)?;
    let unknown = || Failure::UnknownRecord {
        path: path.to_owned(),
    };
    Ok(record.filter(is_known).ok_or_else(unknown)?)
}

fn forget(path: &Path, error: &ImageError) -> Result<(), ImageError> {
    let reason = with_causes(error);
    tracing::warn!(path = %path.display(), reason, "a record cannot be used and is discarded");
    persist::remove(path).map_err(unreadable)
}

fn unreadable(source: PersistError) -> ImageError {
    Failure::Records { source }.into()
}

/// An error with its causes, for a log line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
