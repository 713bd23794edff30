//! CreateContainer: from the request to a first process that waits before execve.
//!
//! What can be refused is refused before anything is made. From the record on, a step that fails is undone by the same
//! procedure that removes a container.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use carpel_shim_protocol::message;

use super::container_sources::{Identities, Sources, look_up};
use super::error::{PodError, PodErrorKind, Subject};
use super::parts::{ContainerImage, PreparedImages};
use super::procedure::{
    Change, Context, CreatedContainer, Failure, Outcome, blocking, persist_error, shim_error,
};
use super::record::{self, ContainerRecord};
use super::sandbox_state::{Container, ImageNames, Pod};
use super::{
    files, image_volumes, oci_runtime, process_file, remove_container, seccomp_listener, selinux,
    shim_message,
};
use crate::apparmor::Wanted;
use crate::oci::{
    Calculated, HostFacts, Input, NamespaceMode, NamespacePaths, OciError, OciErrorKind, PodFiles,
    SecurityProfile, refuse_for_other_runtime, specification,
};
use crate::persist::{self, Durability};
use crate::seccomp::Filter;

/// Mounting a root and its volumes takes milliseconds, unless a source is on a network file system.
const CREATE_PATIENCE: Duration = Duration::from_secs(60);

/// The whole procedure.
pub(super) async fn run(context: Context, id: String) -> Outcome {
    let plan = plan(&context, &id).await.map_err(Failure::clean)?;
    match make(&context, &plan).await {
        Ok(created) => Ok(Change::ContainerCreated(created)),
        Err(error) => match remove_container::remove(&context, &id).await {
            Ok(()) => Err(Failure::clean(error)),
            Err(undo) => {
                tracing::warn!(container = %id, error = %super::error::chain(&undo), "not undone");
                Err(Failure::leftovers(error))
            }
        },
    }
}

/// All that is known before anything is made.
struct Plan {
    id: String,
    container: Container,
    image: ContainerImage,
    /// The ids of the images that are mounted as volumes, by the index of the mount.
    volumes: BTreeMap<usize, String>,
    log_path: PathBuf,
    calculated: Calculated,
    /// What the sources of its mounts were when they were looked at.
    identities: Identities,
    /// The seccomp filter; empty: none.
    filter: Arc<Filter>,
    /// Another runtime that makes it.
    other: Option<message::OciRuntime>,
}

async fn plan(context: &Context, id: &str) -> Result<Plan, PodError> {
    let pod = context.slot.pod();
    let subject = Subject::Container(id.to_owned());
    let Some(container) = pod.containers.get(id).cloned() else {
        return Err(PodError::new(
            PodErrorKind::NotFound,
            subject,
            "no such container",
        ));
    };
    let image = find_image(context, &container)?;
    let config = Arc::clone(&container.config);
    let volumes = find_volumes(context, &container);
    let settings = Arc::clone(&context.parts.settings);
    let labels = selinux::of_container(context, subject.clone(), &pod.config, &config)?;
    let mut sources = blocking(subject.clone(), "look up its mounts and devices", {
        let subject = subject.clone();
        move || look_up(&config, &settings.devices, labels).map_err(|error| error.told(subject))
    })
    .await?;
    sources.mounts.extend(volumes.clone());
    sources.apparmor = apparmor(context, &container, &subject).await?;
    let target = target_pid(&pod, &container, &subject)?;
    let calculated = calculate(context, &pod, &container, &image, (&sources, target))
        .map_err(|error| oci_error(subject.clone(), error))?;
    let other = other_runtime(context, &pod, (&container, &calculated))?;
    let filter = filter(context, (&container, &calculated), subject)?;
    let log_path = log_path(&pod, &container);
    Ok(Plan {
        id: id.to_owned(),
        container,
        image,
        volumes,
        log_path,
        calculated,
        identities: sources.identities,
        filter,
        other,
    })
}

/// What the shim is told if another runtime makes the container.
fn other_runtime(
    context: &Context,
    pod: &Pod,
    (container, calculated): (&Container, &Calculated),
) -> Result<Option<message::OciRuntime>, PodError> {
    let Some(handler) = oci_runtime::handler_of(context, pod)? else {
        return Ok(None);
    };
    refuse_for_other_runtime(&pod.config, &container.config, handler.recursive_read_only)
        .map_err(|error| oci_error(Subject::Container(container.id.clone()), error))?;
    oci_runtime::message_of(context, handler, &container.id, calculated).map(Some)
}

/// The program of the specification's seccomp profile.
fn filter(
    context: &Context,
    (container, calculated): (&Container, &Calculated),
    subject: Subject,
) -> Result<Arc<Filter>, PodError> {
    let linux = calculated.specification.linux().as_ref();
    let Some(profile) = linux.and_then(|linux| linux.seccomp().as_ref()) else {
        return Ok(Arc::default());
    };
    context.parts.filters.of(profile).map_err(|error| {
        let step = match &container.config.security.seccomp {
            Some(SecurityProfile::Localhost(path)) => format!("compile seccomp profile {path:?}"),
            _ => "compile its seccomp profile".to_owned(),
        };
        PodError::new(PodErrorKind::InvalidArgument, subject, step).caused_by(error)
    })
}

