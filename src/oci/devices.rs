//! The device nodes of a container, and which devices it may use.

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use super::error::OciError;
use super::input::{DeviceNode, DeviceType, Input};
use super::paths;

/// Nodes and rules of a container.
#[derive(Debug)]
pub(super) struct Devices {
    pub(super) nodes: Vec<LinuxDevice>,
    pub(super) rules: Vec<LinuxDeviceCgroup>,
}

/// Path, major and minor of what every container has (OCI config-linux.md, Default Devices). /dev/ptmx is a link and
/// /dev/console a terminal: the shim makes both.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// What every container may use besides, by type, major, minor and access: the list of runc 1.2. Making a node is allowed
/// to whoever has CAP_MKNOD, as the node cannot be opened then. Not in it: 5:1, which is the host's console (a container's own is
/// a pseudo terminal), and 10:200, /dev/net/tun, which has to be asked for.
const DEFAULT_RULES: [(LinuxDeviceType, Option<i64>, Option<i64>, &str); 10] = [
    (LinuxDeviceType::C, None, None, "m"),
    (LinuxDeviceType::B, None, None, "m"),
    (LinuxDeviceType::C, Some(1), Some(3), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(5), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(7), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(8), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(9), "rwm"),
    (LinuxDeviceType::C, Some(5), Some(0), "rwm"),
    // /dev/ptmx and /dev/pts/*.
    (LinuxDeviceType::C, Some(5), Some(2), "rwm"),
    (LinuxDeviceType::C, Some(136), None, "rwm"),
];

/// The default devices, those of the request, and for a privileged container all of the host's.
pub(super) fn devices(input: &Input<'_>) -> Result<Devices, OciError> {
    let privileged = input.container.security.privileged;
    let mut nodes: Vec<DeviceNode> = DEFAULT
        .iter()
        .map(|(path, major, minor)| DeviceNode {
            path: (*path).to_owned(),
            device_type: DeviceType::Character,
            major: *major,
            minor: *minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    if privileged {
        for node in &input.host.devices {
            put(&mut nodes, node.clone());
        }
    }
    let mut rules = vec![rule(privileged, None, "rwm")];
    if !privileged {
        rules.extend(DEFAULT_RULES.iter().map(default_rule));
    }
    for device in input.devices {
        let permissions = &device.permissions;
        if permissions.is_empty() || permissions.contains(|c| !"rwm".contains(c)) {
            return Err(OciError::value(
                "devices.permissions",
                permissions,
                "not a subset of rwm",
            ));
        }
        if device.node.path.is_empty() || paths::clean(&device.node.path) == "/" {
            return Err(OciError::value(
                "devices.container_path",
                &device.node.path,
                "not a path of a file",
            ));
        }
        rules.push(rule(true, Some(&device.node), permissions));
        put(&mut nodes, device.node.clone());
    }
    // A /dev of the request's own is taken as it is: nothing is made in what may be the host's directory.
    if input
        .container
        .mounts
        .iter()
        .any(|mount| paths::clean(&mount.container_path) == "/dev")
    {
        nodes.clear();
    }
    Ok(Devices {
        nodes: nodes.iter().map(node_in_specification).collect(),
        rules,
    })
}

fn put(nodes: &mut Vec<DeviceNode>, node: DeviceNode) {
    let node = DeviceNode {
        path: paths::clean(&node.path),
        ..node
    };
    match nodes.iter_mut().find(|old| old.path == node.path) {
        Some(old) => *old = node,
        None => nodes.push(node),
    }
}

fn type_of(node: &DeviceNode) -> LinuxDeviceType {
    match node.device_type {
        DeviceType::Character => LinuxDeviceType::C,
        DeviceType::Block => LinuxDeviceType::B,
    }
}

fn node_in_specification(node: &DeviceNode) -> LinuxDevice {
    let mut device = LinuxDevice::default();
    device.set_path(node.path.clone().into());
    device.set_typ(type_of(node));
    device.set_major(node.major.into());
    device.set_minor(node.minor.into());
    device.set_file_mode(Some(node.mode & 0o7777));
    device.set_uid(Some(node.uid));
    device.set_gid(Some(node.gid));
    device
}

fn default_rule(
    (device_type, major, minor, access): &(LinuxDeviceType, Option<i64>, Option<i64>, &str),
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(true);
    rule.set_typ(Some(*device_type));
    rule.set_major(*major);
    rule.set_minor(*minor);
    rule.set_access(Some((*access).to_owned()));
    rule
}

/// A rule for one device, or for all.
fn rule(allow: bool, node: Option<&DeviceNode>, access: &str) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow);
    rule.set_typ(node.map(type_of));
    rule.set_major(node.map(|node| node.major.into()));
    rule.set_minor(node.map(|node| node.minor.into()));
    rule.set_access(Some(access.to_owned()));
    rule
}
