//! The SELinux labels of a sandbox and its containers, from their requests.

use super::error::{PodError, PodErrorKind, Subject};
use super::procedure::Context;
use crate::oci::{ContainerConfig, NamespaceMode, SandboxConfig, SelinuxOptions};
use crate::selinux::{Labels, Parts, Wanted};

/// Of what the containers of a sandbox share.
///
/// # Errors
/// `InvalidArgument` for options that are no parts of a label.
pub(super) fn of_sandbox(context: &Context, config: &SandboxConfig) -> Result<Labels, PodError> {
    let wanted = Wanted {
        pod: parts(config.security.selinux.as_ref()),
        ..Wanted::default()
    };
    labels(context, context.subject(), wanted)
}

/// Of a container.
///
/// # Errors
/// As [`of_sandbox`].
pub(super) fn of_container(
    context: &Context,
    subject: Subject,
    sandbox: &SandboxConfig,
    container: &ContainerConfig,
) -> Result<Labels, PodError> {
    let namespaces = &sandbox.security.namespaces;
    let modes = [namespaces.pid, namespaces.ipc];
    let wanted = Wanted {
        pod: parts(sandbox.security.selinux.as_ref()),
        container: parts(container.security.selinux.as_ref()),
        privileged: container.security.privileged,
        sees_the_node: modes.contains(&NamespaceMode::Node),
    };
    labels(context, subject, wanted)
}

fn labels(context: &Context, subject: Subject, wanted: Wanted<'_>) -> Result<Labels, PodError> {
    let found = context.parts.selinux.labels(context.id(), wanted);
    found.map_err(|error| {
        PodError::new(
            PodErrorKind::InvalidArgument,
            subject,
            "linux.security_context",
        )
        .caused_by(error)
    })
}

fn parts(options: Option<&SelinuxOptions>) -> Parts<'_> {
    options.map_or_else(Parts::default, |options| Parts {
        user: &options.user,
        role: &options.role,
        type_: &options.type_,
        level: &options.level,
    })
}
