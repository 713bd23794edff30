//! CRI `ContainerConfig` to our `ContainerConfig`.

use super::security::{id_mappings, namespace_options, profile, selinux, supplemental_groups};
use super::{
    InvalidField, known, linux_resources, linux_signal, required, required_text, user_or_group,
    without_nul, without_parent,
};
use crate::cri::wire::runtime as wire;
use crate::oci::{
    Capabilities, ContainerConfig, ContainerMetadata, ContainerSecurity, Device,
    EnvironmentVariable, ImageSpec, Mount, MountPropagation, RunAsUser,
};

/// The configuration of CreateContainer.
pub(in crate::cri) fn container_config(
    config: Option<wire::ContainerConfig>,
) -> Result<ContainerConfig, InvalidField> {
    let config = required(config, "config")?;
    let metadata = required(config.metadata, "config.metadata")?;
    let image = required(config.image, "config.image")?;
    let image = ImageSpec {
        image: required_text(image.image, "config.image.image")?,
        annotations: image.annotations,
        user_specified_image: image.user_specified_image,
        runtime_handler: image.runtime_handler,
        image_ref: image.image_ref,
    };
    let linux = config.linux.unwrap_or_default();
    let resources = linux.resources.unwrap_or_default();
    Ok(ContainerConfig {
        metadata: ContainerMetadata {
            name: required_text(metadata.name, "config.metadata.name")?,
            attempt: metadata.attempt,
        },
        image,
        command: words(config.command, "config.command")?,
        arguments: words(config.args, "config.args")?,
        working_directory: without_nul(config.working_dir, "config.working_dir")?,
        environment: each(config.envs, "config.envs", environment_variable)?,
        mounts: each(config.mounts, "config.mounts", mount)?,
        devices: each(config.devices, "config.devices", device)?,
        cdi_devices: config
            .cdi_devices
            .into_iter()
            .map(|device| device.name)
            .collect(),
        labels: config.labels,
        annotations: config.annotations,
        log_path: log_path(config.log_path)?,
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        tty: config.tty,
        resources: linux_resources(resources, "config.linux.resources")?,
        security: security(linux.security_context.unwrap_or_default())?,
        stop_signal: linux_signal(config.stop_signal, "config.stop_signal")?,
    })
}

/// Converts every item, with the item's own path for its errors.
fn each<T, U>(
    items: Vec<T>,
    field: &str,
    convert: impl Fn(T, &str) -> Result<U, InvalidField>,
) -> Result<Vec<U>, InvalidField> {
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| convert(item, &format!("{field}[{index}]")))
        .collect()
}

fn words(words: Vec<String>, field: &str) -> Result<Vec<String>, InvalidField> {
    each(words, field, without_nul)
}

fn log_path(path: String) -> Result<String, InvalidField> {
    if path.starts_with('/') {
        return Err(InvalidField::new(
            "config.log_path",
            "is absolute, and must be relative to the sandbox's log_directory",
        ));
    }
    without_parent(path, "config.log_path")
}

fn environment_variable(
    variable: wire::KeyValue,
    at: &str,
) -> Result<EnvironmentVariable, InvalidField> {
    let name = required_text(variable.key, &format!("{at}.key"))?;
    if name.contains('=') {
        return Err(InvalidField::new(format!("{at}.key"), "contains \"=\""));
    }
    if variable.value.contains(&0) {
        // The value may be a secret: it is not repeated.
        return Err(InvalidField::new(
            format!("{at}.value"),
            "contains a NUL byte",
        ));
    }
    Ok(EnvironmentVariable {
        name,
        value: variable.value,
    })
}

/// The options that a mount can have (KEP-5855): those that take something away. Any other could give a container more
/// than the node's administrator has meant it to have.
const MOUNT_OPTIONS: [&str; 3] = ["noexec", "nodev", "nosuid"];

fn mount(mount: wire::Mount, at: &str) -> Result<Mount, InvalidField> {
    let propagation = match known(mount.propagation, &format!("{at}.propagation"))? {
        wire::MountPropagation::PropagationPrivate => MountPropagation::Private,
        wire::MountPropagation::PropagationHostToContainer => MountPropagation::HostToContainer,
        wire::MountPropagation::PropagationBidirectional => MountPropagation::Bidirectional,
    };
    let mount = Mount {
        container_path: required_text(mount.container_path, &format!("{at}.container_path"))?,
        host_path: without_nul(mount.host_path, &format!("{at}.host_path"))?,
        readonly: mount.readonly,
        selinux_relabel: mount.selinux_relabel,
        propagation,
        uid_mappings: id_mappings(mount.uid_mappings),
        gid_mappings: id_mappings(mount.gid_mappings),
        recursive_read_only: mount.recursive_read_only,
        image: mount.image.map(|image| ImageSpec {
            image: image.image,
            annotations: image.annotations,
            user_specified_image: image.user_specified_image,
            runtime_handler: image.runtime_handler,
            image_ref: image.image_ref,
        }),
        image_sub_path: without_nul(mount.image_sub_path, &format!("{at}.image_sub_path"))?,
        mount_options: mount.mount_options,
    };
    let mut options = mount.mount_options.iter();
    if let Some(option) = options.find(|option| !MOUNT_OPTIONS.contains(&option.as_str())) {
        let problem = format!("{option:?} is not one of noexec, nodev, nosuid");
        return Err(InvalidField::new(format!("{at}.mount_options"), problem));
    }
    match problem_of_mount(&mount) {
        None => Ok(mount),
        Some((name, problem)) => Err(InvalidField::new(format!("{at}.{name}"), problem)),
    }
}