/// The AppArmor profile of the container, loaded.
async fn apparmor(
    context: &Context,
    container: &Container,
    subject: &Subject,
) -> Result<Option<String>, PodError> {
    let security = &container.config.security;
    let wanted = match &security.apparmor {
        _ if security.privileged => Wanted::Unconfined,
        None => Wanted::Unspecified,
        Some(SecurityProfile::RuntimeDefault) => Wanted::Default,
        Some(SecurityProfile::Unconfined) => Wanted::Unconfined,
        Some(SecurityProfile::Localhost(name)) => Wanted::Named(name),
    };
    let found = context.parts.apparmor.profile_for(wanted).await;
    found.map_err(|error| {
        let kind = match error.is_of_the_node() {
            true => PodErrorKind::FailedPrecondition,
            false => PodErrorKind::InvalidArgument,
        };
        PodError::new(kind, subject.clone(), "find its AppArmor profile").caused_by(error)
    })
}

fn find_image(context: &Context, container: &Container) -> Result<ContainerImage, PodError> {
    let reference = &container.config.image.image;
    let refused = |kind, why| PodError::new(kind, Subject::Image(reference.clone()), why);
    match context.parts.images.find(reference) {
        Some(image) if image.is_artifact => Err(refused(
            PodErrorKind::InvalidArgument,
            "it is an artifact, which has nothing to run: it can only be mounted",
        )),
        Some(image) => Ok(image),
        None => Err(refused(
            PodErrorKind::NotFound,
            "it is not on this node: pull it first",
        )),
    }
}

/// The images that are mounted as volumes. One that is not here is told by the calculation, which knows of the others'
/// faults too.
fn find_volumes(context: &Context, container: &Container) -> BTreeMap<usize, String> {
    let mounts = container.config.mounts.iter().enumerate();
    let wanted = mounts.filter_map(|(index, mount)| Some((index, mount.image.as_ref()?)));
    let found = wanted.filter_map(|(index, image)| {
        let image = context.parts.images.find(&image.image)?;
        Some((index, image.id))
    });
    found.collect()
}

/// The pid of the container whose pid namespace is joined, with pid mode TARGET.
fn target_pid(pod: &Pod, container: &Container, subject: &Subject) -> Result<i32, PodError> {
    let namespaces = &container.config.security.namespaces;
    if namespaces.pid != NamespaceMode::Target {
        return Ok(0);
    }
    let target = &namespaces.target_id;
    let running = pod
        .containers
        .get(target)
        .filter(|other| other.phase.state() == super::view::ContainerState::Running)
        .and_then(|other| other.phase.pid());
    running.ok_or_else(|| {
        PodError::new(
            PodErrorKind::InvalidArgument,
            subject.clone(),
            format!("namespace_options.target_id: no container {target:?} runs in this pod"),
        )
    })
}

fn calculate(
    context: &Context,
    pod: &Pod,
    container: &Container,
    image: &ContainerImage,
    (sources, target): (&Sources, i32),
) -> Result<Calculated, OciError> {
    let directories = &context.slot.directories;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let namespace = |name: &str| format!("/proc/{}/ns/{name}", pod.infra_pid);
    specification(&Input {
        container_id: &container.id,
        sandbox_id: &pod.id,
        sandbox: &pod.config,
        container: &container.config,
        image: &image.defaults,
        root: &text(directories.bundle(&container.id).join("rootfs")),
        hostname: &files::hostname(&pod.config),
        files: &PodFiles {
            hosts: text(directories.live.join("hosts")),
            hostname: text(directories.live.join("hostname")),
            resolv_conf: text(directories.live.join("resolv.conf")),
            shm: text(directories.shm()),
        },
        namespaces: &NamespacePaths {
            network: text(pod.network_namespace.clone()),
            ipc: namespace("ipc"),
            uts: namespace("uts"),
            user: namespace("user"),
            pid: namespace("pid"),
            target_pid: if target == 0 {
                String::new()
            } else {
                format!("/proc/{target}/ns/pid")
            },
        },
        cgroup: &context.parts.cgroups.container_path(
            &pod.config.cgroup_parent,
            &pod.id,
            &container.id,
        ),
        devices: &sources.devices,
        sources: &sources.mounts,
        edits: &sources.edits,
        seccomp: sources.seccomp.as_ref(),
        apparmor: sources.apparmor.as_deref(),
        labels: &sources.labels,
        volumes_directory: &text(directories.volumes(&container.id)),
        host: &HostFacts {
            capabilities: context.parts.settings.bounding_capabilities,
            lowest_oom_score_adj: context.parts.settings.lowest_oom_score_adj,
            device_rules: context.parts.settings.device_rules,
            devices: sources.host_devices.clone(),
        },
    })
}

