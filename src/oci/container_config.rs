//! What a container is asked to be: our own copy of CRI's `ContainerConfig`, without wire types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sandbox_config::{
    IdMapping, LinuxResources, NamespaceOptions, SecurityProfile, SelinuxOptions,
    SupplementalGroupsPolicy,
};

/// The key of a container in its sandbox: CRI `ContainerMetadata`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct ContainerMetadata {
    /// Container name.
    pub name: String,
    /// How often this container was made before.
    pub attempt: u32,
}

/// CRI `ImageSpec`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageSpec {
    /// What the client calls the image: id, tag or digest.
    pub image: String,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// What the user wrote in the pod.
    pub user_specified_image: String,
    /// Runtime handler.
    pub runtime_handler: String,
    /// CRI `ImageSpec.image_ref` (1.36).
    pub image_ref: String,
}

/// An environment variable; values need not be UTF-8 (CRI 1.37: `KeyValue.value` is bytes).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EnvironmentVariable {
    /// Name.
    pub name: String,
    /// Value.
    pub value: Vec<u8>,
}

/// CRI `MountPropagation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MountPropagation {
    /// `rprivate`.
    #[default]
    Private,
    /// `rslave`; the source must be shared or a slave.
    HostToContainer,
    /// `rshared`; the source must be shared.
    Bidirectional,
}

/// CRI `Mount`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Where, in the container.
    pub container_path: String,
    /// What, of the host; empty with `image`.
    pub host_path: String,
    /// Read-only?
    pub readonly: bool,
    /// Relabel for SELinux?
    pub selinux_relabel: bool,
    /// Propagation.
    pub propagation: MountPropagation,
    /// uid mappings of an idmapped mount.
    pub uid_mappings: Vec<IdMapping>,
    /// gid mappings of an idmapped mount.
    pub gid_mappings: Vec<IdMapping>,
    /// Read-only with everything mounted below; needs `readonly` and private propagation.
    pub recursive_read_only: bool,
    /// An image volume (KEP-4639).
    pub image: Option<ImageSpec>,
    /// A directory in that image.
    pub image_sub_path: String,
    /// `noexec`, `nodev`, `nosuid` (KEP-5855).
    pub mount_options: Vec<String>,
}

/// CRI `Device`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Device {
    /// Path in the container.
    pub container_path: String,
    /// Path of the host.
    pub host_path: String,
    /// A subset of `rwm`.
    pub permissions: String,
}

/// CRI `Capability`: names with or without `CAP_`, and `ALL`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Added to the default set.
    pub add: Vec<String>,
    /// Removed from it.
    pub drop: Vec<String>,
    /// Added to the ambient set.
    pub add_ambient: Vec<String>,
}

/// Whom the first process runs as, before the image's user database is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RunAsUser {
    /// The image's `User`, else root.
    #[default]
    Image,
    /// A number.
    Uid(i64),
    /// A name of the image's /etc/passwd.
    Name(String),
}

/// CRI `LinuxContainerSecurityContext`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSecurity {
    /// Capabilities.
    pub capabilities: Capabilities,
    /// The eight points of the proto's comment on `privileged`.
    pub privileged: bool,
    /// Namespaces.
    pub namespaces: NamespaceOptions,
    /// SELinux.
    pub selinux: Option<SelinuxOptions>,
    /// User.
    pub run_as_user: RunAsUser,
    /// Group; an error without a user.
    pub run_as_group: Option<i64>,
    /// Read-only root file system?
    pub readonly_rootfs: bool,
    /// Supplemental groups.
    pub supplemental_groups: Vec<i64>,
    /// Their policy.
    pub supplemental_groups_policy: SupplementalGroupsPolicy,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// Masked paths, already the client's final list.
    pub masked_paths: Vec<String>,
    /// Read-only paths, already the client's final list.
    pub readonly_paths: Vec<String>,
    /// Seccomp; `None` means unconfined. The old string field is folded in by `cri/from_cri.rs`.
    pub seccomp: Option<SecurityProfile>,
    /// AppArmor; likewise.
    pub apparmor: Option<SecurityProfile>,
}

/// CRI `ContainerConfig`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerConfig {
    /// The key in the sandbox.
    pub metadata: ContainerMetadata,
    /// Image.
    pub image: ImageSpec,
    /// Replaces the image's entrypoint (and its command, when given).
    pub command: Vec<String>,
    /// Replaces the image's command.
    pub arguments: Vec<String>,
    /// Working directory; empty means the image's, else `/`.
    pub working_directory: String,
    /// Environment, after the image's.
    pub environment: Vec<EnvironmentVariable>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Devices.
    pub devices: Vec<Device>,
    /// CDI device names.
    pub cdi_devices: Vec<String>,
    /// Labels, byte for byte.
    pub labels: BTreeMap<String, String>,
    /// Annotations, byte for byte.
    pub annotations: BTreeMap<String, String>,
    /// Relative to the sandbox's log directory; empty means no log.
    pub log_path: String,
    /// Keep stdin open?
    pub stdin: bool,
    /// Close stdin when the first attached client leaves?
    pub stdin_once: bool,
    /// A terminal?
    pub tty: bool,
    /// Limits.
    pub resources: LinuxResources,
    /// Security context.
    pub security: ContainerSecurity,
    /// A Linux signal number, from CRI's enum; `None` means the image's, else SIGTERM.
    pub stop_signal: Option<i32>,
}
