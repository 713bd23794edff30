//! The device nodes that a container's request names: of its own field, and of CDI.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::container_sources::SourceError;
use super::parts::DeviceOwner;
use crate::cdi::{self, CdiDeviceNode, Edits};
use crate::oci::{ContainerConfig, Device, DeviceNode, DeviceType, RequestedDevice, RunAsUser};

/// The devices of the request, then those of its CDI devices; a directory stands for each node in it.
///
/// # Errors
/// The first device that cannot be used.
pub(super) fn requested(
    config: &ContainerConfig,
    edits: &Edits,
    owner: DeviceOwner,
) -> Result<Vec<RequestedDevice>, SourceError> {
    let mut devices = Vec::new();
    for device in &config.devices {
        add_device(&mut devices, device)?;
    }
    for node in &edits.device_nodes {
        devices.push(cdi_device(node, config)?);
    }
    if owner == DeviceOwner::RunAs {
        give_devices(&mut devices, config);
    }
    Ok(devices)
}

/// The names of the field, and those of annotations, each once.
pub(super) fn cdi_names(config: &ContainerConfig) -> Vec<String> {
    let mut names = config.cdi_devices.clone();
    for name in cdi::annotated_devices(&config.annotations) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A node of a CDI device: what its specification does not say is as on the host. Its owner is the container's user then,
/// unless that is root (cdi SPEC.md, deviceNodes).
fn cdi_device(
    node: &CdiDeviceNode,
    config: &ContainerConfig,
) -> Result<RequestedDevice, SourceError> {
    let path = node.host_path.as_ref().unwrap_or(&node.path);
    let found = match fs::metadata(path) {
        Ok(metadata) => node_of(&metadata, node.path.clone()),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            let path = path.clone();
            return Err(SourceError::Device { path, source });
        }
    };
    let given = match (node.kind.as_deref(), node.major, node.minor) {
        (Some("b"), Some(major), Some(minor)) => Some((DeviceType::Block, major, minor)),
        (Some("c" | "u"), Some(major), Some(minor)) => Some((DeviceType::Character, major, minor)),
        _ => None,
    };
    let (user, group) = (run_as(config).0, run_as(config).1);
    let mut device = match (found, given) {
        (Some(found), None) => found,
        (found, Some((device_type, major, minor))) => DeviceNode {
            path: node.path.clone(),
            device_type,
            major,
            minor,
            mode: found.map_or(0o660, |found| found.mode),
            uid: 0,
            gid: 0,
        },
        (None, None) => {
            let path = path.clone();
            return Err(SourceError::NotADevice { path });
        }
    };
    device.mode = node.file_mode.unwrap_or(device.mode) & 0o7777;
    device.uid = node
        .uid
        .or(user.filter(|user| *user > 0))
        .unwrap_or(device.uid);
    device.gid = node
        .gid
        .or(group.filter(|group| *group > 0))
        .unwrap_or(device.gid);
    Ok(RequestedDevice {
        node: device,
        permissions: node.permissions.clone().unwrap_or_else(|| "rwm".to_owned()),
        host_path: path.clone(),
    })
}

/// The user and the group that the request names by number.
fn run_as(config: &ContainerConfig) -> (Option<u32>, Option<u32>) {
    let security = &config.security;
    let user = match security.run_as_user {
        RunAsUser::Uid(uid) => u32::try_from(uid).ok(),
        RunAsUser::Name(_) | RunAsUser::Image => None,
    };
    let group = security
        .run_as_group
        .and_then(|gid| u32::try_from(gid).ok());
    (user, group)
}

fn give_devices(devices: &mut [RequestedDevice], config: &ContainerConfig) {
    let (user, group) = run_as(config);
    for device in devices {
        device.node.uid = user.unwrap_or(device.node.uid);
        device.node.gid = group.unwrap_or(device.node.gid);
    }
}

/// Adds a device of the request, or all nodes below a directory.
fn add_device(devices: &mut Vec<RequestedDevice>, device: &Device) -> Result<(), SourceError> {
    let failed = |source| SourceError::Device {
        path: device.host_path.clone(),
        source,
    };
    let metadata = fs::metadata(&device.host_path).map_err(failed)?;
    if let Some(node) = node_of(&metadata, device.container_path.clone()) {
        devices.push(RequestedDevice {
            node,
            permissions: device.permissions.clone(),
            host_path: device.host_path.clone(),
        });
        return Ok(());
    }
    if !metadata.is_dir() {
        return Err(SourceError::NotADevice {
            path: device.host_path.clone(),
        });
    }
    for mut node in nodes_below(Path::new(&device.host_path)) {
        let host_path = node.path.clone();
        if let Some(below) = node
            .path
            .strip_prefix(device.host_path.trim_end_matches('/'))
        {
            node.path = format!("{}{below}", device.container_path.trim_end_matches('/'));
        }
        devices.push(RequestedDevice {
            node,
            permissions: device.permissions.clone(),
            host_path,
        });
    }
    Ok(())
}

