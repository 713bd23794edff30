//! All volumes of a pod at once: set up, brought up to date, taken away.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Volume};
use k8s_openapi::jiff::Timestamp;

use super::atomic::{self, Payload, Written};
use super::ownership::{self, Access, Policy};
use super::payload::{Need, Selection, Sources, mode_or};
use super::prepared::Source;
use super::projected::{self, TokenSource};
use super::tokens::Tokens;
use super::{
    Exceeded, Prepared, Reason, Usage, VolumeError, empty_dir, host_path, mounts, removal,
};
use crate::facts::Facts;
use crate::store::Store;
use crate::token::Issuer;

/// Of files whose volume says nothing else.
const MODE: u32 = 0o644;

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
}

/// What bringing volumes up to date did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Volumes that have new files.
    pub changed: Vec<String>,
    /// When the next token is due, if there is one.
    pub next_refresh: Option<Timestamp>,
}

/// One pod and what its volumes are made from.
struct Work<'a> {
    volumes: &'a Volumes,
    pod: &'a Pod,
    facts: &'a Facts,
    folder: PathBuf,
    now: Timestamp,
}

/// What a volume of files is made from.
struct Files {
    /// How the kubelet names its kind.
    plugin: &'static str,
    payload: Payload,
    is_in_memory: bool,
    due: Option<Timestamp>,
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
        create(&work.folder)?;
        let mut prepared = Prepared {
            volumes: BTreeMap::new(),
            sub_paths: work.folder.join("volume-subpaths"),
            next_refresh: None,
        };
        for volume in volumes_of(pod) {
            let (source, due) = work.set_up(volume).map_err(|source| of(volume, source))?;
            prepared.volumes.insert(volume.name.clone(), source);
            prepared.next_refresh = earlier(prepared.next_refresh, due);
        }
        Ok(prepared)
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
        let mut refreshed = Refreshed::default();
        let mut failed = None;
        for volume in volumes_of(pod) {
            match work.refresh(volume) {
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

    /// Takes away everything of a pod: unmounts, removes. What is gone already is fine, and so is what was half made.
    ///
    /// # Errors
    /// `Mounted` if something stays mounted: then nothing is removed, as it might be the host's.
    pub fn teardown(&self, uid: &str) -> Result<(), VolumeError> {
        let folder = self.pod_directory(uid)?;
        self.tokens.forget(uid);
        if !folder.is_dir() {
            return Ok(());
        }
        let left = mounts::unmount_below(&folder).map_err(at("read the mounts of", &folder))?;
        if !left.is_empty() {
            return Err(VolumeError::Mounted { paths: left });
        }
        removal::remove(&folder).map_err(at("remove", &folder))
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
            volumes: self,
            pod,
            facts,
            folder: self.pod_directory(uid_of(pod))?,
            now,
        })
    }
}

impl Work<'_> {
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
        let files = self.files(volume)?.ok_or(Reason::NoSource)?;
        let folder = volume_folder(&self.folder, files.plugin, volume);
        self.write(&folder, &files)?;
        let source = Source::Path {
            path: folder,
            is_read_only: true,
        };
        Ok((source, files.due))
    }

    /// Nothing for a volume that does not change by itself.
    fn refresh(&self, volume: &Volume) -> Result<Option<(Written, Option<Timestamp>)>, Reason> {
        let Some(files) = self.files(volume)? else {
            return Ok(None);
        };
        let folder = volume_folder(&self.folder, files.plugin, volume);
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
            store: &self.volumes.store,
        };
        if let Some(secret) = &volume.secret {
            let selection = Selection {
                items: secret.items.as_deref(),
                mode: mode_or(secret.default_mode, MODE),
                need: Need::from(secret.optional),
            };
            let name = secret.secret_name.as_deref().unwrap_or_default();
            let payload = sources.secret(name, selection)?;
            return Ok(Some(Files::of("secret", payload, true)));
        }
        if let Some(map) = &volume.config_map {
            let selection = Selection {
                items: map.items.as_deref(),
                mode: mode_or(map.default_mode, MODE),
                need: Need::from(map.optional),
            };
            let payload = sources.config_map(&map.name, selection)?;
            return Ok(Some(Files::of("configmap", payload, false)));
        }
        if let Some(downward) = &volume.downward_api {
            let mode = mode_or(downward.default_mode, MODE);
            let payload = sources.downward(downward.items.as_deref(), mode)?;
            return Ok(Some(Files::of("downward-api", payload, false)));
        }
        if let Some(source) = &volume.projected {
            let tokens = TokenSource {
                issuer: &self.volumes.issuer,
                tokens: &self.volumes.tokens,
                now: self.now,
            };
            let (payload, due) = projected::payload(sources, tokens, source)?;
            return Ok(Some(Files {
                due,
                ..Files::of("projected", payload, true)
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
    fn of(plugin: &'static str, payload: Payload, is_in_memory: bool) -> Self {
        Self {
            plugin,
            payload,
            is_in_memory,
            due: None,
        }
    }
}

fn writable(path: PathBuf) -> Source {
    Source::Path {
        path,
        is_read_only: false,
    }
}

fn volumes_of(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
}

fn uid_of(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

fn volume_folder(pod_folder: &Path, plugin: &str, volume: &Volume) -> PathBuf {
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

fn at(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
    let path = path.to_owned();
    move |source| VolumeError::Folder { step, path, source }
}
