//! A specification for another OCI runtime than Carpel's shim. Pure.
//!
//! It gets what its namesake gets, but for what Carpel does before and beside it: the container's cgroup is there with its
//! limits and its rules for devices, so that the runtime sets none, and process.user is known only when the root is mounted.

use std::path::PathBuf;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources, Root, Spec};

use super::container_config::{ContainerConfig, MountPropagation};
use super::error::OciError;
use super::sandbox_config::SandboxConfig;
use super::specification::Calculated;

/// Stands for process.user while the rest is written. Nothing of the request is made of an id that it did not know.
const USER: &str = "carpel-user-of-";

/// config.json without the value of process.user, which belongs between the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherConfiguration {
    /// Up to the user.
    pub head: String,
    /// From there on.
    pub tail: String,
}

/// Refuses what another runtime is not asked for.
///
/// # Errors
///
/// The first field that asks for it.
pub fn refuse_for_other_runtime(
    sandbox: &SandboxConfig,
    container: &ContainerConfig,
    has_recursive_read_only: bool,
) -> Result<(), OciError> {
    refuse_sandbox_for_other_runtime(sandbox)?;
    for (index, mount) in container.mounts.iter().enumerate() {
        let refused = |field: &str, value: &str| {
            Err(OciError::OtherRuntime {
                field: format!("mounts[{index}].{field}"),
                value: value.to_owned(),
            })
        };
        if let Some(image) = &mount.image {
            return refused("image", &image.image);
        }
        if mount.propagation == MountPropagation::Bidirectional {
            return refused("propagation", "PROPAGATION_BIDIRECTIONAL");
        }
        if mount.recursive_read_only && !has_recursive_read_only {
            return refused("recursive_read_only", "true");
        }
    }
    let mut variables = container.environment.iter();
    match variables.find(|variable| std::str::from_utf8(&variable.value).is_err()) {
        Some(variable) => Err(OciError::OtherRuntime {
            field: format!("envs[{:?}]", variable.name),
            value: "bytes that are not UTF-8".to_owned(),
        }),
        None => Ok(()),
    }
}

/// Refuses a pod whose containers another runtime could not make.
///
/// # Errors
///
/// The field that asks for it.
pub fn refuse_sandbox_for_other_runtime(sandbox: &SandboxConfig) -> Result<(), OciError> {
    match sandbox.security.namespaces.own_user() {
        Some(_) => Err(OciError::OtherRuntime {
            field: "linux.security_context.namespace_options.userns_options".to_owned(),
            value: "POD".to_owned(),
        }),
        None => Ok(()),
    }
}

/// The configuration of a container whose root is mounted at `root`.
///
/// # Errors
///
/// `serde_json::Error` for what is no JSON, such as a path that is not UTF-8.
pub fn other_configuration(
    calculated: &Calculated,
    container_id: &str,
    root: &str,
) -> Result<OtherConfiguration, serde_json::Error> {
    let specification = adapted(calculated.specification.clone(), root);
    let mut value = serde_json::to_value(specification)?;
    let placeholder = format!("{USER}{container_id}");
    if let Some(process) = value.get_mut("process") {
        process["user"] = placeholder.as_str().into();
    }
    let text = serde_json::to_string(&value)?;
    let placeholder = format!("\"{placeholder}\"");
    let (head, tail) = text.split_once(&placeholder).unwrap_or((&text, ""));
    Ok(OtherConfiguration {
        head: head.to_owned(),
        tail: tail.to_owned(),
    })
}

/// Limits nothing. The one rule is for runc, which allows no device without any; for crun it is as none.
fn nothing_of_its_own() -> LinuxResources {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(true);
    rule.set_access(Some("rwm".to_owned()));
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(vec![rule]));
    resources
}

fn adapted(mut specification: Spec, root: &str) -> Spec {
    let readonly = specification.root().as_ref().and_then(Root::readonly);
    let mut own_root = Root::default();
    own_root.set_path(PathBuf::from(root));
    own_root.set_readonly(readonly);
    specification.set_root(Some(own_root));
    for mount in specification.mounts_mut().iter_mut().flatten() {
        // The type by which runtimes know it, whatever the version of cgroups.
        if mount.typ().as_deref() == Some("cgroup2") {
            mount.set_typ(Some("cgroup".to_owned()));
        }
    }
    if let Some(linux) = specification.linux_mut() {
        linux.set_resources(Some(nothing_of_its_own()));
    }
    specification
}