fn node_of(metadata: &fs::Metadata, path: String) -> Option<DeviceNode> {
    let kind = metadata.file_type();
    let device_type = if kind.is_char_device() {
        DeviceType::Character
    } else if kind.is_block_device() {
        DeviceType::Block
    } else {
        return None;
    };
    let number = metadata.rdev();
    Some(DeviceNode {
        path,
        device_type,
        major: rustix::fs::major(number),
        minor: rustix::fs::minor(number),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

/// The nodes below a directory, without what every container has as its own. What vanishes meanwhile is left out.
pub(super) fn nodes_below(directory: &Path) -> Vec<DeviceNode> {
    let mut nodes = Vec::new();
    add_nodes(directory, &mut nodes);
    nodes
}

fn add_nodes(directory: &Path, nodes: &mut Vec<DeviceNode>) {
    const OWN: [&str; 5] = [
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/dev/fd",
        "/dev/console",
    ];
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if OWN.iter().any(|own| path == Path::new(own)) {
            continue;
        }
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            add_nodes(&path, nodes);
        } else if let Some(node) = node_of(&metadata, path.to_string_lossy().into_owned()) {
            nodes.push(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_found_with_its_numbers() {
        let config = ContainerConfig {
            devices: vec![Device {
                container_path: "/dev/nothing".into(),
                host_path: "/dev/null".into(),
                permissions: "rw".into(),
            }],
            ..ContainerConfig::default()
        };
        let devices = requested(&config, &Edits::default(), DeviceOwner::AsOnTheHost).unwrap();
        let node = &devices[0].node;
        assert_eq!(
            (node.path.as_str(), node.major, node.minor),
            ("/dev/nothing", 1, 3)
        );
    }

    #[test]
    fn a_node_of_cdi_is_the_hosts_but_for_what_its_specification_says() {
        let mut config = ContainerConfig::default();
        let plain = CdiDeviceNode {
            path: "/dev/gpu".into(),
            host_path: Some("/dev/null".into()),
            ..CdiDeviceNode::default()
        };
        let device = cdi_device(&plain, &config).unwrap();
        assert_eq!(
            (
                device.node.path.as_str(),
                device.node.major,
                device.node.minor
            ),
            ("/dev/gpu", 1, 3)
        );
        assert_eq!(
            (device.permissions.as_str(), device.host_path.as_str()),
            ("rwm", "/dev/null")
        );
        config.security.run_as_user = RunAsUser::Uid(1000);
        config.security.run_as_group = Some(44);
        let device = cdi_device(&plain, &config).unwrap();
        assert_eq!((device.node.uid, device.node.gid), (1000, 44));
        let told = CdiDeviceNode {
            kind: Some("c".into()),
            major: Some(10),
            minor: Some(200),
            file_mode: Some(0o640),
            permissions: Some("r".into()),
            uid: Some(7),
            gid: Some(8),
            ..plain
        };
        let node = cdi_device(&told, &config).unwrap().node;
        assert_eq!(
            (node.major, node.minor, node.mode, node.uid, node.gid),
            (10, 200, 0o640, 7, 8)
        );
        let missing = CdiDeviceNode {
            path: "/dev/no-such-node".into(),
            ..CdiDeviceNode::default()
        };
        let error = cdi_device(&missing, &config).unwrap_err();
        assert!(error.to_string().contains("/dev/no-such-node"), "{error}");
    }

    #[test]
    fn devices_belong_to_the_containers_user_if_that_is_configured() {
        let mut config = ContainerConfig {
            devices: vec![Device {
                container_path: "/dev/nothing".into(),
                host_path: "/dev/null".into(),
                permissions: "rw".into(),
            }],
            ..ContainerConfig::default()
        };
        config.security.run_as_user = RunAsUser::Uid(1000);
        let owner = |owner| {
            let devices = requested(&config, &Edits::default(), owner).unwrap();
            let node = &devices[0].node;
            (node.uid, node.gid)
        };
        assert_eq!(
            (owner(DeviceOwner::AsOnTheHost), owner(DeviceOwner::RunAs)),
            ((0, 0), (1000, 0))
        );
    }
}
