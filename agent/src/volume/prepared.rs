//! What a pod's volumes are on this host, and what a container mounts of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, VolumeMount};
use k8s_openapi::jiff::Timestamp;

use super::{Reason, VolumeError, sub_path};
use crate::environment;

/// The volumes of a pod, set up.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// By name.
    pub(super) volumes: BTreeMap<String, Source>,
    /// Where binds of subPaths are made.
    pub(super) sub_paths: PathBuf,
    /// When the next token is due, if there is one: then [`super::Volumes::refresh`] is called.
    pub next_refresh: Option<Timestamp>,
}

/// Where a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A folder or file of the host.
    Path {
        path: PathBuf,
        /// Whether containers may not write it, whatever they ask for.
        is_read_only: bool,
    },
    /// An image, which the runtime mounts itself.
    Image {
        reference: String,
        pull_policy: String,
    },
}

/// A mount of a container, as the CRI wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeMountPlan {
    /// The volume that it is of.
    pub volume: String,
    /// What is mounted.
    pub source: MountSource,
    /// Where in the container.
    pub container_path: String,
    /// Whether it cannot be written.
    pub is_read_only: bool,
    /// Whether mounts below it may be written all the same.
    pub recursive_read_only: RecursiveReadOnly,
    /// Which mounts that are made later are seen on the other side.
    pub propagation: Propagation,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A folder or file of the host.
    Path(PathBuf),
    /// An image.
    Image {
        /// Its reference, which has to be pulled by this policy first.
        reference: String,
        /// `Always`, `IfNotPresent` or `Never`.
        pull_policy: String,
        /// A folder of the image; empty: all of it.
        sub_path: String,
    },
}

/// `mountPropagation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// Neither side sees the other's.
    #[default]
    None,
    /// The container sees the host's.
    HostToContainer,
    /// Both see the other's.
    Bidirectional,
}

/// `recursiveReadOnly`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecursiveReadOnly {
    /// They may.
    #[default]
    Disabled,
    /// They may not if the runtime can see to that.
    IfPossible,
    /// They may not; a runtime that cannot see to that must not start the container.
    Enabled,
}

impl Prepared {
    /// What a container mounts. `environment` is what `subPathExpr` is expanded with; subPaths are bound here, anew at each call.
    ///
    /// # Errors
    /// `NoVolume` and `SubPath`.
    pub fn mounts_for(
        &self,
        container: &Container,
        environment: &[(String, String)],
    ) -> Result<Vec<VolumeMountPlan>, VolumeError> {
        let mounts = container.volume_mounts.iter().flatten().enumerate();
        mounts
            .map(|(index, mount)| self.plan(container, index, mount, environment))
            .collect()
    }

    /// The images that containers mount, with the policy to pull each by.
    pub fn images(&self) -> impl Iterator<Item = (&str, &str)> {
        self.volumes.values().filter_map(|source| match source {
            Source::Image {
                reference,
                pull_policy,
            } => Some((reference.as_str(), pull_policy.as_str())),
            Source::Path { .. } => None,
        })
    }

    fn plan(
        &self,
        container: &Container,
        index: usize,
        mount: &VolumeMount,
        environment: &[(String, String)],
    ) -> Result<VolumeMountPlan, VolumeError> {
        let source = self.volumes.get(&mount.name);
        let source = source.ok_or_else(|| VolumeError::NoVolume {
            volume: mount.name.clone(),
        })?;
        let sub_path_error = |source| VolumeError::SubPath {
            volume: mount.name.clone(),
            container: container.name.clone(),
            source: Box::new(source),
        };
        let sub_path = sub_path_of(mount, environment).map_err(sub_path_error)?;
        let is_forced = !matches!(
            source,
            Source::Path {
                is_read_only: false,
                ..
            }
        );
        let source = match source {
            Source::Path { path, .. } if sub_path.is_empty() => MountSource::Path(path.clone()),
            Source::Path { path, .. } => {
                let folder = self.sub_paths.join(&mount.name).join(&container.name);
                let target = folder.join(index.to_string());
                sub_path::bind(path, &sub_path, &target).map_err(sub_path_error)?;
                MountSource::Path(target)
            }
            Source::Image {
                reference,
                pull_policy,
            } => MountSource::Image {
                reference: reference.clone(),
                pull_policy: pull_policy.clone(),
                sub_path,
            },
        };
        Ok(VolumeMountPlan {
            volume: mount.name.clone(),
            source,
            container_path: mount.mount_path.clone(),
            is_read_only: is_forced || mount.read_only == Some(true),
            recursive_read_only: match mount.recursive_read_only.as_deref() {
                Some("Enabled") => RecursiveReadOnly::Enabled,
                Some("IfPossible") => RecursiveReadOnly::IfPossible,
                _ => RecursiveReadOnly::Disabled,
            },
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::None,
            },
        })
    }
}

/// The subPath, with `subPathExpr` expanded; every variable of it must be there.
fn sub_path_of(mount: &VolumeMount, environment: &[(String, String)]) -> Result<String, Reason> {
    let Some(expression) = mount
        .sub_path_expr
        .as_deref()
        .filter(|text| !text.is_empty())
    else {
        return Ok(mount.sub_path.clone().unwrap_or_default());
    };
    let missing = std::cell::Cell::new(false);
    let expanded = environment::expand(expression, |name| {
        let found = environment.iter().find(|(key, _)| key == name);
        missing.set(missing.get() || found.is_none());
        found.map(|(_, value)| value.as_str())
    });
    let is_outside = expanded.starts_with('/') || expanded.split('/').any(|part| part == "..");
    match missing.get() || expanded.is_empty() || is_outside {
        true => Err(Reason::Path(expanded)),
        false => Ok(expanded),
    }
}
