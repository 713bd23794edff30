//! The volumes of one pod: each set up by its kind, or brought up to date. The caller holds the pod's lock.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, Volume};
use k8s_openapi::jiff::Timestamp;

use super::atomic::{self, Payload, Written};
use super::ownership::{self, Access, Policy};
use super::payload::{Need, Selection, Sources, mode_or};
use super::prepared::Source;
use super::projected::{self, TokenSource};
use super::{Prepared, Reason, Refreshed, VolumeError, empty_dir, host_path, mounts};
use crate::facts::Facts;
use crate::store::Store;

/// Of files whose volume says nothing else.
const MODE: u32 = 0o644;

/// One pod and what its volumes are made from.
pub(super) struct Work<'a> {
    pub(super) pod: &'a Pod,
    pub(super) facts: &'a Facts,
    pub(super) store: &'a Store,
    pub(super) tokens: TokenSource<'a>,
    /// The pod's folder.
    pub(super) folder: PathBuf,
}

/// What a volume of files is made from.
struct Files {
    payload: Payload,
    is_in_memory: bool,
    due: Option<Timestamp>,
}

impl Work<'_> {
    pub(super) fn prepare(&self) -> Result<Prepared, VolumeError> {
        create(&self.folder)?;
        let mut prepared = Prepared {
            volumes: BTreeMap::new(),
            sub_paths: self.folder.join("volume-subpaths"),
            next_refresh: None,
        };
        for volume in volumes_of(self.pod) {
            let (source, due) = self.set_up(volume).map_err(|source| of(volume, source))?;
            prepared.volumes.insert(volume.name.clone(), source);
            prepared.next_refresh = earlier(prepared.next_refresh, due);
        }
        Ok(prepared)
    }

    pub(super) fn refresh_all(&self) -> Result<Refreshed, VolumeError> {
        let mut refreshed = Refreshed::default();
        let mut failed = None;
        for volume in volumes_of(self.pod) {
            match self.refresh(volume) {
                Ok(Some((written, due))) => {
                    if written == Written::Changed {
                        refreshed.changed.push(volume.name.clone());
                    }
                    refreshed.next_refresh = earlier(refreshed.next_refresh, due);
                }
                Ok(None) => {}
                Err(source) => failed = failed.or(Some(of(volume, source))),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(refreshed),
        }
    }

    fn set_up(&self, volume: &Volume) -> Result<(Source, Option<Timestamp>), Reason> {
        if let Some(host) = &volume.host_path {
            let path = PathBuf::from(&host.path);
            host_path::set_up(&path, host.type_.as_deref().unwrap_or_default())?;
            return Ok((writable(path), None));
        }
        if let Some(image) = &volume.image {
            let source = Source::Image {
                reference: image.reference.clone().unwrap_or_default(),
                pull_policy: image.pull_policy.clone().unwrap_or_default(),
            };
            return Ok((source, None));
        }
        if volume.empty_dir.is_some() {
            return Ok((writable(self.empty_dir(volume)?), None));
        }
        let (plugin, is_in_memory) = plugin_of(volume).ok_or(Reason::NoSource)?;
        let folder = volume_folder(&self.folder, plugin, volume);
        let due = match self.files(volume) {
            Ok(files) => {
                let files = files.ok_or(Reason::NoSource)?;
                self.write(&folder, &files)?;
                files.due
            }
            // What a container was started with is there for it when it starts again, as with a kubelet.
            Err(reason) if has_files(&folder, is_in_memory)? => {
                tracing::warn!(volume = volume.name, error = %reason, "a volume keeps its old files");
                None
            }
            Err(reason) => return Err(reason),
        };
        let source = Source::Path {
            path: folder,
            is_read_only: true,
        };
        Ok((source, due))
    }

    /// Nothing for a volume that does not change by itself.
    fn refresh(&self, volume: &Volume) -> Result<Option<(Written, Option<Timestamp>)>, Reason> {
        let Some((plugin, _)) = plugin_of(volume) else {
            return Ok(None);
        };
        let Some(files) = self.files(volume)? else {
            return Ok(None);
        };
        let folder = volume_folder(&self.folder, plugin, volume);
        let written = self.write(&folder, &files)?;
        Ok(Some((written, files.due)))
    }

    /// An emptyDir is given to the pod's group once, when it is made: later the files in it are the containers' own.
    fn empty_dir(&self, volume: &Volume) -> Result<PathBuf, Reason> {
        let source = volume.empty_dir.as_ref().ok_or(Reason::NoSource)?;
        let folder = volume_folder(&self.folder, "empty-dir", volume);
        let plugins = self.folder.join("plugins/kubernetes.io~empty-dir");
        let ready = plugins.join(&volume.name).join("ready");
        let is_in_memory = source.medium.as_deref() == Some(empty_dir::MEMORY);
        let is_there = folder.is_dir() && (!is_in_memory || mounts::is_tmpfs(&folder)?);
        if is_there && ready.is_file() {
            return Ok(folder);
        }
        empty_dir::set_up(&folder, source, self.pod, self.facts)?;
        if let Some(group) = self.group() {
            ownership::give(&folder, group, Access::ReadWrite, self.policy())?;
        }
        if let Some(parent) = ready.parent() {
            fs::create_dir_all(parent).map_err(Reason::at("create", parent))?;
        }
        fs::File::create(&ready).map_err(Reason::at("create", &ready))?;
        Ok(folder)
    }

    fn write(&self, folder: &Path, files: &Files) -> Result<Written, Reason> {
        let is_new = !folder.is_dir();
        if is_new {
            empty_dir::create_open(folder)?;
        }
        if files.is_in_memory {
            mounts::mount_tmpfs(folder, None)?;
        }
        let group = self.group();
        let bits = group.map_or(0, |_| 0o440);
        atomic::write(folder, &files.payload, bits, |folder| match group {
            Some(group) => ownership::give(folder, group, Access::ReadOnly, Policy::Always),
            None => Ok(()),
        })
    }

    /// The files of a volume; nothing if it is none of files.
    fn files(&self, volume: &Volume) -> Result<Option<Files>, Reason> {
        let sources = Sources {
            pod: self.pod,
            facts: self.facts,
            store: self.store,
        };
        if let Some(secret) = &volume.secret {
            let selection = Selection {
                items: secret.items.as_deref(),
                mode: mode_or(secret.default_mode, MODE),
                need: Need::from(secret.optional),
            };
            let name = secret.secret_name.as_deref().unwrap_or_default();
            let payload = sources.secret(name, selection)?;
            return Ok(Some(Files::of(payload, true)));
        }
        if let Some(map) = &volume.config_map {
            let selection = Selection {
                items: map.items.as_deref(),
                mode: mode_or(map.default_mode, MODE),
                need: Need::from(map.optional),
            };
            let payload = sources.config_map(&map.name, selection)?;
            return Ok(Some(Files::of(payload, false)));
        }
        if let Some(downward) = &volume.downward_api {
            let mode = mode_or(downward.default_mode, MODE);
            let payload = sources.downward(downward.items.as_deref(), mode)?;
            return Ok(Some(Files::of(payload, false)));
        }
        if let Some(source) = &volume.projected {
            let (payload, due) = projected::payload(sources, self.tokens, source)?;
            return Ok(Some(Files {
                due,
                ..Files::of(payload, true)
            }));
        }
        Ok(None)
    }

    fn group(&self) -> Option<u32> {
        let context = self.pod.spec.as_ref()?.security_context.as_ref()?;
        u32::try_from(context.fs_group?).ok()
    }

    fn policy(&self) -> Policy {
        let spec = self.pod.spec.as_ref();
        let context = spec.and_then(|spec| spec.security_context.as_ref());
        match context.and_then(|context| context.fs_group_change_policy.as_deref()) {
            Some("OnRootMismatch") => Policy::OnRootMismatch,
            _ => Policy::Always,
        }
    }
}

