//! What can be configured about cgroups: the table `[cgroup]`.

use std::path::PathBuf;

use serde::Deserialize;

/// How cgroups are named and made. The kubelet asks for it by RuntimeConfig and must use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// Directories, made by Carpel itself.
    #[default]
    Cgroupfs,
    /// Scopes of systemd in its slices; below them directories, as these are delegated.
    Systemd,
}

/// What happens to a limit whose controller cgroup v2 does not have on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingControllers {
    /// It is an error that names the controller and the limit.
    #[default]
    Error,
    /// It is not applied, and a warning says so: for a developer's machine.
    Warn,
}

/// Configuration of [`super::Cgroups`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CgroupConfig {
    /// Driver.
    pub driver: Driver,
    /// Limits without a controller.
    pub missing_controllers: MissingControllers,
    /// Where cgroup2 is mounted; `None`: it is looked for.
    pub mountpoint: Option<PathBuf>,
}
