//! All volumes of a pod at once: set up, brought up to date, taken away.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::locks::Locks;
use super::projected::TokenSource;
use super::tokens::Tokens;
use super::work::{Work, at, volume_folder, volumes_of};
use super::{Exceeded, Prepared, Usage, VolumeError, empty_dir, mounts, removal};
use crate::facts::Facts;
use crate::store::Store;
use crate::token::Issuer;

/// Where volumes are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder with one folder for each pod.
    pub directory: PathBuf,
}

/// The volumes of all pods.
#[derive(Debug)]
pub struct Volumes {
    settings: Settings,
    store: Arc<Store>,
    issuer: Arc<Issuer>,
    tokens: Tokens,
    locks: Locks,
}

/// What bringing volumes up to date did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Volumes that have new files.
    pub changed: Vec<String>,
    /// When the next token is due, if there is one.
    pub next_refresh: Option<Timestamp>,
}

impl Volumes {
    /// Of one agent.
    #[must_use]
    pub fn new(settings: Settings, store: Arc<Store>, issuer: Arc<Issuer>) -> Self {
        Self {
            settings,
            store,
            issuer,
            tokens: Tokens::default(),
            locks: Locks::default(),
        }
    }

    /// Sets up every volume of a pod, or finds it set up; after a boot what was in memory is made again.
    ///
    /// # Errors
    /// The first volume that cannot be: the others may be there then, and are found the next time.
    pub fn prepare(&self, pod: &Pod, facts: &Facts) -> Result<Prepared, VolumeError> {
        self.prepare_at(pod, facts, Timestamp::now())
    }

    /// As [`Volumes::prepare`], at a time.
    ///
    /// # Errors
    /// As [`Volumes::prepare`].
    pub fn prepare_at(
        &self,
        pod: &Pod,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Prepared, VolumeError> {
        let work = self.work(pod, facts, now)?;
        self.locks.hold(uid_of(pod), || work.prepare())
    }

    /// Writes what has changed in the objects, the fields or the tokens that a pod's volumes show, and touches nothing else.
    ///
    /// # Errors
    /// The first volume that cannot be brought up to date: its files are the old ones, and the others have been.
    pub fn refresh(&self, pod: &Pod, facts: &Facts) -> Result<Refreshed, VolumeError> {
        self.refresh_at(pod, facts, Timestamp::now())
    }

    /// As [`Volumes::refresh`], at a time.
    ///
    /// # Errors
    /// As [`Volumes::refresh`].
    pub fn refresh_at(
        &self,
        pod: &Pod,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Refreshed, VolumeError> {
        let work = self.work(pod, facts, now)?;
        self.locks.hold(uid_of(pod), || work.refresh_all())
    }

    /// Takes away everything of a pod: unmounts, removes. What is gone already is fine, and so is what was half made.
    ///
    /// # Errors
    /// `Mounted` if something stays mounted: then nothing is removed, as it might be the host's.
    pub fn teardown(&self, uid: &str) -> Result<(), VolumeError> {
        let folder = self.pod_directory(uid)?;
        self.tokens.forget(uid);
        let outcome = self.locks.hold(uid, || remove(&folder));
        self.locks.forget(uid);
        outcome
    }

    /// The uids of the pods that have a folder: for whoever looks for what no pod has any more.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn uids(&self) -> Result<Vec<String>, VolumeError> {
        let folder = &self.settings.directory;
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at("read", folder)(error)),
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        Ok(names.filter_map(|name| name.into_string().ok()).collect())
    }

    /// How much the emptyDirs of a pod hold.
    ///
    /// # Errors
    /// If the pod has no uid.
    pub fn usage(&self, pod: &Pod) -> Result<Vec<Usage>, VolumeError> {
        let folder = self.pod_directory(uid_of(pod))?;
        let with_source =
            volumes_of(pod).filter_map(|volume| Some((volume, volume.empty_dir.as_ref()?)));
        Ok(with_source
            .map(|(volume, source)| Usage {
                volume: volume.name.clone(),
                used_bytes: empty_dir::used_bytes(&volume_folder(&folder, "empty-dir", volume)),
                limit_bytes: empty_dir::limit(source).ok().flatten(),
            })
            .collect())
    }

    /// The first emptyDir of a pod that holds more than its `sizeLimit`.
    ///
    /// # Errors
    /// If the pod has no uid.
    pub fn exceeded(&self, pod: &Pod) -> Result<Option<Exceeded>, VolumeError> {
        let folder = self.pod_directory(uid_of(pod))?;
        for volume in volumes_of(pod) {
            let Some(source) = &volume.empty_dir else {
                continue;
            };
            let (Some(text), Ok(Some(limit))) = (&source.size_limit, empty_dir::limit(source))
            else {
                continue;
            };
            if empty_dir::used_bytes(&volume_folder(&folder, "empty-dir", volume)) > limit {
                return Ok(Some(Exceeded {
                    volume: volume.name.clone(),
                    limit: text.0.clone(),
                }));
            }
        }
        Ok(None)
    }

    /// The folder of a pod. Others may keep files of the pod in it (its `/etc/hosts`, its termination messages): they go
    /// with it.
    ///
    /// # Errors
    /// `Uid` if the uid cannot name a folder.
    pub fn pod_directory(&self, uid: &str) -> Result<PathBuf, VolumeError> {
        let mut parts = Path::new(uid).components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(name)), None) if name == uid => {
                Ok(self.settings.directory.join(name))
            }
            _ => Err(VolumeError::Uid(uid.to_owned())),
        }
    }

    fn work<'a>(
        &'a self,
        pod: &'a Pod,
        facts: &'a Facts,
        now: Timestamp,
    ) -> Result<Work<'a>, VolumeError> {
        Ok(Work {
            pod,
            facts,
            store: &self.store,
            tokens: TokenSource {
                issuer: &self.issuer,
                tokens: &self.tokens,
                now,
            },
            folder: self.pod_directory(uid_of(pod))?,
        })
    }
}

/// Unmounts and removes the folder of a pod.
fn remove(folder: &Path) -> Result<(), VolumeError> {
    if !folder.is_dir() {
        return Ok(());
    }
    let left = mounts::unmount_below(folder).map_err(at("read the mounts of", folder))?;
    if !left.is_empty() {
        return Err(VolumeError::Mounted { paths: left });
    }
    removal::remove(folder).map_err(at("remove", folder))
}

fn uid_of(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}
