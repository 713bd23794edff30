//! From an OCI runtime specification to the message that makes a shim build the container. Pure.

use std::path::{Path, PathBuf};

use carpel_shim_protocol::message::{self, ContainerNamespace};
use oci_spec::runtime::{Capabilities, LinuxDeviceType, Spec};

use super::container_sources::Identities;
use super::parts::PreparedImages;
use crate::oci::{
    Calculated, ContainerConfig, IDMAP, IMAGE, NamespaceOrigin, SUB_PATH, capability_bits,
};
use crate::seccomp::Filter;

/// What the message is made of.
#[derive(Debug)]
pub(super) struct Container<'a> {
    /// Container id.
    pub id: &'a str,
    /// The request.
    pub config: &'a ContainerConfig,
    /// The specification, and what it cannot hold.
    pub calculated: &'a Calculated,
    /// The seccomp filter.
    pub filter: &'a Filter,
    /// What the sources of its mounts were when they were looked at.
    pub identities: &'a Identities,
    /// The directories of the root and of volumes made of images.
    pub images: &'a PreparedImages,
    /// Directory of the cgroup leaf.
    pub cgroup: &'a Path,
    /// Absolute path of the log; empty without one.
    pub log_path: &'a Path,
}

/// The message.
pub(super) fn create_container(container: &Container<'_>) -> message::CreateContainer {
    let calculated = container.calculated;
    let specification = &calculated.specification;
    let linux = specification.linux().clone().unwrap_or_default();
    message::CreateContainer {
        container_id: container.id.to_owned(),
        cgroup: text(container.cgroup),
        log_path: text(container.log_path),
        root: Some(root(container, linux.mount_label().as_deref())),
        mounts: mounts(specification, container),
        process: Some(process(calculated, container.filter)),
        user_namespace: linux.uid_mappings().is_some(),
        network: namespace(calculated.namespaces.network).into(),
        ipc: namespace(calculated.namespaces.ipc).into(),
        uts: namespace(calculated.namespaces.uts).into(),
        pid: namespace(calculated.namespaces.pid).into(),
        pid_target: match calculated.namespaces.pid {
            NamespaceOrigin::Target => container.config.security.namespaces.target_id.clone(),
            NamespaceOrigin::Host | NamespaceOrigin::Pod | NamespaceOrigin::New => String::new(),
        },
        private_cgroup_namespace: true,
        masked_paths: linux.masked_paths().clone().unwrap_or_default(),
        readonly_paths: linux.readonly_paths().clone().unwrap_or_default(),
        devices: devices(&linux, calculated),
        stdin: container.config.stdin,
        stdin_once: container.config.stdin_once,
        // The specification says rslave and rshared, the protocol without the r.
        root_propagation: linux
            .rootfs_propagation()
            .as_deref()
            .map(|propagation| propagation.trim_start_matches('r').to_owned())
            .unwrap_or_default(),
        oci_runtime: None,
    }
}

fn root(container: &Container<'_>, label: Option<&str>) -> message::Root {
    let root = &container.images.root;
    message::Root {
        lower: texts(&root.lower),
        upper: text(&root.upper),
        work: text(&root.work),
        readonly: container.config.security.readonly_rootfs,
        mount_label: label.unwrap_or_default().to_owned(),
    }
}

fn mounts(specification: &Spec, container: &Container<'_>) -> Vec<message::Mount> {
    specification
        .mounts()
        .iter()
        .flatten()
        .map(|mount| {
            let mut message = message::Mount {
                destination: text(mount.destination()),
                source: mount.source().as_deref().map(text).unwrap_or_default(),
                r#type: mount.typ().clone().unwrap_or_default(),
                options: mount.options().clone().unwrap_or_default(),
                ..message::Mount::default()
            };
            let options = message.options.len();
            message.options.retain(|option| option != IDMAP);
            message.idmapped = message.options.len() < options;
            if message.r#type == IMAGE {
                add_image(&mut message, container.images);
            } else if let Some(identity) = container.identities.get(&message.source) {
                (message.source_device, message.source_inode) = *identity;
            }
            message
        })
        .collect()
}

fn add_image(mount: &mut message::Mount, images: &PreparedImages) {
    if let Some(layers) = images.volumes.get(&mount.source) {
        mount.lower = texts(layers);
    }
    mount.options.retain(|option| {
        let sub_path = option.strip_prefix(SUB_PATH);
        mount.sub_path.push_str(sub_path.unwrap_or_default());
        sub_path.is_none()
    });
}

fn process(calculated: &Calculated, filter: &Filter) -> message::Process {
    let process = calculated
        .specification
        .process()
        .clone()
        .unwrap_or_default();
    message::Process {
        arguments: process
            .args()
            .iter()
            .flatten()
            .map(|argument| argument.clone().into_bytes())
            .collect(),
        environment: calculated.environment.clone(),
        working_directory: text(process.cwd()),
        user: Some(message::User {
            name: calculated.user.name.clone(),
            uid: calculated.user.uid,
            gid: calculated.user.gid,
            gid_given: calculated.user.gid_given,
            additional_gids: calculated.user.additional_gids.clone(),
            merge_groups: calculated.user.merge_groups,
        }),
        terminal: process.terminal().unwrap_or(false),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        capabilities: process
            .capabilities()
            .as_ref()
            .map(|sets| message::CapabilitySets {
                bounding: bits(sets.bounding().as_ref()),
                effective: bits(sets.effective().as_ref()),
                permitted: bits(sets.permitted().as_ref()),
                inheritable: bits(sets.inheritable().as_ref()),
                ambient: bits(sets.ambient().as_ref()),
            }),
        rlimits: Vec::new(),
        oom_score_adj: process.oom_score_adj(),
        seccomp: filter.program.clone(),
        seccomp_flags: filter.flags,
        apparmor_profile: process.apparmor_profile().clone().unwrap_or_default(),
        selinux_label: process.selinux_label().clone().unwrap_or_default(),
        umask: DEFAULT_UMASK,
        seccomp_listener: None,
    }
}

/// What containers of every runtime start with.
const DEFAULT_UMASK: u32 = 0o022;

fn bits(set: Option<&Capabilities>) -> u64 {
    set.map_or(0, capability_bits)
}

fn devices(linux: &oci_spec::runtime::Linux, calculated: &Calculated) -> Vec<message::Device> {
    linux
        .devices()
        .iter()
        .flatten()
        .map(|device| message::Device {
            path: text(device.path()),
            r#type: match device.typ() {
                LinuxDeviceType::B => "b",
                LinuxDeviceType::P => "p",
                LinuxDeviceType::C | LinuxDeviceType::U | LinuxDeviceType::A => "c",
            }
            .to_owned(),
            major: u32::try_from(device.major()).unwrap_or_default(),
            minor: u32::try_from(device.minor()).unwrap_or_default(),
            mode: device.file_mode().unwrap_or(0o666),
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
            host_path: calculated
                .device_sources
                .get(device.path())
                .cloned()
                .unwrap_or_default(),
        })
        .collect()
}

fn namespace(origin: NamespaceOrigin) -> ContainerNamespace {
    match origin {
        NamespaceOrigin::Host => ContainerNamespace::NamespaceHost,
        NamespaceOrigin::Pod => ContainerNamespace::NamespacePod,
        NamespaceOrigin::New => ContainerNamespace::NamespaceNew,
        NamespaceOrigin::Target => ContainerNamespace::NamespaceTarget,
    }
}

fn texts(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| text(path)).collect()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
