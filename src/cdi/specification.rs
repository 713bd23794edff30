//! A specification file: what it says, and what of that is put into a container.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::error::CdiError;

/// A file. Fields of later versions are refused, as leaving them out would give a device half.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Specification {
    #[serde(rename = "cdiVersion")]
    _version: String,
    /// `vendor/class`.
    pub kind: String,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub devices: Vec<NamedDevice>,
    /// For every container that gets one of the devices.
    #[serde(default)]
    pub container_edits: FileEdits,
}

/// A device of a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NamedDevice {
    pub name: String,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub container_edits: FileEdits,
}

/// `containerEdits`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FileEdits {
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    device_nodes: Vec<CdiDeviceNode>,
    #[serde(default)]
    mounts: Vec<CdiMount>,
    #[serde(default)]
    hooks: Vec<serde_json::Value>,
    #[serde(default)]
    net_devices: Vec<serde_json::Value>,
    intel_rdt: Option<serde_json::Value>,
    #[serde(default)]
    additional_gids: Vec<u32>,
}

/// A device node; what is missing is as the node of the host has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CdiDeviceNode {
    /// Path in the container.
    pub path: String,
    /// Path on the host; `None`: the same.
    pub host_path: Option<String>,
    /// `c`, `u`, `b` or `p`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Major number.
    pub major: Option<u32>,
    /// Minor number.
    pub minor: Option<u32>,
    /// Permission bits.
    pub file_mode: Option<u32>,
    /// A subset of `rwm`.
    pub permissions: Option<String>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CdiMount {
    /// Path on the host.
    pub host_path: String,
    /// Path in the container.
    pub container_path: String,
    /// Options of mount(8).
    #[serde(default)]
    pub options: Vec<String>,
    /// File system; `None`: a bind.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// What all devices of a container want, in the order in which they were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edits {
    /// `NAME=value`.
    pub environment: Vec<String>,
    /// Device nodes.
    pub device_nodes: Vec<CdiDeviceNode>,
    /// Mounts.
    pub mounts: Vec<CdiMount>,
    /// Groups of the first process besides its own.
    pub additional_gids: Vec<u32>,
}

impl Edits {
    /// Adds what a file says.
    ///
    /// # Errors
    ///
    /// `Unsupported` for hooks, resource director classes and network devices.
    pub(super) fn add(&mut self, edits: &FileEdits, path: &Path) -> Result<(), CdiError> {
        for (edit, is_there) in [
            ("hooks", !edits.hooks.is_empty()),
            ("intelRdt classes", edits.intel_rdt.is_some()),
            ("netDevices", !edits.net_devices.is_empty()),
        ] {
            if is_there {
                let path = path.to_owned();
                return Err(CdiError::Unsupported { path, edit });
            }
        }
        self.environment.extend(edits.env.iter().cloned());
        self.device_nodes.extend(edits.device_nodes.iter().cloned());
        self.mounts.extend(edits.mounts.iter().cloned());
        // Group 0 is nobody's to be added (cdi SPEC.md, additionalGids).
        let groups = edits.additional_gids.iter().filter(|gid| **gid != 0);
        self.additional_gids.extend(groups);
        Ok(())
    }
}
