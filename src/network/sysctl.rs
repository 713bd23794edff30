//! Sysctls that belong to a network namespace: `net.…`, written from inside it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::NetworkError;

/// The file of a sysctl. Separators are dots, or slashes in the form that sysctl(8) knows for names with dots in
/// them (`net/ipv4/conf/eth0.1/forwarding`).
pub(super) fn path(name: &str) -> Result<PathBuf, NetworkError> {
    let separator = match name.find(['.', '/']) {
        Some(at) if name.as_bytes().get(at) == Some(&b'/') => '/',
        _ => '.',
    };
    let parts: Vec<&str> = name.split(separator).collect();
    let sound = parts.first() == Some(&"net")
        && parts.len() > 1
        && parts.iter().all(|part| {
            !part.is_empty() && *part != "." && *part != ".." && !part.contains(['/', '\0'])
        });
    if !sound {
        return Err(NetworkError::SysctlName {
            name: name.to_owned(),
        });
    }
    let mut path = PathBuf::from("/proc/sys");
    path.extend(parts);
    Ok(path)
}

/// Writes sysctls for the network namespace of the calling thread.
pub(super) fn apply(sysctls: &BTreeMap<String, String>) -> Result<(), NetworkError> {
    for (name, value) in sysctls {
        let path = path(name)?;
        write(&path, value).map_err(|source| NetworkError::Sysctl {
            name: name.clone(),
            value: value.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Makes an interface (or `default`: those to come) of the calling thread's namespace deaf to IPv6 router
/// advertisements. Without IPv6 there is nothing to do.
pub(super) fn ignore_router_advertisements(interface: &str) -> io::Result<()> {
    let path = Path::new("/proc/sys/net/ipv6/conf")
        .join(interface)
        .join("accept_ra");
    match write(&path, "0") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// One write with the whole value: procfs parses each write by itself.
pub(super) fn write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open(path)?
        .write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_and_slashes_separate() {
        let expected = PathBuf::from("/proc/sys/net/ipv4/ip_unprivileged_port_start");
        assert_eq!(
            path("net.ipv4.ip_unprivileged_port_start").unwrap(),
            expected
        );
        assert_eq!(
            path("net/ipv4/ip_unprivileged_port_start").unwrap(),
            expected
        );
        assert_eq!(
            path("net/ipv4/conf/eth0.1/forwarding").unwrap(),
            PathBuf::from("/proc/sys/net/ipv4/conf/eth0.1/forwarding")
        );
    }

    #[test]
    fn names_that_leave_the_network_are_refused() {
        for name in [
            "",
            "net",
            "kernel.hostname",
            "net..ipv4",
            "net/../kernel/hostname",
            "net/./x",
            "/net/ipv4",
            "net.ipv4/../../x",
            "net.ipv4.a\0b",
        ] {
            let error = path(name).unwrap_err();
            assert!(
                error.to_string().contains("is not a sysctl"),
                "{name}: {error}"
            );
        }
    }
}
