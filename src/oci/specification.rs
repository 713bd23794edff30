//! The whole specification, put together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::{Linux, LinuxSeccomp, Process, Root, Spec, User};

use super::annotations::annotations;
use super::capabilities::{capabilities, capability_bits};
use super::devices::devices;
use super::error::OciError;
use super::input::Input;
use super::mounts::{ImageVolume, mounts};
use super::namespaces::{self, ContainerNamespaces};
use super::process;
use super::resources::{linux_resources, oom_score_adj};
use super::sandbox_config::SecurityProfile;
use super::signal::stop_signal;
use super::user::{UserRequest, user};
use super::user_namespace;
use crate::seccomp;

/// The version of the OCI runtime specification that is written (`rro` needs 1.1).
const OCI_VERSION: &str = "1.1.0";

/// A specification, and what it cannot hold.
#[derive(Debug, Clone)]
pub struct Calculated {
    /// The specification. Its environment is a lossy copy if values are not UTF-8, and its user is provisional.
    pub specification: Spec,
    /// The environment, `NAME=value`, byte for byte.
    pub environment: Vec<Vec<u8>>,
    /// Whom the shim's child looks up.
    pub user: UserRequest,
    /// The signal that asks the container to end: Linux number.
    pub stop_signal: i32,
    /// Volumes of the image that have no mount of the request: the caller makes their directories.
    pub image_volumes: Vec<ImageVolume>,
    /// Where the host has the nodes of devices, by their path in the container, if that is another.
    pub device_sources: BTreeMap<PathBuf, String>,
    /// Where the namespaces come from.
    pub namespaces: ContainerNamespaces,
    /// What the container does not get because the daemon lacks it: for the log and `doctor`.
    pub lowered: Vec<String>,
}

/// The specification of a container.
///
/// # Errors
///
/// A request that contradicts itself, or that asks for what Carpel does not have yet.
pub fn specification(input: &Input<'_>) -> Result<Calculated, OciError> {
    let container = input.container;
    if container.security.privileged && !input.sandbox.security.privileged {
        return Err(OciError::PrivilegedInUnprivilegedSandbox {
            sandbox_id: input.sandbox_id.to_owned(),
        });
    }
    let user_namespace = user_namespace::user_namespace(input)?;
    let environment = process::environment(input)?;
    let user = user(input)?;
    let (capabilities, mut lowered) = capabilities(&container.security, input.host)?;
    let bounding = capabilities.bounding().as_ref().map_or(0, capability_bits);
    let (oom_score_adj, raised) =
        oom_score_adj(&container.resources, input.host.lowest_oom_score_adj)?;
    lowered.extend(raised);
    let mounts = mounts(input)?;
    let namespaces = namespaces::namespaces(input)?;

    let mut first = Process::default();
    first.set_terminal(Some(container.tty));
    first.set_args(Some(process::arguments(input)?));
    first.set_env(Some(
        environment
            .iter()
            .map(|variable| String::from_utf8_lossy(variable).into_owned())
            .collect(),
    ));
    first.set_cwd(process::working_directory(input)?.into());
    first.set_user(provisional(&user));
    first.set_capabilities(Some(capabilities));
    first.set_no_new_privileges(Some(container.security.no_new_privileges));
    first.set_oom_score_adj(Some(oom_score_adj));
    first.set_apparmor_profile(input.apparmor.map(str::to_owned));
    first.set_selinux_label(label(&input.labels.process));
    // The limits of the daemon's own start: containerd gives none of its own either.
    first.set_rlimits(None);

    let mut root = Root::default();
    root.set_path(input.root.into());
    root.set_readonly(Some(container.security.readonly_rootfs));

    let mut specification = Spec::default();
    specification.set_version(OCI_VERSION.to_owned());
    specification.set_hostname(None);
    specification.set_root(Some(root));
    specification.set_process(Some(first));
    specification.set_mounts(Some(mounts.mounts));
    specification.set_annotations(Some(annotations(input)));
    let mut linux = linux(input, namespaces, mounts.root_propagation)?;
    linux.set_seccomp(seccomp(input, bounding));
    if let Some(user) = user_namespace {
        linux.set_uid_mappings(Some(user_namespace::in_specification(&user.uids)));
        linux.set_gid_mappings(Some(user_namespace::in_specification(&user.gids)));
    }
    specification.set_linux(Some(linux));
    Ok(Calculated {
        specification,
        environment,
        user,
        stop_signal: stop_signal(input)?,
        image_volumes: mounts.image_volumes,
        device_sources: device_sources(input),
        namespaces,
        lowered,
    })
}

fn linux(
    input: &Input<'_>,
    namespaces: ContainerNamespaces,
    root_propagation: Option<String>,
) -> Result<Linux, OciError> {
    let security = &input.container.security;
    let devices = devices(input)?;
    let mut resources = linux_resources(&input.container.resources)?;
    resources.set_devices(Some(devices.rules));
    // The lists of the request are final: the client has the defaults. A privileged container has neither.
    let (masked, readonly) = if security.privileged {
        (Vec::new(), Vec::new())
    } else {
        (
            security.masked_paths.clone(),
            security.readonly_paths.clone(),
        )
    };
    let mut linux = Linux::default();
    linux.set_resources(Some(resources));
    linux.set_cgroups_path(Some(input.cgroup.into()));
    linux.set_namespaces(Some(namespaces::in_specification(namespaces, input)));
    linux.set_devices(Some(devices.nodes));
    linux.set_masked_paths(Some(masked));
    linux.set_readonly_paths(Some(readonly));
    linux.set_rootfs_propagation(root_propagation);
    linux.set_mount_label(label(&input.labels.mount));
    Ok(linux)
}

/// A label of the specification; an empty one is none.
fn label(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// The profile of the container; none: it is unconfined. One that is not named is none, as both peers have it.
fn seccomp(input: &Input<'_>, capabilities: u64) -> Option<LinuxSeccomp> {
    let security = &input.container.security;
    match &security.seccomp {
        _ if security.privileged => None,
        None | Some(SecurityProfile::Unconfined) => None,
        Some(SecurityProfile::RuntimeDefault) => Some(seccomp::default_profile(capabilities)),
        Some(SecurityProfile::Localhost(_)) => input.seccomp.cloned(),
    }
}

fn device_sources(input: &Input<'_>) -> BTreeMap<PathBuf, String> {
    let devices = input
        .devices
        .iter()
        .filter(|device| !device.host_path.is_empty());
    let sources = devices.map(|device| {
        let path = super::paths::clean(&device.node.path);
        (path.into(), device.host_path.clone())
    });
    sources.collect()
}

/// What can be said of the user before the container's own user database is read.
fn provisional(request: &UserRequest) -> User {
    let mut user = User::default();
    user.set_uid(request.uid);
    user.set_gid(request.gid);
    if !request.additional_gids.is_empty() {
        user.set_additional_gids(Some(request.additional_gids.clone()));
    }
    if request.name != request.uid.to_string() {
        user.set_username(Some(request.name.clone()));
    }
    user
}
