//! Why a volume is not there. The texts are those of the kubelet's `FailedMount` events.

use std::io;
use std::path::PathBuf;

use crate::environment::EnvironmentError;
use crate::manifest::quoted;
use crate::store::StoreError;
use crate::token::TokenError;

/// A volume that could not be set up, brought up to date or taken away.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A volume could not be set up or brought up to date.
    #[error("MountVolume.SetUp failed for volume {}", quoted(.volume))]
    SetUp {
        /// The volume.
        volume: String,
        /// Why not.
        #[source]
        source: Box<Reason>,
    },
    /// What a container mounts could not be found in its volume.
    #[error("failed to prepare subPath for volumeMount {} of container {}", quoted(.volume), quoted(.container))]
    SubPath {
        /// The volume.
        volume: String,
        /// The container.
        container: String,
        /// Why not.
        #[source]
        source: Box<Reason>,
    },
    /// A container mounts a volume that its pod does not have.
    #[error("volume {} not found", quoted(.volume))]
    NoVolume {
        /// The volume.
        volume: String,
    },
    /// The pod has no uid that could name a folder.
    #[error("the pod has no uid: {0:?}")]
    Uid(String),
    /// What was mounted for the pod could not be unmounted: nothing of it is removed.
    #[error("still mounted: {}", .paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
    Mounted {
        /// Where.
        paths: Vec<PathBuf>,
    },
    /// The pod's folder could not be made or taken away.
    #[error("{step} {path}")]
    Folder {
        /// What was done.
        step: &'static str,
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Why one volume could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// No such Secret.
    #[error("secret {} not found", quoted(.0))]
    NoSecret(String),
    /// No such `ConfigMap`.
    #[error("configmap {} not found", quoted(.0))]
    NoConfigMap(String),
    /// The Secret has no such key.
    #[error("references non-existent secret key: {0}")]
    NoSecretKey(String),
    /// The `ConfigMap` has no such key.
    #[error("configmap references non-existent config key: {0}")]
    NoConfigMapKey(String),
    /// No such service account.
    #[error("failed to fetch token: serviceaccounts {} not found", quoted(.0))]
    NoServiceAccount(String),
    /// A field or resource that cannot be told.
    #[error(transparent)]
    Value(#[from] EnvironmentError),
    /// The default service account could not be made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A token could not be signed.
    #[error("failed to fetch token")]
    Token(#[from] TokenError),
    /// The host has something else in the place than the volume says.
    #[error("hostPath type check failed: {} is not {expected}", .path.display())]
    HostPathType {
        /// The place.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// A path that may not be, of a file or of a subPath.
    #[error("invalid path {0:?}: it must be relative and stay below the volume")]
    Path(String),
    /// A subPath leaves its volume by a symbolic link.
    #[error("subPath {0:?} leads out of the volume")]
    Escape(String),
    /// A folder in a folder in a folder …
    #[error("folders are nested too deeply below {}", .0.display())]
    TooDeep(PathBuf),
    /// A size is no quantity.
    #[error("sizeLimit {0:?} is no quantity")]
    Size(String),
    /// The volume has a source that manifests are not accepted with.
    #[error("the volume has no source that is supported")]
    NoSource,
    /// The kernel refused a step.
    #[error("{step} {}", .path.display())]
    System {
        /// What was done.
        step: &'static str,
        /// With what.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

impl Reason {
    /// A step that the kernel refused.
    pub(super) fn at(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::System { step, path, source }
    }
}
