//! From a CreateContainer request to the steps that the child takes, in their order. Pure; tested by golden text.
//!
//! The order is that of the OCI runtime specification and of what the kernel needs: namespaces of the pod before the
//! file systems that show them (sysfs, mqueue), all mounts before the root changes, users after the mounts.

use crate::container::mount_options;
use crate::container::overlay;
use crate::container::overlay::OverlayOptions;
use crate::failure::Outcome;
use crate::failure::invalid;
use carpel_linux::mount::Attributes;
use carpel_linux::mount::Depth;
use carpel_linux::mount::Propagation;
use carpel_linux::namespace::Namespaces;
use carpel_shim_protocol::message::ContainerNamespace;
use carpel_shim_protocol::message::CreateContainer;
use carpel_shim_protocol::message::Device;
use carpel_shim_protocol::message::Mount;
use carpel_shim_protocol::message::Process;
use carpel_shim_protocol::message::Rlimit;
use carpel_shim_protocol::message::Root;
use carpel_shim_protocol::message::User;

/// One step of the child before it reports that it is ready.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Of the program that this process will execute: the kernel keeps it, and gives it to a child that is cloned.
    Label {
        value: String,
        kind: LabelKind,
    },
    OomScore(i32),
    JoinPod(Namespaces),
    /// Of the user namespace that was joined: an exec.
    BecomeRoot,
    OwnCgroupNamespace,
    /// Takes the source of a shared mount while the mount namespace still belongs to the host's peer groups.
    KeepShared {
        source: String,
        depth: Depth,
    },
    LeavePropagation,
    OverlayRoot {
        root: Root,
        options: Option<OverlayOptions>,
    },
    FileSystem {
        kind: String,
        source: String,
        destination: String,
        flags: u32,
        data: String,
    },
    Bind(Bind),
    Image(ImageVolume),
    Device(Device),
    DeviceLinks,
    Terminal,
    Mask(String),
    ReadOnly(String),
    ReadOnlyRoot,
    ResolveUser(User),
    ChangeRoot(Option<Propagation>),
    WorkingDirectory(String),
    /// As WorkingDirectory, but it must be there: an exec.
    ExistingDirectory(String),
    Limit(Rlimit),
}

/// A bind mount.
#[derive(Debug, PartialEq)]
pub(crate) struct Bind {
    /// None: the next one that was kept by [`Step::KeepShared`].
    pub(crate) source: Option<String>,
    pub(crate) destination: String,
    pub(crate) depth: Depth,
    pub(crate) attributes: Attributes,
    pub(crate) recursive: Attributes,
    pub(crate) propagation: Option<(Propagation, Depth)>,
    /// It shows owners through the pod's user namespace.
    pub(crate) idmapped: bool,
    /// st_dev and st_ino of the file that the source must be.
    pub(crate) identity: Option<(u64, u64)>,
}

/// A volume made of an image: its layers over one another, or what is at a path in them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ImageVolume {
    /// The image's id, for messages.
    pub(crate) image: String,
    pub(crate) layers: Root,
    pub(crate) options: Option<OverlayOptions>,
    pub(crate) sub_path: String,
    pub(crate) destination: String,
    pub(crate) attributes: Attributes,
}

/// Which security module the label is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LabelKind {
    AppArmor,
    SeLinux,
}

/// File systems whose files the container makes itself: they get its label. The kernel's own have those of the policy.
const LABELLED: [&str; 2] = ["tmpfs", "devpts"];

/// All steps of a container.
///
/// # Errors
///
/// `FAILURE_INVALID`, naming what cannot be.
pub(crate) fn plan(request: &CreateContainer) -> Outcome<Vec<Step>> {
    let process = request.process.as_ref();
    let process = process.ok_or_else(|| invalid("read the process", "it is missing"))?;
    let root = request.root.as_ref();
    let root = root.ok_or_else(|| invalid("read the root", "it is missing"))?;
    check_process(process)?;
    let mut steps = Vec::new();
    plan_process_attributes(process, &mut steps);
    plan_namespaces(request, &mut steps);
    plan_mounts(request, root, &mut steps)?;
    for path in &request.masked_paths {
        steps.push(Step::Mask(absolute(path)?));
    }
    for path in &request.readonly_paths {
        steps.push(Step::ReadOnly(absolute(path)?));
    }
    steps.push(Step::ResolveUser(process.user.clone().unwrap_or_default()));
    // Made before the root becomes read-only.
    let directory = match process.working_directory.as_str() {
        "" => "/".to_owned(),
        path => absolute(path)?,
    };
    steps.push(Step::WorkingDirectory(directory));
    if root.readonly {
        steps.push(Step::ReadOnlyRoot);
    }
    steps.push(Step::ChangeRoot(root_propagation(
        &request.root_propagation,
    )?));
    steps.extend(process.rlimits.iter().copied().map(Step::Limit));
    Ok(steps)
}