impl Files {
    fn of(payload: Payload, is_in_memory: bool) -> Self {
        Self {
            payload,
            is_in_memory,
            due: None,
        }
    }
}

/// How the kubelet names the kind of a volume of files, and whether it is in memory.
fn plugin_of(volume: &Volume) -> Option<(&'static str, bool)> {
    match volume {
        _ if volume.secret.is_some() => Some(("secret", true)),
        _ if volume.config_map.is_some() => Some(("configmap", false)),
        _ if volume.downward_api.is_some() => Some(("downward-api", false)),
        _ if volume.projected.is_some() => Some(("projected", true)),
        _ => None,
    }
}

/// Whether files were written before and are still there.
fn has_files(folder: &Path, is_in_memory: bool) -> Result<bool, Reason> {
    let is_there = folder.is_dir() && (!is_in_memory || mounts::is_tmpfs(folder)?);
    Ok(is_there && atomic::is_written(folder))
}

fn writable(path: PathBuf) -> Source {
    Source::Path {
        path,
        is_read_only: false,
    }
}

pub(super) fn volumes_of(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
}

pub(super) fn volume_folder(pod_folder: &Path, plugin: &str, volume: &Volume) -> PathBuf {
    let folder = pod_folder.join("volumes");
    folder
        .join(format!("kubernetes.io~{plugin}"))
        .join(&volume.name)
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

fn of(volume: &Volume, source: Reason) -> VolumeError {
    VolumeError::SetUp {
        volume: volume.name.clone(),
        source: Box::new(source),
    }
}

fn create(folder: &Path) -> Result<(), VolumeError> {
    match crate::file::create_private_folder(folder) {
        Err(crate::file::FileError::CreateFolder { path, source }) => {
            Err(at("create", &path)(source))
        }
        _ => Ok(()),
    }
}

pub(super) fn at(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
    let path = path.to_owned();
    move |source| VolumeError::Folder { step, path, source }
}
