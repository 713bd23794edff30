//! Which namespaces a container joins, gets, or leaves as the host's.

use std::path::PathBuf;

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};

use super::error::OciError;
use super::input::Input;
use super::sandbox_config::NamespaceMode;

/// Where a namespace of a container comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceOrigin {
    /// The host's: nothing is joined.
    Host,
    /// The pod's, which the infra process holds.
    Pod,
    /// The container's own.
    New,
    /// That of the container `target_id`.
    Target,
}

/// Where the shared namespaces of a container come from. Mount and cgroup namespaces are always its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerNamespaces {
    /// Network: `Host` or `Pod`.
    pub network: NamespaceOrigin,
    /// IPC: `Host` or `Pod`.
    pub ipc: NamespaceOrigin,
    /// UTS: `Host` or `Pod`; a pod in the host's network is in its uts namespace.
    pub uts: NamespaceOrigin,
    /// Pid.
    pub pid: NamespaceOrigin,
}

/// Network, ipc and uts are the pod's business: a container is where its sandbox is, whatever it says itself.
pub(super) fn namespaces(input: &Input<'_>) -> Result<ContainerNamespaces, OciError> {
    let pod = &input.sandbox.security.namespaces;
    let network = pod_or_host("network", pod.network)?;
    Ok(ContainerNamespaces {
        network,
        ipc: pod_or_host("ipc", pod.ipc)?,
        uts: network,
        pid: pid(input)?,
    })
}

fn pod_or_host(namespace: &'static str, asked: NamespaceMode) -> Result<NamespaceOrigin, OciError> {
    match asked {
        NamespaceMode::Pod => Ok(NamespaceOrigin::Pod),
        NamespaceMode::Node => Ok(NamespaceOrigin::Host),
        NamespaceMode::Container | NamespaceMode::Target => Err(OciError::Namespace {
            namespace,
            asked,
            reason: "it is the pod's or the node's",
        }),
    }
}

fn pid(input: &Input<'_>) -> Result<NamespaceOrigin, OciError> {
    let pod = input.sandbox.security.namespaces.pid;
    let asked = input.container.security.namespaces.pid;
    let refuse = |reason| {
        Err(OciError::Namespace {
            namespace: "pid",
            asked,
            reason,
        })
    };
    match (asked, pod) {
        (NamespaceMode::Container, _) => Ok(NamespaceOrigin::New),
        (NamespaceMode::Target, _) if input.namespaces.target_pid.is_empty() => {
            refuse("the target container does not run")
        }
        (NamespaceMode::Target, _) => Ok(NamespaceOrigin::Target),
        (NamespaceMode::Node, NamespaceMode::Node) => Ok(NamespaceOrigin::Host),
        (NamespaceMode::Node, _) => refuse("the sandbox is not in the node's pid namespace"),
        (NamespaceMode::Pod, NamespaceMode::Pod) => Ok(NamespaceOrigin::Pod),
        // As containerd: "the pod's" is what the sandbox has.
        (NamespaceMode::Pod, NamespaceMode::Node) => Ok(NamespaceOrigin::Host),
        (NamespaceMode::Pod, _) => refuse("the sandbox was made without a shared pid namespace"),
    }
}

/// The same in OCI terms: joined ones with a path, own ones without, the host's left out.
pub(super) fn in_specification(
    namespaces: ContainerNamespaces,
    input: &Input<'_>,
) -> Vec<LinuxNamespace> {
    let paths = input.namespaces;
    let mut list = vec![
        namespace(LinuxNamespaceType::Mount, None),
        namespace(LinuxNamespaceType::Cgroup, None),
    ];
    if input.sandbox.security.namespaces.own_user().is_some() {
        list.push(namespace(LinuxNamespaceType::User, Some(&paths.user)));
    }
    for (kind, origin, path) in [
        (LinuxNamespaceType::Pid, namespaces.pid, &paths.pid),
        (LinuxNamespaceType::Ipc, namespaces.ipc, &paths.ipc),
        (LinuxNamespaceType::Uts, namespaces.uts, &paths.uts),
        (
            LinuxNamespaceType::Network,
            namespaces.network,
            &paths.network,
        ),
    ] {
        match origin {
            NamespaceOrigin::Host => {}
            NamespaceOrigin::New => list.push(namespace(kind, None)),
            NamespaceOrigin::Pod => list.push(namespace(kind, Some(path))),
            NamespaceOrigin::Target => list.push(namespace(kind, Some(&paths.target_pid))),
        }
    }
    list
}

fn namespace(kind: LinuxNamespaceType, path: Option<&String>) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind);
    namespace.set_path(path.map(PathBuf::from));
    namespace
}
