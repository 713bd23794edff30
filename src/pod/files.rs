//! The files that a pod's containers share: /etc/hosts, /etc/hostname, /etc/resolv.conf and /dev/shm.
//!
//! They lie in the pod's live folder. Under a kubelet the containers' /etc/hosts is usually the kubelet's own mount.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::error::PodErrorKind;
use super::record::PodDirectories;
use crate::oci::{DnsConfig, IdMapping, NamespaceMode, SandboxConfig};
use crate::persist::{self, Durability, PersistError};
use crate::selinux::{SelinuxError, relabel};

/// A file of the pod that could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// A folder could not be made.
    #[error("create directory {path}")]
    Directory {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be given to the root of the pod's user namespace.
    #[error("give {path} to {user}:{group}")]
    Owner {
        /// The file.
        path: PathBuf,
        /// User.
        user: u32,
        /// Group.
        group: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("write the pod's files")]
    Write(#[from] PersistError),
    /// The tmpfs could not be mounted.
    #[error("mount a tmpfs of {size_bytes} bytes at {path}")]
    Mount {
        /// The mount point.
        path: PathBuf,
        /// Its size.
        size_bytes: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The tmpfs could not be unmounted.
    #[error("unmount {path}")]
    Unmount {
        /// The mount point.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the pod could not be given the label of its containers.
    #[error("label a file of the pod")]
    Label(#[from] SelinuxError),
    /// A folder could not be removed.
    #[error("remove directory {path}")]
    Remove {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl FileError {
    /// What a caller branches on.
    pub(super) fn kind(&self) -> PodErrorKind {
        if self.is_disk_full() {
            PodErrorKind::ResourceExhausted
        } else {
            PodErrorKind::Internal
        }
    }

    fn is_disk_full(&self) -> bool {
        match self {
            Self::Write(error) => error.kind() == persist::ErrorKind::DiskFull,
            Self::Label(_) => false,
            Self::Directory { source, .. }
            | Self::Owner { source, .. }
            | Self::Mount { source, .. }
            | Self::Unmount { source, .. }
            | Self::Remove { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
        }
    }
}

/// Makes a folder of root's alone, with its parents.
pub(super) fn make_directory(path: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| FileError::Directory {
            path: path.to_owned(),
            source,
        })
}

/// Removes a folder with all that is in it; a missing one is fine.
pub(super) fn remove_directory(path: &Path) -> Result<(), FileError> {
    // A record may be written while the folder is emptied: an exit that comes late.
    let mut tries = 3;
    loop {
        tries -= 1;
        match fs::remove_dir_all(path) {
            Err(late) if late.kind() == io::ErrorKind::DirectoryNotEmpty && tries > 0 => {}
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::Remove {
                    path: path.to_owned(),
                    source,
                });
            }
            _ => return Ok(()),
        }
    }
}

/// Makes the folder of the containers' logs, as containerd does.
pub(super) fn make_log_directory(path: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|source| FileError::Directory {
            path: path.to_owned(),
            source,
        })
}

/// Makes the file of a container's log with its folder, as containerd does: whoever is told that there is a container may
/// open its log, while the shim's log writer gets to it when it gets to it.
///
/// That the file cannot be made is no reason not to have the container: the writer tries again, and tells why it cannot.
pub(super) fn make_log(path: &Path) -> Result<(), FileError> {
    let Some(folder) = path.parent() else {
        return Ok(()); // It has no log.
    };
    make_log_directory(folder)?;
    let mut options = fs::OpenOptions::new();
    let made = options.append(true).create(true).mode(0o640).open(path);
    if let Err(error) = made {
        tracing::debug!(path = %path.display(), %error, "the log is not there yet");
    }
    Ok(())
}

/// Writes `hosts`, `hostname` and `resolv.conf`, with the SELinux label of the pod's files if there is one: a policy keeps
/// containers from files of the host.
pub(super) fn write_pod_files(
    directories: &PodDirectories,
    config: &SandboxConfig,
    label: &str,
) -> Result<(), FileError> {
    let hosts = fs::read("/etc/hosts").unwrap_or_else(|_missing| DEFAULT_HOSTS.into());
    let resolver = match &config.dns {
        Some(dns) if !dns_is_empty(dns) => resolver_lines(dns).into_bytes(),
        _ => node_resolver(config),
    };
    let hostname = format!("{}\n", hostname(config));
    for (name, content) in [
        ("hosts", hosts.as_slice()),
        ("hostname", hostname.as_bytes()),
        ("resolv.conf", resolver.as_slice()),
    ] {
        // A new file each: nothing is replaced, so the rename costs no flush.
        let path = directories.live.join(name);
        persist::replace(&path, content, Durability::Rename)?;
        make_readable(&path)?;
        give_to_root(config, &path)?;
        give_label(&path, label)?;
    }
    Ok(())
}

fn give_label(path: &Path, label: &str) -> Result<(), FileError> {
    if label.is_empty() {
        return Ok(());
    }
    let found = fs::symlink_metadata(path).map_err(|source| FileError::Directory {
        path: path.to_owned(),
        source,
    })?;
    relabel(path, (found.dev(), found.ino()), label)?;
    Ok(())
}

/// The pod's root as the node knows it: user and group.
pub(super) fn root_of(config: &SandboxConfig) -> (u32, u32) {
    let first = |mappings: &[IdMapping]| mappings.first().map_or(0, |mapping| mapping.host_id);
    let user = config.security.namespaces.own_user();
    user.map_or((0, 0), |user| (first(&user.uids), first(&user.gids)))
}

/// Gives a file of the pod to the root of its user namespace.
fn give_to_root(config: &SandboxConfig, path: &Path) -> Result<(), FileError> {
    let (user, group) = root_of(config);
    if (user, group) == (0, 0) {
        return Ok(());
    }
    let given = std::os::unix::fs::chown(path, Some(user), Some(group));
    given.map_err(|source| FileError::Owner {
        path: path.to_owned(),
        user,
        group,
        source,
    })
}

const DEFAULT_HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

fn make_readable(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).map_err(|source| {
        FileError::Directory {
            path: path.to_owned(),
            source,
        }
    })
}

/// The hostname that the pod sees: its own, else the host's.
pub(super) fn hostname(config: &SandboxConfig) -> String {
    let host_network = config.security.namespaces.network == NamespaceMode::Node;
    if !config.hostname.is_empty() && !host_network {
        return config.hostname.clone();
    }
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// What systemd-resolved forwards to (systemd-resolved.service(8)).
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// The node's resolver; a missing file is an empty one.
fn node_resolver(config: &SandboxConfig) -> Vec<u8> {
    let nodes = fs::read("/etc/resolv.conf").unwrap_or_default();
    if config.security.namespaces.network == NamespaceMode::Node || !asks_itself_only(&nodes) {
        return nodes;
    }
    match fs::read(RESOLVED) {
        Ok(real) if !asks_itself_only(&real) => real,
        _ => nodes,
    }
}

/// Whether a resolv.conf names servers, and all of them on the loopback interface, which is another one in a pod.
fn asks_itself_only(resolver: &[u8]) -> bool {
    let text = String::from_utf8_lossy(resolver);
    let mut servers = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with(char::is_whitespace))
        .peekable();
    servers.peek().is_some()
        && servers.all(|server| {
            // An address of IPv6 may name its interface.
            let address = server.trim().split('%').next().unwrap_or_default();
            let address = address.parse::<std::net::IpAddr>();
            address.is_ok_and(|address| address.is_loopback())
        })
}

fn dns_is_empty(dns: &DnsConfig) -> bool {
    dns.servers.is_empty() && dns.searches.is_empty() && dns.options.is_empty()
}

/// resolv.conf(5).
fn resolver_lines(dns: &DnsConfig) -> String {
    let mut lines = String::new();
    if !dns.searches.is_empty() {
        lines.push_str(&format!("search {}\n", dns.searches.join(" ")));
    }
    for server in &dns.servers {
        lines.push_str(&format!("nameserver {server}\n"));
    }
    if !dns.options.is_empty() {
        lines.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    lines
}

/// Mounts the pod's /dev/shm.
pub(super) fn mount_shm(
    directories: &PodDirectories,
    size_bytes: u64,
    (user, group): (u32, u32),
    label: &str,
) -> Result<(), FileError> {
    let path = directories.shm();
    make_directory(&path)?;
    let mut options = format!("mode=1777,size={size_bytes},uid={user},gid={group}");
    if !label.is_empty() {
        options.push_str(&format!(",context=\"{label}\""));
    }
    let options = std::ffi::CString::new(options).unwrap_or_default();
    mount(
        "shm",
        &path,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        options.as_c_str(),
    )
    .map_err(|errno| FileError::Mount {
        path,
        size_bytes,
        source: errno.into(),
    })
}

/// Unmounts the pod's /dev/shm; one that is not mounted is fine.
pub(super) fn unmount_shm(directories: &PodDirectories) -> Result<(), FileError> {
    let path = directories.shm();
    match unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // EINVAL: not a mount point (umount(2)).
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
        Err(errno) => Err(FileError::Unmount {
            path,
            source: errno.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_of_the_node_alone_is_known() {
        for (text, expected) in [
            ("nameserver 127.0.0.53\noptions edns0 trust-ad\n", true),
            ("# a comment\nnameserver ::1\nnameserver\t127.0.0.1", true),
            ("nameserver 127.0.0.53\nnameserver 192.0.2.1\n", false),
            ("nameserver fe80::1%eth0\n", false),
            ("search example.org\n", false),
            ("", false),
        ] {
            assert_eq!(asks_itself_only(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_log_is_made_with_its_folder_kept_and_not_needed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pod/container/0.log");
        make_log(&path).unwrap();
        let mut log = fs::OpenOptions::new().append(true).open(&path).unwrap();
        io::Write::write_all(&mut log, b"a line\n").unwrap();
        make_log(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"a line\n");
        // A folder in its place: the container starts all the same.
        make_log(path.parent().unwrap()).unwrap();
        make_log(Path::new("")).unwrap();
        assert!(make_log(&path.join("below/0.log")).is_err());
    }

    #[test]
    fn resolver_lines_are_those_of_resolv_conf() {
        let dns = DnsConfig {
            servers: vec!["10.96.0.10".into(), "1.1.1.1".into()],
            searches: vec!["a.svc".into(), "svc".into()],
            options: vec!["ndots:5".into()],
        };
        assert_eq!(
            resolver_lines(&dns),
            "search a.svc svc\nnameserver 10.96.0.10\nnameserver 1.1.1.1\noptions ndots:5\n"
        );
    }

    #[test]
    fn a_pod_of_its_own_network_keeps_its_hostname() {
        let mut config = SandboxConfig {
            hostname: "web-0".into(),
            ..SandboxConfig::default()
        };
        assert_eq!(hostname(&config), "web-0");
        config.hostname.clear();
        assert!(!hostname(&config).is_empty());
    }

    #[test]
    fn removing_a_missing_directory_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        remove_directory(&folder.path().join("missing")).unwrap();
    }
}
