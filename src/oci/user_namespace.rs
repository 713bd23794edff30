//! The pod's user namespace (KEP-127): one mapping, and what it excludes.

use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder};

use super::container_config::Mount;
use super::error::OciError;
use super::input::Input;
use super::sandbox_config::{IdMapping, NamespaceMode, SandboxConfig, UserNamespaceOptions};

const NAMESPACES: &str = "linux.security_context.namespace_options";

/// Is a mount one that shows owners through the namespace? Carpel's own option, for its shim; runc and crun know it too.
pub const IDMAP: &str = "idmap";

/// Checks a sandbox with a user namespace: all other namespaces must be its own, as it has no rights in the host's.
///
/// # Errors
///
/// The namespace that is the host's.
pub fn check_user_namespace(sandbox: &SandboxConfig) -> Result<(), OciError> {
    let namespaces = &sandbox.security.namespaces;
    if namespaces.own_user().is_none() {
        return Ok(());
    }
    for (name, mode) in [
        ("network", namespaces.network),
        ("pid", namespaces.pid),
        ("ipc", namespaces.ipc),
    ] {
        if mode == NamespaceMode::Node {
            return Err(OciError::value(
                format!("{NAMESPACES}.{name}"),
                "NODE",
                "a pod with a user namespace of its own cannot be in the node's",
            ));
        }
    }
    Ok(())
}

/// The pod's namespace; a container that says anything says the same.
pub(super) fn user_namespace<'a>(
    input: &Input<'a>,
) -> Result<Option<&'a UserNamespaceOptions>, OciError> {
    let pod = input.sandbox.security.namespaces.own_user();
    let own = &input.container.security.namespaces;
    if own.user.is_some() && own.own_user() != pod {
        return Err(OciError::value(
            format!("{NAMESPACES}.userns_options"),
            "another than the sandbox's",
            "a container is in the user namespace of its pod",
        ));
    }
    Ok(pod)
}

/// Does the mount show owners through the pod's namespace?
pub(super) fn is_mapped(index: usize, mount: &Mount, input: &Input<'_>) -> Result<bool, OciError> {
    let wrong = |name: &str, reason| {
        Err(OciError::value(
            format!("mounts[{index}].{name}"),
            &mount.container_path,
            reason,
        ))
    };
    let pod = input.sandbox.security.namespaces.own_user();
    match (mount.uid_mappings.as_slice(), mount.gid_mappings.as_slice()) {
        ([], []) => Ok(false),
        ([], _) => wrong("uidMappings", "missing, and gidMappings are given"),
        (_, []) => wrong("gidMappings", "missing, and uidMappings are given"),
        (uids, gids) => match pod {
            None => wrong("uidMappings", "the pod has no user namespace"),
            Some(pod) if pod.uids != uids => wrong("uidMappings", "not those of the pod"),
            Some(pod) if pod.gids != gids => wrong("gidMappings", "not those of the pod"),
            Some(_) => Ok(true),
        },
    }
}

/// In OCI terms.
pub(super) fn in_specification(mappings: &[IdMapping]) -> Vec<LinuxIdMapping> {
    let mappings = mappings.iter().map(|mapping| {
        let built = LinuxIdMappingBuilder::default()
            .container_id(mapping.container_id)
            .host_id(mapping.host_id)
            .size(mapping.length)
            .build();
        // Every field has a default: there is nothing to be missing.
        built.unwrap_or_default()
    });
    mappings.collect()
}
