//! The one list of what the CRI can ask and Carpel does not have yet: refused by name, never ignored.

use super::error::OciError;
use super::input::Input;
use super::sandbox_config::{SandboxConfig, SecurityProfile, SelinuxOptions};

const CONTAINER: &str = "linux.security_context";

/// Refuses a container with confinement.
pub(super) fn refuse(input: &Input<'_>) -> Result<(), OciError> {
    let security = &input.container.security;
    if !security.privileged {
        profile(CONTAINER, "apparmor", security.apparmor.as_ref())?;
        selinux(CONTAINER, security.selinux.as_ref())?;
    }
    Ok(())
}

/// Refuses a sandbox whose containers would be refused.
///
/// # Errors
///
/// The first field that is not supported.
pub fn refuse_sandbox(sandbox: &SandboxConfig) -> Result<(), OciError> {
    let security = &sandbox.security;
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
