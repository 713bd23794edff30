//! The store of snapshots: layers, and what containers write on top of them.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::layers::{Layers, Retired};
use super::measurements::{Measurement, Measurements};
use super::trash::Trash;
use super::usage::{measure, measure_one};
use super::{ChainId, SnapshotError, Staging, Usage};

/// The store of snapshots; cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshots {
    layers: Arc<Layers>,
    containers: Arc<PathBuf>,
    measurements: Measurements,
    /// Two empty directories, for overlays of fewer layers than overlayfs takes without an upper directory.
    fillers: Arc<[PathBuf; 2]>,
    trash: Trash,
}

/// What overlayfs needs for the root of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rootfs {
    /// The unpacked layers, top first, as in overlayfs's `lowerdir`.
    pub lower: Vec<PathBuf>,
    /// What the container writes.
    pub upper: PathBuf,
    /// overlayfs's own folder, on the same file system.
    pub work: PathBuf,
}

impl Snapshots {
    /// Opens the store below `root`, making it if needed, and discards what is not whole.
    ///
    /// # Errors
    /// `Prepare` if a folder cannot be made, read or cleaned.
    pub fn open(root: &Path) -> Result<Self, SnapshotError> {
        let prepare = |path: &Path| {
            let path = path.to_owned();
            |source| SnapshotError::Prepare { path, source }
        };
        let containers = root.join("containers");
        let trash_folder = root.join("trash");
        for folder in [&containers, &trash_folder] {
            // Images contain setuid programs: nobody but root may reach them here.
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(prepare(folder))?;
        }
        let fillers = ["0", "1"].map(|name| root.join("empty").join(name));
        for filler in &fillers {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o755);
            builder.create(filler).map_err(prepare(filler))?;
        }
        let trash = Trash::open(trash_folder.clone()).map_err(prepare(&trash_folder))?;
        let layers = Layers::open(root.join("snapshots"), trash.clone())?;
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(layers.folder(), private).map_err(prepare(layers.folder()))?;
        Ok(Self {
            layers,
            measurements: Measurements::new(containers.clone()),
            containers: Arc::new(containers),
            fillers: Arc::new(fillers),
            trash,
        })
    }

    /// Where the layer of this chain is unpacked, if it is.
    #[must_use]
    pub fn layer(&self, chain_id: &ChainId) -> Option<PathBuf> {
        self.layers.path(chain_id)
    }

    /// All chains that have an unpacked layer.
    #[must_use]
    pub fn chain_ids(&self) -> Vec<ChainId> {
        self.layers.chain_ids()
    }

    /// Begins to unpack the layer of a chain: the caller fills [`Staging::path`] and commits.
    ///
    /// # Errors
    /// `Prepare` if the directory cannot be made.
    pub fn stage(&self, chain_id: &ChainId) -> Result<Staging, SnapshotError> {
        self.layers.stage(chain_id)
    }

    /// Removes the layer of a chain; one that is not there is fine. The caller knows that no container uses it.
    ///
    /// # Errors
    /// `Remove` if the file system refused.
    pub fn remove_layer(&self, chain_id: &ChainId) -> Result<(), SnapshotError> {
        self.layers.remove(chain_id)
    }

    /// Whether the directory of a layer and its record are still there; its files are not looked at.
    ///
    /// # Errors
    /// `Missing` if the layer is not there, `Damaged` if its record is not its own.
    pub fn check(&self, chain_id: &ChainId) -> Result<(), SnapshotError> {
        self.layers.check(chain_id)
    }

    /// Discards layers with another number of files than they were recorded with, among those that were recorded at
    /// most so long before the last one.
    ///
    /// # Errors
    /// `Remove` if the file system refused.
    pub fn discard_incomplete(&self, recent: std::time::Duration) -> Result<(), SnapshotError> {
        self.layers.discard_incomplete(recent)
    }

    /// Layers in whose place others came: their files stay for the containers that use them.
    #[must_use]
    pub fn retired(&self) -> Vec<Retired> {
        self.layers.retired()
    }

    /// Removes such a layer; one that is not there is fine. The caller knows that no container uses it.
    ///
    /// # Errors
    /// `Remove` if the file system refused.
    pub fn remove_retired(&self, retired: &Retired) -> Result<(), SnapshotError> {
        self.layers.remove_retired(retired)
    }

    /// Makes the writable layer of a container on top of `chain` (bottom first, as in an image's configuration). The
    /// directories of an earlier attempt are kept with what is in them.
    ///
    /// # Errors
    /// `Missing` if a layer is not unpacked, `BadContainerId`, and `Writable` if the file system refused.
    pub fn prepare(&self, container_id: &str, chain: &[ChainId]) -> Result<Rootfs, SnapshotError> {
        let directory = self.writable(container_id)?;
        let lower = self.paths(chain)?;
        self.measurements.forget(container_id);
        let rootfs = Rootfs {
            upper: directory.join("upper"),
            work: directory.join("work"),
            lower,
        };
        make_writable(&directory, &rootfs).map_err(|source| SnapshotError::Writable {
            container_id: container_id.to_owned(),
            step: "make",
            source,
        })?;
        Ok(rootfs)
    }

    /// The directories of an overlay that shows `chain` (bottom first) and cannot be written to: topmost first, and at
    /// least two, which is what overlayfs needs without an upper directory.
    ///
    /// # Errors
    /// `Missing` if a layer is not unpacked.
    pub fn stack(&self, chain: &[ChainId]) -> Result<Vec<PathBuf>, SnapshotError> {
        let mut lower = self.paths(chain)?;
        let missing = self.fillers.len().saturating_sub(lower.len());
        lower.extend(self.fillers.iter().take(missing).cloned());
        Ok(lower)
    }

    /// The directories of a chain, topmost first.
    fn paths(&self, chain: &[ChainId]) -> Result<Vec<PathBuf>, SnapshotError> {
        let path = |chain_id: &ChainId| {
            self.layer(chain_id).ok_or_else(|| SnapshotError::Missing {
                chain_id: chain_id.clone(),
            })
        };
        chain.iter().rev().map(path).collect()
    }

    /// Removes the writable layer of a container; one that is not there is fine. The files themselves go after the
    /// call has returned.
    ///
    /// # Errors
    /// `BadContainerId`, and `Writable` if the file system refused (`ResourceBusy`: it is still mounted).
    pub fn remove_writable(&self, container_id: &str) -> Result<(), SnapshotError> {
        let directory = self.writable(container_id)?;
        self.measurements.forget(container_id);
        self.trash
            .discard(&directory)
            .map_err(|source| SnapshotError::Writable {
                container_id: container_id.to_owned(),
                step: "remove",
                source,
            })
    }

    /// The containers that have a writable layer, for recovery.
    ///
    /// # Errors
    /// `Prepare` if the folder cannot be listed.
    pub fn containers(&self) -> Result<Vec<String>, SnapshotError> {
        let unreadable = |source| SnapshotError::Prepare {
            path: self.containers.to_path_buf(),
            source,
        };
        let mut containers = Vec::new();
        for entry in fs::read_dir(self.containers.as_path()).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            containers.push(name.to_string_lossy().into_owned());
        }
        Ok(containers)
    }

    /// What a container had written when it was last measured, if that was not long ago. Returns at once; a figure that
    /// is not fresh is measured again in the background.
    #[must_use]
    pub fn known_usage(&self, container_id: &str) -> Option<Measurement> {
        self.measurements.known(container_id)
    }

    /// What a container has written now, as `du` counts it. Walks the directory.
    ///
    /// # Errors
    /// `BadContainerId`, and `Writable` if there is no such layer or it cannot be read.
    pub fn measure_usage(&self, container_id: &str) -> Result<Measurement, SnapshotError> {
        self.writable(container_id)?;
        let measured = self.measurements.take(container_id);
        measured.map_err(|source| SnapshotError::Writable {
            container_id: container_id.to_owned(),
            step: "measure",
            source,
        })
    }

    /// What the layer of a chain takes, from its record.
    #[must_use]
    pub fn layer_usage(&self, chain_id: &ChainId) -> Option<Usage> {
        self.layers.usage_of(chain_id)
    }

    /// What layers and trash take: those of finished layers are in their records, everything else is walked.
    ///
    /// # Errors
    /// `Prepare` if a folder cannot be read.
    pub fn usage(&self) -> Result<Usage, SnapshotError> {
        let walked = |path: &Path| {
            let path = path.to_owned();
            measure(&path).map_err(|source| SnapshotError::Prepare { path, source })
        };
        let mut usage = self.layers.usage()?;
        usage += walked(self.trash.folder())?;
        if let Some(folder) = self.fillers[0].parent() {
            usage += walked(folder)?;
        }
        Ok(usage)
    }

    /// What all writable layers take, as known or, where nothing is known, as measured now.
    ///
    /// # Errors
    /// `Prepare` if the folder cannot be read.
    pub fn containers_usage(&self) -> Result<Usage, SnapshotError> {
        let mut usage = measure_one(&self.containers).map_err(|source| SnapshotError::Prepare {
            path: self.containers.to_path_buf(),
            source,
        })?;
        for container_id in self.containers()? {
            let known = self.measurements.known(&container_id);
            match known.map_or_else(|| self.measurements.take(&container_id), Ok) {
                Ok(measured) => usage += measured.whole,
                // Removed since the folder was read, or half made.
                Err(error) => tracing::debug!(container_id, %error, "measure its writable layer"),
            }
        }
        Ok(usage)
    }

    /// The folder of unpacked layers.
    #[must_use]
    pub fn layers_folder(&self) -> &Path {
        self.layers.folder()
    }

    /// The folder of writable layers.
    #[must_use]
    pub fn containers_folder(&self) -> &Path {
        &self.containers
    }

    #[cfg(test)]
    pub(super) fn measurements(&self) -> &Measurements {
        &self.measurements
    }

    fn writable(&self, container_id: &str) -> Result<PathBuf, SnapshotError> {
        let is_name = !container_id.is_empty()
            && container_id.len() <= 255
            && container_id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
            && !container_id.starts_with('.');
        match is_name {
            true => Ok(self.containers.join(container_id)),
            false => Err(SnapshotError::BadContainerId {
                container_id: container_id.to_owned(),
            }),
        }
    }
}

fn make_writable(directory: &Path, rootfs: &Rootfs) -> io::Result<()> {
    for (path, mode) in [
        (directory, 0o700),
        (&rootfs.upper, 0o755),
        (&rootfs.work, 0o700),
    ] {
        DirBuilder::new().recursive(true).mode(mode).create(path)?;
    }
    // The root directory of the merged tree is the upper one: it must look like the image's.
    if let Some(top) = rootfs.lower.first() {
        let image = fs::metadata(top)?;
        std::os::unix::fs::chown(&rootfs.upper, Some(image.uid()), Some(image.gid()))?;
        let mode = fs::Permissions::from_mode(image.mode() & 0o7777);
        fs::set_permissions(&rootfs.upper, mode)?;
    }
    Ok(())
}
