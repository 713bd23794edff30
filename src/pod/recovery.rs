//! What a new daemon finds of the pods of an old one, or of the boot before.
//!
//! The shims and the kernel are asked for facts first; the records say what was meant. An unfinished Create is undone, an
//! unfinished Start takes the fact, an unfinished Stop or Remove is carried on by the pod's driver. After a reboot pods are
//! stopped, which gives their addresses back, and containers have exited with Unknown and 255.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::clock;
use super::container_state::{ContainerPhase, unknown_exit};
use super::files;
use super::identifier;
use super::index::Index;
use super::parts::Parts;
use super::procedure::{Context, ShimEvents};
use super::reconnect;
use super::record::{ContainerRecord, LiveRecord, PodDirectories, SandboxRecord, VERSION};
use super::resources::{Held, RELEASED_BY_STOP, kill_shim, release, release_all};
use super::sandbox_state::{Container, Pod, SandboxPhase};
use super::slot::{Command, PodSlot};
use super::told::Told;
use crate::oci::{ContainerConfig, PodResources, SandboxConfig};
use crate::persist;

/// How long the processes of a pod whose shim is lost may take to die.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

const REBOOTED: &str = "the machine was restarted while it ran";
const NO_STATE: &str = "its live state was lost";

/// A pod that was found, for its new driver.
pub(super) struct Recovered {
    /// It.
    pub slot: Arc<PodSlot>,
    /// The driver's end of its queue.
    pub commands: tokio::sync::mpsc::Receiver<Command>,
    /// What its shim tells, if it lives.
    pub events: Option<ShimEvents>,
    /// What the daemon before has told of it.
    pub told: Told,
}

/// The ids of all sandboxes that are recorded below a root: their networks are kept.
pub fn recorded_sandboxes(root: &Path) -> Vec<String> {
    names(&root.join("pods"))
}

/// Namespace and name of a sandbox that is recorded below a root.
pub fn recorded_name(root: &Path, sandbox_id: &str) -> Option<(String, String)> {
    let identity = PodDirectories::new(root, root, sandbox_id).sandbox_record();
    let metadata = read::<SandboxRecord>(&identity)?.config.metadata;
    Some((metadata.namespace, metadata.name))
}

/// Finds all pods. What has no identity is cleaned away.
pub(super) async fn recover(parts: &Parts, index: &Arc<Index>) -> Vec<Recovered> {
    let settings = &parts.settings;
    let mut recovered = Vec::new();
    let identities = names(&settings.root.join("pods"));
    let mut orphans = names(&settings.run_directory.join("pods"));
    orphans.retain(|id| !identities.contains(id));
    for id in identities {
        match recover_one(parts, &id).await {
            Some(found) => {
                index.adopt(&found.slot);
                recovered.push(found);
            }
            None => tracing::info!(sandbox = %id, "an unfinished sandbox was undone"),
        }
    }
    for id in orphans {
        tracing::warn!(sandbox = %id, "live state without an identity is cleaned away");
        clean_away(parts, &id).await;
    }
    recovered
}

/// The folders in a folder that are named by ids.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| identifier::is_valid(name))
        .collect();
    names.sort();
    names
}

async fn recover_one(parts: &Parts, id: &str) -> Option<Recovered> {
    let directories = directories(parts, id);
    let Some(identity) = read::<SandboxRecord>(&directories.sandbox_record()) else {
        clean_away(parts, id).await;
        return None;
    };
    if identity.version > VERSION {
        tracing::error!(sandbox = %id, version = identity.version, "recorded by a newer Carpel: left alone");
        return None;
    }
    parts.selinux.remember(id, &identity.selinux_categories);
    // After a reboot /run is empty.
    if let Err(error) = files::make_directory(&directories.live) {
        tracing::error!(sandbox = %id, error = %super::error::chain(&error), "its live state cannot be recorded");
    }
    let same_boot = identity.boot_id == parts.settings.boot_id;
    let live = if same_boot {
        read::<LiveRecord>(&directories.live_record())
    } else {
        None
    };
    let lost = if same_boot { NO_STATE } else { REBOOTED };
    let pod = restore(identity, live, &directories, lost);
    let told = Told::all_of(&pod);
    let unfinished = pod.phase == SandboxPhase::Creating;
    let (slot, commands) = PodSlot::new(pod, directories);
    let context = Context {
        parts: parts.clone(),
        slot: Arc::new(slot),
    };
    let mut events = None;
    if unfinished {
        if undo(&context).await {
            return None;
        }
        set_phase(&context, SandboxPhase::Stopped { leftovers: true });
    } else {
        events = find_shim(&context).await;
    }
    Some(Recovered {
        slot: context.slot,
        commands,
        events,
        told,
    })
}

