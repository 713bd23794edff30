//! The one list of what the CRI can ask and Carpel does not have yet: refused by name, never ignored.

use super::container_config::Mount;
use super::error::OciError;
use super::input::Input;
use super::sandbox_config::{
    NamespaceMode, NamespaceOptions, SandboxConfig, SecurityProfile, SelinuxOptions,
};

const CONTAINER: &str = "linux.security_context";

/// Refuses a container with user namespaces, confinement, idmapped mounts, or CDI devices.
pub(super) fn refuse(input: &Input<'_>) -> Result<(), OciError> {
    let security = &input.container.security;
    user_namespace(CONTAINER, &security.namespaces)?;
    if !security.privileged {
        profile(CONTAINER, "apparmor", security.apparmor.as_ref())?;
        selinux(CONTAINER, security.selinux.as_ref())?;
    }
    if let Some(device) = input.container.cdi_devices.first() {
        return Err(unsupported("CDI_devices", device));
    }
    for (index, mount) in input.container.mounts.iter().enumerate() {
        mount_of_later(index, mount)?;
    }
    Ok(())
}

/// Refuses a sandbox whose containers would be refused, or whose own confinement does not exist yet.
///
/// # Errors
///
/// The first field that is not supported.
pub fn refuse_sandbox(sandbox: &SandboxConfig) -> Result<(), OciError> {
    let security = &sandbox.security;
    user_namespace(CONTAINER, &security.namespaces)?;
    if security.privileged {
        return Ok(());
    }
    // Seccomp and AppArmor of a sandbox confine the infra process alone, which has no rights to take away.
    selinux(CONTAINER, security.selinux.as_ref())
}

fn unsupported(field: impl Into<String>, value: impl Into<String>) -> OciError {
    OciError::Unsupported {
        field: field.into(),
        value: value.into(),
    }
}

fn user_namespace(field: &str, namespaces: &NamespaceOptions) -> Result<(), OciError> {
    match &namespaces.user {
        Some(user) if user.mode != NamespaceMode::Node => Err(unsupported(
            format!("{field}.namespace_options.userns_options"),
            format!("a user namespace ({:?})", user.mode),
        )),
        Some(_) | None => Ok(()),
    }
}

fn profile(
    field: &str,
    name: &'static str,
    profile: Option<&SecurityProfile>,
) -> Result<(), OciError> {
    let value = match profile {
        None | Some(SecurityProfile::Unconfined) => return Ok(()),
        Some(SecurityProfile::RuntimeDefault) => "RuntimeDefault".to_owned(),
        Some(SecurityProfile::Localhost(reference)) => format!("Localhost {reference:?}"),
    };
    Err(unsupported(format!("{field}.{name}"), value))
}

fn selinux(field: &str, options: Option<&SelinuxOptions>) -> Result<(), OciError> {
    match options {
        Some(options) if *options != SelinuxOptions::default() => Err(unsupported(
            format!("{field}.selinux_options"),
            format!(
                "label {:?}",
                [
                    options.user.as_str(),
                    &options.role,
                    &options.type_,
                    &options.level
                ]
                .join(":")
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

fn mount_of_later(index: usize, mount: &Mount) -> Result<(), OciError> {
    if mount.uid_mappings.is_empty() && mount.gid_mappings.is_empty() {
        return Ok(());
    }
    Err(unsupported(
        format!("mounts[{index}].uidMappings"),
        format!("an idmapped mount at {:?}", mount.container_path),
    ))
}