/// Makes it. On failure the caller undoes what was made.
async fn make(context: &Context, plan: &Plan) -> Result<CreatedContainer, PodError> {
    let stages = &context.slot.stages;
    let images = stages
        .run("prepare the root file system", prepare(context, plan))
        .await?;
    let parent = context.cgroup_parent();
    let linux = plan.calculated.specification.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().clone());
    let resources = resources.unwrap_or_default();
    let cgroup =
        context
            .parts
            .cgroups
            .create_container(&parent, context.id(), &plan.id, &resources)?;
    let mut message = shim_message::create_container(&shim_message::Container {
        id: &plan.id,
        config: &plan.container.config,
        calculated: &plan.calculated,
        filter: &plan.filter,
        identities: &plan.identities,
        images: &images,
        cgroup: &cgroup,
        log_path: &plan.log_path,
    });
    message.oci_runtime.clone_from(&plan.other);
    if plan.filter.notifies
        && let Some(process) = &mut message.process
    {
        let bundle = context.slot.directories.bundle(&plan.id);
        process.seccomp_listener =
            seccomp_listener::listener(&plan.calculated.specification, &plan.id, &bundle);
    }
    let process = message.process.clone().unwrap_or_default();
    let bundle = write_bundle(context, plan, process);
    stages.run("write its bundle", bundle).await?;
    let created = context
        .slot
        .shim()?
        .create_container(message, CREATE_PATIENCE)
        .await
        .map_err(|error| shim_error(subject(plan), "make its first process", error))?;
    if plan.other.is_some() {
        let cgroups = &context.parts.cgroups;
        cgroups.keep_device_rules(&parent, context.id(), &plan.id, &resources)?;
    }
    for lowered in &plan.calculated.lowered {
        tracing::info!(container = %plan.id, "{lowered}");
    }
    Ok(CreatedContainer {
        pid: created.pid,
        user: created.user.unwrap_or_default().into(),
        image: names(plan),
        log_path: plan.log_path.clone(),
        stop_signal: plan.calculated.stop_signal,
    })
}

/// The record first, then the root file system and the image's volumes.
async fn prepare(context: &Context, plan: &Plan) -> Result<PreparedImages, PodError> {
    let mut recorded = plan.container.clone();
    recorded.image = names(plan);
    recorded.log_path.clone_from(&plan.log_path);
    recorded.stop_signal = plan.calculated.stop_signal;
    record::write_container(&context.slot.directories, &ContainerRecord::of(&recorded))
        .map_err(|error| persist_error(subject(plan), "record the container", error))?;
    let images = &context.parts.images;
    let volumes: Vec<String> = plan.volumes.values().cloned().collect();
    let prepared = images.prepare(&plan.image.id, &volumes, &plan.id).await?;
    if !plan.calculated.image_volumes.is_empty() {
        let volumes = plan.calculated.image_volumes.clone();
        let subject = subject(plan);
        let layers = prepared.root.clone();
        let mount_point = context.slot.directories.bundle(&plan.id).join("image");
        blocking(subject.clone(), "make the image's volumes", move || {
            image_volumes::make(&volumes, &layers, &mount_point).map_err(|error| {
                super::procedure::io_error(subject, "make the image's volumes", error)
            })
        })
        .await?;
    }
    Ok(prepared)
}

/// The bundle: the specification, for people and external runtimes, and what execs need.
async fn write_bundle(
    context: &Context,
    plan: &Plan,
    process: message::Process,
) -> Result<(), PodError> {
    let subject = subject(plan);
    let directories = context.slot.directories.clone();
    let id = plan.id.clone();
    let log_path = plan.log_path.clone();
    let specification = plan.calculated.specification.clone();
    blocking(subject.clone(), "write its bundle", move || {
        let file_error = |error: files::FileError| {
            PodError::new(error.kind(), subject.clone(), "make its folders").caused_by(error)
        };
        let persisted = |error| persist_error(subject.clone(), "write its bundle", error);
        files::make_directory(&directories.bundle(&id)).map_err(file_error)?;
        files::make_log(&log_path).map_err(file_error)?;
        persist::write_json(
            &directories.specification(&id),
            &specification,
            Durability::Rename,
        )
        .map_err(persisted)?;
        process_file::write(&directories, &id, &process).map_err(persisted)
    })
    .await
}

fn subject(plan: &Plan) -> Subject {
    Subject::Container(plan.id.clone())
}

fn names(plan: &Plan) -> ImageNames {
    ImageNames {
        id: plan.image.id.clone(),
        name: plan.image.name.clone(),
        reference: plan.image.reference.clone(),
        volumes: plan.volumes.clone(),
    }
}

/// CRI ContainerConfig.log_path: relative to the sandbox's log directory; without one of them there is no log.
fn log_path(pod: &Pod, container: &Container) -> PathBuf {
    let (directory, path) = (&pod.config.log_directory, &container.config.log_path);
    if directory.is_empty() || path.is_empty() {
        return PathBuf::new();
    }
    Path::new(directory).join(path)
}

pub(super) fn oci_error(subject: Subject, error: OciError) -> PodError {
    let kind = match error.kind() {
        OciErrorKind::Invalid => PodErrorKind::InvalidArgument,
        OciErrorKind::Unimplemented => PodErrorKind::Unimplemented,
        OciErrorKind::ImageVolume => PodErrorKind::ImageVolume,
    };
    PodError::new(kind, subject, "the request").caused_by(error)
}