/// The first field of a mount that does not fit the others (CRI api.proto, Mount), and why. What a mount of an image must
/// be besides, `oci` says: those errors have a text of their own.
fn problem_of_mount(mount: &Mount) -> Option<(&'static str, &'static str)> {
    let has_image = mount.image.is_some();
    let is_private = mount.propagation == MountPropagation::Private;
    let rules = [
        (
            !mount.container_path.starts_with('/'),
            "container_path",
            "is not absolute",
        ),
        (
            !has_image && mount.host_path.is_empty(),
            "host_path",
            "missing",
        ),
        (
            !has_image && !mount.host_path.starts_with('/'),
            "host_path",
            "is not absolute",
        ),
        (
            mount
                .image
                .as_ref()
                .is_some_and(|image| image.image.is_empty()),
            "image.image",
            "missing",
        ),
        (
            !has_image && !mount.image_sub_path.is_empty(),
            "image_sub_path",
            "is set without image",
        ),
        (
            mount.recursive_read_only && !mount.readonly,
            "recursive_read_only",
            "needs readonly",
        ),
        (
            mount.recursive_read_only && !is_private,
            "recursive_read_only",
            "needs propagation PROPAGATION_PRIVATE",
        ),
        (
            mount.uid_mappings.is_empty() != mount.gid_mappings.is_empty(),
            "uidMappings",
            "uidMappings and gidMappings are needed together",
        ),
    ];
    let (_, name, problem) = rules.into_iter().find(|(is_broken, _, _)| *is_broken)?;
    Some((name, problem))
}

fn device(device: wire::Device, at: &str) -> Result<Device, InvalidField> {
    if device
        .permissions
        .contains(|letter| !"rwm".contains(letter))
    {
        let problem = format!("{:?} is not a subset of \"rwm\"", device.permissions);
        return Err(InvalidField::new(format!("{at}.permissions"), problem));
    }
    Ok(Device {
        container_path: required_text(device.container_path, &format!("{at}.container_path"))?,
        host_path: required_text(device.host_path, &format!("{at}.host_path"))?,
        permissions: device.permissions,
    })
}

fn security(
    context: wire::LinuxContainerSecurityContext,
) -> Result<ContainerSecurity, InvalidField> {
    const AT: &str = "config.linux.security_context";
    let field = |name: &str| format!("{AT}.{name}");
    let capabilities = context.capabilities.unwrap_or_default();
    let (groups, policy) = supplemental_groups(
        context.supplemental_groups,
        context.supplemental_groups_policy,
        AT,
    )?;
    let run_as_user = run_as_user(context.run_as_user, context.run_as_username, AT)?;
    let run_as_group = context
        .run_as_group
        .map(|group| user_or_group(group.value, &field("run_as_group")))
        .transpose()?;
    if run_as_group.is_some() && run_as_user == RunAsUser::Image {
        return Err(InvalidField::new(
            field("run_as_group"),
            "is set without run_as_user or run_as_username",
        ));
    }
    Ok(ContainerSecurity {
        capabilities: Capabilities {
            add: capabilities.add_capabilities,
            drop: capabilities.drop_capabilities,
            add_ambient: capabilities.add_ambient_capabilities,
        },
        privileged: context.privileged,
        namespaces: namespace_options(context.namespace_options.unwrap_or_default(), AT)?,
        selinux: context.selinux_options.map(selinux),
        run_as_user,
        run_as_group,
        readonly_rootfs: context.readonly_rootfs,
        supplemental_groups: groups,
        supplemental_groups_policy: policy,
        no_new_privileges: context.no_new_privs,
        masked_paths: words(context.masked_paths, &field("masked_paths"))?,
        readonly_paths: words(context.readonly_paths, &field("readonly_paths"))?,
        seccomp: profile(
            context.seccomp,
            &context.seccomp_profile_path,
            [&field("seccomp"), &field("seccomp_profile_path")],
        )?,
        apparmor: profile(
            context.apparmor,
            &context.apparmor_profile,
            [&field("apparmor"), &field("apparmor_profile")],
        )?,
    })
}

/// The number wins over the name if a client sends both, as it does for containerd.
fn run_as_user(
    number: Option<wire::Int64Value>,
    name: String,
    at: &str,
) -> Result<RunAsUser, InvalidField> {
    match number {
        Some(number) => {
            user_or_group(number.value, &format!("{at}.run_as_user")).map(RunAsUser::Uid)
        }
        None if name.is_empty() => Ok(RunAsUser::Image),
        None => without_nul(name, &format!("{at}.run_as_username")).map(RunAsUser::Name),
    }
}