/// The pod as the records have it.
fn restore(
    identity: SandboxRecord,
    live: Option<LiveRecord>,
    directories: &PodDirectories,
    lost: &str,
) -> Pod {
    let mut pod = Pod {
        id: identity.id,
        resources: PodResources::of(&identity.config),
        config: Arc::new(identity.config),
        runtime_handler: identity.runtime_handler,
        created_at: identity.created_at,
        // Without live state nothing runs: the stop gives back what outlives processes.
        phase: SandboxPhase::Stopping,
        addresses: Vec::new(),
        network_namespace: std::path::PathBuf::new(),
        infra_pid: 0,
        containers: BTreeMap::new(),
    };
    let mut live_containers = BTreeMap::new();
    if let Some(live) = live {
        pod.phase = live.phase;
        pod.resources = live.resources.unwrap_or(pod.resources);
        pod.addresses = live.addresses;
        pod.network_namespace = live.network_namespace;
        pod.infra_pid = live.infra_pid;
        live_containers = live.containers;
    }
    for path in persist::record_paths(&directories.container_records()).unwrap_or_default() {
        let Some(record) = read::<ContainerRecord>(&path) else {
            continue;
        };
        let id = record.id.clone();
        let container = record
            .clone()
            .restore(live_containers.remove(&id))
            .unwrap_or_else(|| exited(record, lost));
        pod.containers.insert(id, container);
    }
    // Intended, and not even recorded: there is nothing but its name to undo it by.
    for id in live_containers.into_keys() {
        pod.containers.insert(id.clone(), unrecorded(&id));
    }
    pod
}

fn exited(record: ContainerRecord, lost: &str) -> Container {
    let resources = record.config.resources.clone();
    let created_at = record.created_at;
    Container {
        id: record.id,
        config: Arc::new(record.config),
        created_at,
        image: record.image,
        log_path: record.log_path,
        resources,
        stop_signal: record.stop_signal,
        user: None,
        phase: ContainerPhase::Exited(unknown_exit(lost, clock::now(), created_at)),
        removing: false,
    }
}

fn unrecorded(id: &str) -> Container {
    super::ends::new_container(id, ContainerConfig::default())
}

/// Connects to the shim of a pod that should have one; without it the pod is taken down.
async fn find_shim(context: &Context) -> Option<ShimEvents> {
    let directory = context.slot.directories.live.clone();
    match context.parts.shims.connect(context.id(), &directory).await {
        Ok(Some(connected)) => {
            context.slot.set_shim(Some(connected.client.clone()));
            let mut pod = (*context.slot.pod()).clone();
            reconnect::take_facts(&mut pod, &connected.state);
            context.slot.publish(Arc::new(pod));
            return Some(connected.events);
        }
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(sandbox = context.id(), error = %super::error::chain(&error), "its shim does not answer");
        }
    }
    let mut pod = (*context.slot.pod()).clone();
    if matches!(pod.phase, SandboxPhase::Stopped { .. }) {
        return None;
    }
    kill_all(context).await;
    let exits = reconnect::recorded_exits(context);
    reconnect::take_exits(&mut pod, &exits);
    if pod.phase != SandboxPhase::Removing {
        pod.phase = SandboxPhase::Stopping;
    }
    context.slot.publish(Arc::new(pod));
    None
}

async fn kill_all(context: &Context) {
    let cgroups = &context.parts.cgroups;
    let parent = context.cgroup_parent();
    let killed = cgroups
        .kill_sandbox(&parent, context.id(), KILL_PATIENCE)
        .await;
    kill_shim(context).await;
    if let Err(error) = killed {
        tracing::error!(sandbox = context.id(), error = %super::error::chain(&error), "processes of a lost pod");
    }
}

/// Undoes an unfinished RunPodSandbox; says whether all is gone.
async fn undo(context: &Context) -> bool {
    if release_all(context, &RELEASED_BY_STOP).await.is_err()
        || release_all(context, &[Held::ShimCgroup]).await.is_err()
    {
        return false;
    }
    let pod = context.slot.pod();
    if !pod.has_host_network()
        && context
            .parts
            .networks
            .wait_released(context.id())
            .await
            .is_err()
    {
        return false;
    }
    release(context, Held::Directories).await.is_ok()
}

fn set_phase(context: &Context, phase: SandboxPhase) {
    let mut pod = (*context.slot.pod()).clone();
    pod.phase = phase;
    context.slot.publish(Arc::new(pod));
}

/// Gives back whatever an id without an identity may still hold.
async fn clean_away(parts: &Parts, id: &str) {
    let pod = Pod {
        id: id.to_owned(),
        config: Arc::new(SandboxConfig::default()),
        resources: PodResources::default(),
        runtime_handler: String::new(),
        created_at: 0,
        phase: SandboxPhase::Removing,
        addresses: Vec::new(),
        network_namespace: std::path::PathBuf::new(),
        infra_pid: 0,
        containers: BTreeMap::new(),
    };
    let (slot, _commands) = PodSlot::new(pod, directories(parts, id));
    let context = Context {
        parts: parts.clone(),
        slot: Arc::new(slot),
    };
    for container in names(&context.slot.directories.live.join("containers")) {
        if let Err(error) = parts.images.release(&container).await {
            tracing::warn!(%container, error = %super::error::chain(&error), "not released");
        }
    }
    if !undo(&context).await {
        tracing::error!(sandbox = %id, "something of it is left");
    }
}

fn directories(parts: &Parts, id: &str) -> PodDirectories {
    PodDirectories::new(&parts.settings.root, &parts.settings.run_directory, id)
}

/// A record; a torn one is as good as none, and is logged.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    match persist::read_json(path) {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(path = %path.display(), error = %super::error::chain(&error), "a record is discarded");
            None
        }
    }
}