/// What every process must have, in a container or by exec.
pub(crate) fn check_process(process: &Process) -> Outcome<()> {
    match process.arguments.first() {
        Some(program) if !program.is_empty() => {}
        _ => return Err(invalid("read the process", "it has no program")),
    }
    let mut strings = process.arguments.iter().chain(&process.environment);
    if strings.any(|string| string.contains(&0)) {
        return Err(invalid(
            "read the process",
            "an argument or variable holds a NUL",
        ));
    }
    Ok(())
}

/// What is written to /proc while the host's is still in sight.
pub(crate) fn plan_process_attributes(process: &Process, steps: &mut Vec<Step>) {
    let labels = [
        (&process.apparmor_profile, LabelKind::AppArmor),
        (&process.selinux_label, LabelKind::SeLinux),
    ];
    for (value, kind) in labels {
        if !value.is_empty() {
            let value = value.clone();
            steps.push(Step::Label { value, kind });
        }
    }
    if let Some(adjustment) = process.oom_score_adj {
        steps.push(Step::OomScore(adjustment));
    }
}

fn plan_namespaces(request: &CreateContainer, steps: &mut Vec<Step>) {
    let mut joined = Namespaces::NONE;
    for (source, namespace) in [
        (request.network(), Namespaces::NETWORK),
        (request.ipc(), Namespaces::IPC),
        (request.uts(), Namespaces::UTS),
    ] {
        if source == ContainerNamespace::NamespacePod {
            joined = joined | namespace;
        }
    }
    if !joined.is_empty() {
        steps.push(Step::JoinPod(joined));
    }
    if request.private_cgroup_namespace {
        steps.push(Step::OwnCgroupNamespace);
    }
}

fn plan_mounts(request: &CreateContainer, root: &Root, steps: &mut Vec<Step>) -> Outcome<()> {
    let mut mounts = Vec::with_capacity(request.mounts.len());
    let mut own_dev = false;
    for mount in &request.mounts {
        let step = plan_mount(mount, &root.mount_label)?;
        let destination = mount.destination.trim_end_matches('/');
        if destination == "/dev" {
            own_dev = matches!(step, Step::FileSystem { .. });
        }
        mounts.push(step);
    }
    for step in &mut mounts {
        if let Step::Bind(bind) = step
            && matches!(bind.propagation, Some((Propagation::Shared, _)))
            && let Some(source) = bind.source.take()
        {
            let depth = bind.depth;
            steps.push(Step::KeepShared { source, depth });
        }
    }
    steps.push(Step::LeavePropagation);
    steps.push(plan_root(root)?);
    steps.append(&mut mounts);
    if own_dev {
        steps.extend(request.devices.iter().cloned().map(Step::Device));
        steps.push(Step::DeviceLinks);
    }
    if request
        .process
        .as_ref()
        .is_some_and(|process| process.terminal)
    {
        steps.push(Step::Terminal);
    }
    Ok(())
}

fn plan_root(root: &Root) -> Outcome<Step> {
    if root.lower.is_empty() {
        return Err(invalid("read the root", "it has no lower directory"));
    }
    if root.upper.is_empty() != root.work.is_empty() {
        return Err(invalid("read the root", "upper and work come together"));
    }
    Ok(Step::OverlayRoot {
        options: overlay::options(root),
        root: root.clone(),
    })
}

fn plan_mount(mount: &Mount, label: &str) -> Outcome<Step> {
    let destination = absolute(&mount.destination)?;
    let options = mount_options::parse(mount.options.iter().map(String::as_str));
    if mount.r#type == "image" {
        return plan_image(mount, destination, (options.attributes, label));
    }
    let is_bind = options.bind.is_some() || matches!(mount.r#type.as_str(), "bind" | "");
    if !is_bind {
        let mut data = options.data;
        if !label.is_empty() && LABELLED.contains(&mount.r#type.as_str()) {
            data.push_str(if data.is_empty() { "" } else { "," });
            data.push_str(&overlay::context(label));
        }
        return Ok(Step::FileSystem {
            kind: mount.r#type.clone(),
            source: match mount.source.as_str() {
                "" => mount.r#type.clone(),
                source => source.to_owned(),
            },
            destination,
            flags: options.flags,
            data,
        });
    }
    if !options.data.is_empty() {
        let step = format!("read the options of the mount at {destination:?}");
        return Err(invalid(
            step,
            format!("a bind has no option {:?}", options.data),
        ));
    }
    if !mount.source.starts_with('/') {
        let step = format!("read the source of the mount at {destination:?}");
        return Err(invalid(
            step,
            format!("{:?} is not an absolute path", mount.source),
        ));
    }
    Ok(Step::Bind(Bind {
        source: Some(mount.source.clone()),
        destination,
        depth: options.bind.unwrap_or(Depth::Single),
        attributes: options.attributes,
        recursive: options.recursive,
        propagation: options.propagation,
        idmapped: mount.idmapped,
        identity: (mount.source_inode != 0).then_some((mount.source_device, mount.source_inode)),
    }))
}

