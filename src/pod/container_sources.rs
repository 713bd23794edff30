//! What a container's request names of the host, looked up before anything is made: sources of mounts, device nodes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxSeccomp;

use super::container_devices;
use super::error::{PodError, PodErrorKind, Subject};
use super::parts::DeviceSettings;
use crate::cdi::{self, CdiError, Edits};
use crate::oci::{ContainerConfig, DeviceNode, MountPropagation, RequestedDevice, SecurityProfile};
use crate::seccomp::{self, SeccompError};
use crate::selinux::{Labels, SelinuxError, relabel};

/// A file that is longer is cut, and so no profile: real ones have some 20 KiB.
const PROFILE_BYTES_MAX: u64 = 4 << 20;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Host paths of the request's mounts by index, symbolic links resolved.
    pub mounts: BTreeMap<usize, String>,
    /// What each of these paths was when it was looked at.
    pub identities: Identities,
    /// The devices of the request; a directory stands for each node in it.
    pub devices: Vec<RequestedDevice>,
    /// All device nodes of the host, for a privileged container.
    pub host_devices: Vec<DeviceNode>,
    /// What the CDI devices of the request want done; their nodes are in `devices`.
    pub edits: Edits,
    /// The seccomp profile that the request names by its path.
    pub seccomp: Option<LinuxSeccomp>,
    /// The AppArmor profile that confines the container.
    pub apparmor: Option<String>,
    /// The SELinux labels of the container.
    pub labels: Labels,
}

/// st_dev and st_ino of files by their paths.
pub(super) type Identities = BTreeMap<String, (u64, u64)>;

/// A source that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// The source of a mount is not there and cannot be made.
    #[error("mounts[{index}].host_path {path:?}")]
    Mount {
        /// Which mount.
        index: usize,
        /// Its host path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The mount's propagation needs a shared (or slave) mount of the host.
    #[error(
        "mounts[{index}]: propagation {propagation:?} needs a {needed} mount, and {mount_point} is not"
    )]
    Propagation {
        /// Which mount.
        index: usize,
        /// What is asked for.
        propagation: MountPropagation,
        /// What it needs.
        needed: &'static str,
        /// The mount of the host that holds the source.
        mount_point: String,
    },
    /// A device cannot be looked at.
    #[error("device {path:?}")]
    Device {
        /// Its host path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A device is none.
    #[error("device {path:?} is neither a character nor a block device, nor a directory of them")]
    NotADevice {
        /// Its host path.
        path: String,
    },
    /// A CDI device cannot be given.
    #[error("CDI_devices")]
    Cdi(#[from] CdiError),
    /// A seccomp profile is not to be found.
    #[error("seccomp profile {path:?}: not an absolute path")]
    ProfilePath {
        /// As the request names it.
        path: String,
    },
    /// A seccomp profile cannot be read.
    #[error("read seccomp profile {path:?}")]
    ReadProfile {
        /// As the request names it.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A seccomp profile is none.
    #[error("seccomp profile {path:?}")]
    Profile {
        /// As the request names it.
        path: String,
        /// What is wrong with it.
        #[source]
        source: SeccompError,
    },
    /// A source cannot be given the label of the container.
    #[error("mounts[{index}].selinux_relabel")]
    Relabel {
        /// Which mount.
        index: usize,
        /// Why.
        #[source]
        source: SelinuxError,
    },
    /// The mounts of the host cannot be read.
    #[error("read /proc/self/mountinfo")]
    MountInfo(#[source] io::Error),
}

impl SourceError {
    /// As the domain tells it: the request is wrong.
    pub(super) fn told(self, subject: Subject) -> PodError {
        PodError::new(
            PodErrorKind::InvalidArgument,
            subject,
            "look up what the request names of the host",
        )
        .caused_by(self)
    }
}

/// Looks everything up. A missing source of a mount is made as a directory, as both peers do: hostPath volumes of the
/// empty type rely on it.
///
/// # Errors
/// The first source that cannot be used.
pub(super) fn look_up(
    config: &ContainerConfig,
    settings: &DeviceSettings,
    labels: Labels,
) -> Result<Sources, SourceError> {
    let mut sources = Sources {
        labels,
        edits: cdi::resolve(
            &settings.cdi_directories,
            &container_devices::cdi_names(config),
        )?,
        ..Sources::default()
    };
    for (index, mount) in config.mounts.iter().enumerate() {
        if mount.image.is_some() || !mount.host_path.starts_with('/') {
            continue;
        }
        let real = real_source(index, &mount.host_path)?;
        // Before it is checked: what is there when it is mounted must be the same.
        let identity = identity(index, &real)?;
        check_propagation(index, mount.propagation, &real)?;
        if mount.selinux_relabel && !sources.labels.mount.is_empty() {
            relabel(&real, identity, &sources.labels.mount)
                .map_err(|source| SourceError::Relabel { index, source })?;
        }
        let path = real.to_string_lossy().into_owned();
        sources.identities.insert(path.clone(), identity);
        sources.mounts.insert(index, path);
    }
    sources.devices = container_devices::requested(config, &sources.edits, settings.owner)?;
    if config.security.privileged {
        sources.host_devices = container_devices::nodes_below(Path::new("/dev"));
    } else if let Some(SecurityProfile::Localhost(path)) = &config.security.seccomp {
        sources.seccomp = Some(seccomp_profile(path)?);
    }
    Ok(sources)
}

/// The kubelet names it by its absolute path below its own folder of profiles.
fn seccomp_profile(path: &str) -> Result<LinuxSeccomp, SourceError> {
    if !path.starts_with('/') {
        let path = path.to_owned();
        return Err(SourceError::ProfilePath { path });
    }
    let mut text = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(PROFILE_BYTES_MAX).read_to_end(&mut text))
        .map_err(|source| SourceError::ReadProfile {
            path: path.to_owned(),
            source,
        })?;
    seccomp::parse(&text).map_err(|source| SourceError::Profile {
        path: path.to_owned(),
        source,
    })
}

fn real_source(index: usize, host_path: &str) -> Result<PathBuf, SourceError> {
    let failed = |source| SourceError::Mount {
        index,
        path: host_path.to_owned(),
        source,
    };
    match fs::canonicalize(host_path) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(host_path)
                .map_err(failed)?;
            fs::canonicalize(host_path).map_err(failed)
        }
        found => found.map_err(failed),
    }
}

