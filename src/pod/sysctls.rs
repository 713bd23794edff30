//! Which namespace a sysctl belongs to, and whether a pod may set it. Pure.

use crate::oci::{NamespaceMode, SandboxConfig};

/// The namespace of a sysctl.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// `net.*`.
    Network,
    /// System V ipc and POSIX message queues.
    Ipc,
    /// `kernel.domainname`.
    Uts,
}

/// The namespace of a sysctl; `None` if it is the whole machine's (namespaces(7), ipc_namespaces(7)).
pub(super) fn scope(name: &str) -> Option<Scope> {
    const IPC: [&str; 10] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.msg_next_id",
        "kernel.sem_next_id",
    ];
    let name = name.replace('/', ".");
    if name.starts_with("net.") {
        Some(Scope::Network)
    } else if IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
        Some(Scope::Ipc)
    } else if name == "kernel.domainname" {
        Some(Scope::Uts)
    } else {
        None
    }
}

/// Refuses a sysctl that would change the host.
///
/// # Errors
/// A sentence that names it.
pub(super) fn check(config: &SandboxConfig) -> Result<(), String> {
    let namespaces = &config.security.namespaces;
    for name in config.sysctls.keys() {
        let hosts = match scope(name) {
            None => {
                return Err(format!(
                    "sysctl {name:?} has no namespace: it is the host's"
                ));
            }
            Some(Scope::Network | Scope::Uts) => namespaces.network == NamespaceMode::Node,
            Some(Scope::Ipc) => namespaces.ipc == NamespaceMode::Node,
        };
        if hosts {
            return Err(format!(
                "sysctl {name:?} cannot be set: the pod uses the host's namespace of it"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str) -> SandboxConfig {
        SandboxConfig {
            sysctls: [(name.to_owned(), "1".to_owned())].into(),
            ..SandboxConfig::default()
        }
    }

    #[test]
    fn sysctls_of_the_machine_are_refused() {
        assert!(
            check(&with("vm.swappiness"))
                .unwrap_err()
                .contains("vm.swappiness")
        );
        assert!(check(&with("kernel.hostname")).is_err());
    }

    #[test]
    fn sysctls_of_the_pods_namespaces_are_taken() {
        for name in [
            "net.core.somaxconn",
            "kernel.shm_rmid_forced",
            "fs.mqueue.msg_max",
        ] {
            check(&with(name)).unwrap();
        }
    }

    #[test]
    fn a_pod_in_the_hosts_namespace_may_not_set_its_sysctls() {
        let mut config = with("net.core.somaxconn");
        config.security.namespaces.network = NamespaceMode::Node;
        assert!(check(&config).is_err());
        let mut config = with("kernel.msgmax");
        config.security.namespaces.ipc = NamespaceMode::Node;
        assert!(check(&config).is_err());
    }
}