fn plan_image(
    mount: &Mount,
    destination: String,
    (attributes, label): (Attributes, &str),
) -> Outcome<Step> {
    if mount.lower.len() < 2 {
        let step = format!("read the layers of the image at {destination:?}");
        return Err(invalid(step, "an overlay needs two directories"));
    }
    let layers = Root {
        lower: mount.lower.clone(),
        mount_label: label.to_owned(),
        ..Root::default()
    };
    Ok(Step::Image(ImageVolume {
        image: mount.source.clone(),
        options: overlay::options(&layers),
        layers,
        sub_path: mount.sub_path.clone(),
        destination,
        attributes,
    }))
}

fn root_propagation(name: &str) -> Outcome<Option<Propagation>> {
    Ok(match name.strip_prefix('r').unwrap_or(name) {
        "" | "private" => None,
        "slave" => Some(Propagation::Slave),
        "shared" => Some(Propagation::Shared),
        _ => {
            let detail = format!("unknown propagation {name:?}");
            return Err(invalid("read the root's propagation", detail));
        }
    })
}

fn absolute(path: &str) -> Outcome<String> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(path.to_owned());
    }
    Err(invalid(
        "read a path in the container",
        format!("{path:?} is not absolute"),
    ))
}

/// Where a step mounts what it has from outside: a bind, an image, a device.
pub(crate) fn destination(step: &Step) -> Option<&str> {
    match step {
        Step::Bind(bind) => Some(&bind.destination),
        Step::Image(volume) => Some(&volume.destination),
        Step::Device(device) => Some(&device.path),
        _ => None,
    }
}

/// The step as prose, for failures.
pub(crate) fn describe(step: &Step) -> String {
    match step {
        Step::Label { value, kind } => match kind {
            LabelKind::AppArmor => format!("set AppArmor profile {value:?}"),
            LabelKind::SeLinux => format!("set SELinux label {value:?}"),
        },
        Step::OomScore(value) => format!("set oom_score_adj to {value}"),
        Step::JoinPod(namespaces) => {
            format!("join the pod's namespaces ({:#x})", namespaces.bits())
        }
        Step::BecomeRoot => "become root of the user namespace".into(),
        Step::OwnCgroupNamespace => "make a cgroup namespace".into(),
        Step::KeepShared { source, .. } => format!("take shared mount {source:?}"),
        Step::LeavePropagation => "make all mounts slaves".into(),
        Step::OverlayRoot { root, .. } => {
            format!(
                "mount the root of {} layers on {:?}",
                root.lower.len(),
                root.upper
            )
        }
        Step::FileSystem {
            kind, destination, ..
        } => format!("mount {kind} at {destination:?}"),
        Step::Bind(bind) => match &bind.source {
            Some(source) => format!("bind {source:?} at {:?}", bind.destination),
            None => format!("bind a shared mount at {:?}", bind.destination),
        },
        Step::Image(volume) => {
            let (image, destination) = (&volume.image, &volume.destination);
            match volume.sub_path.as_str() {
                "" => format!("mount image {image} at {destination:?}"),
                path => format!("mount {path:?} of image {image} at {destination:?}"),
            }
        }
        Step::Device(device) => format!("make device {:?}", device.path),
        Step::DeviceLinks => "make the links of /dev".into(),
        Step::Terminal => "make the terminal".into(),
        Step::Mask(path) => format!("mask {path:?}"),
        Step::ReadOnly(path) => format!("make {path:?} read-only"),
        Step::ReadOnlyRoot => "make the root read-only".into(),
        Step::ResolveUser(user) => format!("look up user {:?}", user.name),
        Step::ChangeRoot(_) => "change the root".into(),
        Step::WorkingDirectory(path) | Step::ExistingDirectory(path) => {
            format!("enter working directory {path:?}")
        }
        Step::Limit(limit) => format!("set limit {}", limit.resource),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