/// A link is none of the real path: one that is there now was put there meanwhile.
fn identity(index: usize, real: &Path) -> Result<(u64, u64), SourceError> {
    let found = fs::symlink_metadata(real).map_err(|source| SourceError::Mount {
        index,
        path: real.to_string_lossy().into_owned(),
        source,
    })?;
    Ok((found.dev(), found.ino()))
}

/// CRI MountPropagation: BIDIRECTIONAL needs a shared source, HOST_TO_CONTAINER a shared one or a slave.
fn check_propagation(
    index: usize,
    propagation: MountPropagation,
    source: &Path,
) -> Result<(), SourceError> {
    if propagation == MountPropagation::Private {
        return Ok(());
    }
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(SourceError::MountInfo)?;
    let Some((mount_point, fields)) = mount_of(&table, source) else {
        return Ok(());
    };
    let shared = fields.iter().any(|field| field.starts_with("shared:"));
    let slave = fields.iter().any(|field| field.starts_with("master:"));
    let (fits, needed) = match propagation {
        MountPropagation::Private => (true, ""),
        MountPropagation::HostToContainer => (shared || slave, "shared or slave"),
        MountPropagation::Bidirectional => (shared, "shared"),
    };
    if fits {
        return Ok(());
    }
    Err(SourceError::Propagation {
        index,
        propagation,
        needed,
        mount_point: mount_point.to_owned(),
    })
}

/// The mount that holds a path, and its optional fields (proc_pid_mountinfo(5)); of several at one place the last is on top.
fn mount_of<'table>(table: &'table str, path: &Path) -> Option<(&'table str, Vec<&'table str>)> {
    let mut best: Option<(&str, Vec<&str>)> = None;
    for line in table.lines() {
        let mut fields = line.split(' ');
        let Some(mount_point) = fields.nth(4) else {
            continue;
        };
        let optional: Vec<&str> = fields.skip(1).take_while(|field| *field != "-").collect();
        let unescaped = unescape(mount_point);
        let longer = best
            .as_ref()
            .is_none_or(|(found, _)| mount_point.len() >= found.len());
        if path.starts_with(&unescaped) && longer {
            best = Some((mount_point, optional));
        }
    }
    best
}

/// mountinfo writes space, tab, newline and backslash as octal.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Mount;

    fn with_mount(host_path: &str) -> ContainerConfig {
        ContainerConfig {
            mounts: vec![Mount {
                container_path: "/data".into(),
                host_path: host_path.into(),
                ..Mount::default()
            }],
            ..ContainerConfig::default()
        }
    }

    #[test]
    fn a_symbolic_link_is_followed_and_a_missing_directory_made() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap().join("real");
        fs::create_dir(&real).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let sources = look_up(
            &with_mount(link.to_str().unwrap()),
            &DeviceSettings::default(),
            Labels::default(),
        )
        .unwrap();
        let path = real.to_str().unwrap();
        assert_eq!(sources.mounts[&0], path);
        let found = fs::metadata(&real).unwrap();
        assert_eq!(sources.identities[path], (found.dev(), found.ino()));
        let missing = folder.path().join("a/b");
        look_up(
            &with_mount(missing.to_str().unwrap()),
            &DeviceSettings::default(),
            Labels::default(),
        )
        .unwrap();
        assert!(missing.is_dir());
    }

    #[test]
    fn a_source_below_a_file_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = format!("{}/below", file.path().display());
        let error = look_up(
            &with_mount(&path),
            &DeviceSettings::default(),
            Labels::default(),
        )
        .unwrap_err();
        assert!(error.to_string().contains(&path), "{error}");
    }

    #[test]
    fn the_innermost_mount_and_its_propagation_are_found() {
        let table = "1 0 8:1 / / rw shared:1 - ext4 /dev/vda rw\n\
                     2 1 0:2 / /mnt/a\\040b rw master:3 - tmpfs none rw\n";
        let (mount_point, fields) = mount_of(table, Path::new("/mnt/a b/c")).unwrap();
        assert_eq!((mount_point, fields), ("/mnt/a\\040b", vec!["master:3"]));
        assert_eq!(mount_of(table, Path::new("/etc")).unwrap().1, ["shared:1"]);
    }
}
