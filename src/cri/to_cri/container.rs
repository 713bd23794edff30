//! Containers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{id_mappings, linux_resources};
use crate::cri::from_cri::wire_signal;
use crate::cri::wire::runtime as wire;
use crate::oci::{ContainerConfig, ContainerMetadata, ImageSpec, Mount, MountPropagation};
use crate::pod::{ContainerState, ContainerView, LogState};

/// A container in a list.
pub(in crate::cri) fn container(view: &ContainerView) -> wire::Container {
    wire::Container {
        id: view.id.clone(),
        pod_sandbox_id: view.sandbox_id.clone(),
        metadata: Some(metadata(&view.config.metadata)),
        image: Some(image_spec(&view.config.image)),
        // An id here and a digest in ContainerStatus, as containerd has it: the kubelet's image garbage collection
        // compares this one with Image.id.
        image_ref: view.image_id.clone(),
        state: state(view.state),
        created_at: view.created_at,
        labels: view.config.labels.clone(),
        annotations: view.config.annotations.clone(),
        image_id: view.image_id.clone(),
    }
}

/// A container in full.
pub(in crate::cri) fn container_status(view: &ContainerView) -> wire::ContainerStatus {
    let config = &view.config;
    wire::ContainerStatus {
        id: view.id.clone(),
        metadata: Some(metadata(&config.metadata)),
        state: state(view.state),
        created_at: view.created_at,
        started_at: view.started_at,
        finished_at: view.finished_at,
        exit_code: view.exit_code,
        image: Some(wire::ImageSpec {
            image: view.image_name.clone(),
            ..image_spec(&config.image)
        }),
        image_ref: view.image_reference.clone(),
        reason: view.reason.clone(),
        message: view.message.clone(),
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
        mounts: mounts(view),
        log_path: view.log_path.clone(),
        resources: Some(wire::ContainerResources {
            linux: Some(linux_resources(&view.resources)),
            windows: None,
        }),
        image_id: view.image_id.clone(),
        user: view.user.as_ref().map(|user| wire::ContainerUser {
            linux: Some(wire::LinuxContainerUser {
                uid: user.uid.into(),
                gid: user.gid.into(),
                supplemental_groups: user
                    .supplemental_groups
                    .iter()
                    .map(|group| (*group).into())
                    .collect(),
            }),
        }),
        stop_signal: wire_signal(view.stop_signal),
    }
}

/// Verbose information, with the keys that containerd and CRI-O use.
pub(in crate::cri) fn container_info(view: &ContainerView) -> BTreeMap<String, String> {
    // The specification is JSON already; it is text from our own record, so a torn one is shown as text.
    let specification: Value = serde_json::from_str(&view.runtime_specification)
        .unwrap_or_else(|_not_json| Value::from(&*view.runtime_specification));
    super::info(&json!({
        "sandboxID": view.sandbox_id,
        "pid": view.pid,
        "config": config_json(&view.config),
        "log": log_json(&view.log),
        "runtimeSpec": specification,
    }))
}

/// What is wrong with the log: lines that could not be written, and why more cannot.
fn log_json(log: &LogState) -> Value {
    let error = (log.errno != 0).then(|| std::io::Error::from_raw_os_error(log.errno).to_string());
    json!({ "lostLines": log.lost_lines, "error": error })
}

/// The configuration as JSON, with values of the environment as text instead of lists of numbers.
fn config_json(config: &ContainerConfig) -> Value {
    let mut value = json!(config);
    value["environment"] = config
        .environment
        .iter()
        .map(|variable| {
            json!({ "name": variable.name, "value": String::from_utf8_lossy(&variable.value) })
        })
        .collect();
    value
}

pub(super) fn metadata(metadata: &ContainerMetadata) -> wire::ContainerMetadata {
    wire::ContainerMetadata {
        name: metadata.name.clone(),
        attempt: metadata.attempt,
    }
}

fn image_spec(image: &ImageSpec) -> wire::ImageSpec {
    wire::ImageSpec {
        image: image.image.clone(),
        annotations: image.annotations.clone(),
        user_specified_image: image.user_specified_image.clone(),
        runtime_handler: image.runtime_handler.clone(),
        image_ref: image.image_ref.clone(),
    }
}

/// The mounts of the request; those of an image say in `image_ref` which one it was (KEP-5365).
fn mounts(view: &ContainerView) -> Vec<wire::Mount> {
    let mounts = view.config.mounts.iter().enumerate();
    mounts
        .map(|(index, requested)| {
            let mut mount = mount(requested);
            if let (Some(image), Some(id)) = (&mut mount.image, view.image_volumes.get(&index)) {
                image.image_ref.clone_from(id);
            }
            mount
        })
        .collect()
}

fn mount(mount: &Mount) -> wire::Mount {
    let propagation = match mount.propagation {
        MountPropagation::Private => wire::MountPropagation::PropagationPrivate,
        MountPropagation::HostToContainer => wire::MountPropagation::PropagationHostToContainer,
        MountPropagation::Bidirectional => wire::MountPropagation::PropagationBidirectional,
    };
    wire::Mount {
        container_path: mount.container_path.clone(),
        host_path: mount.host_path.clone(),
        readonly: mount.readonly,
        selinux_relabel: mount.selinux_relabel,
        propagation: propagation as i32,
        uid_mappings: id_mappings(&mount.uid_mappings),
        gid_mappings: id_mappings(&mount.gid_mappings),
        recursive_read_only: mount.recursive_read_only,
        image: mount.image.as_ref().map(image_spec),
        image_sub_path: mount.image_sub_path.clone(),
        mount_options: mount.mount_options.clone(),
    }
}

fn state(state: ContainerState) -> i32 {
    let state = match state {
        ContainerState::Created => wire::ContainerState::ContainerCreated,
        ContainerState::Running => wire::ContainerState::ContainerRunning,
        ContainerState::Exited => wire::ContainerState::ContainerExited,
        ContainerState::Unknown => wire::ContainerState::ContainerUnknown,
    };
    state as i32
}
