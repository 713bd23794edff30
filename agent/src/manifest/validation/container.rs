//! One container.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Container, Lifecycle, PodSpec, ResourceRequirements, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::found::{Found, relative_path};
use super::{context, environment, probe, restart};
use crate::manifest::error::Problem;
use crate::manifest::names;
use crate::quantity::Quantity;

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It runs as long as the pod does.
    Main,
    /// It runs before the others.
    Init,
}

/// Where a container is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) path: &'a str,
    pub(super) role: Role,
    pub(super) spec: &'a PodSpec,
    pub(super) volumes: &'a BTreeSet<String>,
}

const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const PROPAGATIONS: &[&str] = &["Bidirectional", "HostToContainer", "None"];
const RECURSIVE: &[&str] = &["Disabled", "Enabled", "IfPossible"];
const ONLY_RESTARTABLE: &str = "may not be set for init containers without restartPolicy=Always";
/// What the agent hands on to the runtime and the kernel enforces.
const RESOURCES: &[&str] = &["cpu", "memory"];

pub(super) fn validate(found: &mut Found, place: &Place<'_>, container: &Container) {
    let path = place.path;
    match container.name.as_str() {
        "" => found.required(format!("{path}.name"), ""),
        name => found.check(format!("{path}.name"), name, names::label),
    }
    let image = container.image.as_deref().unwrap_or_default();
    match image {
        "" => found.required(format!("{path}.image"), ""),
        _ if image.trim() != image => found.invalid(
            format!("{path}.image"),
            image,
            "must not have leading or trailing whitespace",
        ),
        _ => {}
    }
    found.one_of(
        format!("{path}.imagePullPolicy"),
        container.image_pull_policy.as_deref(),
        PULL_POLICIES,
    );
    found.one_of(
        format!("{path}.terminationMessagePolicy"),
        container.termination_message_policy.as_deref(),
        &["FallbackToLogsOnError", "File"],
    );
    restart::validate(found, path, container);
    ports(found, path, container);
    environment::validate(found, place, container);
    mounts(found, place, container);
    if let Some(resources) = &container.resources {
        self::resources(found, &format!("{path}.resources"), resources);
    }
    lifecycle(found, place, container);
    probe::validate(found, place, container);
    if let Some(context) = &container.security_context {
        context::validate_container(found, path, place.spec, context);
    }
}

/// Whether this is an init container that goes before the others start.
pub(super) fn is_passing(place: &Place<'_>, container: &Container) -> bool {
    place.role == Role::Init && container.restart_policy.as_deref() != Some("Always")
}

fn ports(found: &mut Found, path: &str, container: &Container) {
    let mut seen = BTreeSet::new();
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let path = format!("{path}.ports[{index}]");
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            found.check(format!("{path}.name"), name, names::port_name);
            found.unique(format!("{path}.name"), &mut seen, name);
        }
        match port.container_port {
            0 => found.required(format!("{path}.containerPort"), ""),
            number => found.between(
                format!("{path}.containerPort"),
                Some(i64::from(number)),
                1,
                65535,
            ),
        }
        let host_port = port.host_port.filter(|number| *number != 0);
        found.between(
            format!("{path}.hostPort"),
            host_port.map(i64::from),
            1,
            65535,
        );
        found.one_of(
            format!("{path}.protocol"),
            port.protocol.as_deref(),
            PROTOCOLS,
        );
        let host_ip = port.host_ip.as_deref().filter(|text| !text.is_empty());
        if let Some(text) = host_ip
            && text.parse::<std::net::IpAddr>().is_err()
        {
            found.invalid(format!("{path}.hostIP"), text, "must be a valid IP address");
        }
    }
}

fn mounts(found: &mut Found, place: &Place<'_>, container: &Container) {
    let mut seen = BTreeSet::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = format!("{}.volumeMounts[{index}]", place.path);
        match mount.name.as_str() {
            "" => found.required(format!("{path}.name"), ""),
            name if !place.volumes.contains(name) => {
                found.note(format!("{path}.name"), Problem::NotFound(name.to_owned()));
            }
            _ => {}
        }
        let field = format!("{path}.mountPath");
        match mount.mount_path.as_str() {
            "" => found.required(field, ""),
            path if path.contains(':') => found.invalid(field, path, "must not contain ':'"),
            path if !seen.insert(path) => found.invalid(field, path, "must be unique"),
            _ => {}
        }
        sub_paths(found, &path, mount);
        let is_privileged = container
            .security_context
            .as_ref()
            .is_some_and(|context| context.privileged == Some(true));
        propagation(found, &path, mount, is_privileged);
    }
}

fn sub_paths(found: &mut Found, path: &str, mount: &VolumeMount) {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (sub_path, expression) = (text(&mount.sub_path), text(&mount.sub_path_expr));
    relative_path(found, &format!("{path}.subPath"), &sub_path);
    relative_path(found, &format!("{path}.subPathExpr"), &expression);
    if !sub_path.is_empty() && !expression.is_empty() {
        found.invalid(
            format!("{path}.subPathExpr"),
            expression,
            "subPathExpr and subPath are mutually exclusive",
        );
    }
}

fn propagation(found: &mut Found, path: &str, mount: &VolumeMount, is_privileged: bool) {
    let field = format!("{path}.mountPropagation");
    let propagation = mount.mount_propagation.as_deref();
    found.one_of(field.clone(), propagation, PROPAGATIONS);
    if propagation == Some("Bidirectional") && !is_privileged {
        found.forbidden(
            field,
            "Bidirectional mount propagation is available only to privileged containers",
        );
    }
    let field = format!("{path}.recursiveReadOnly");
    let recursive = mount.recursive_read_only.as_deref();
    found.one_of(field.clone(), recursive, RECURSIVE);
    if matches!(recursive, Some("Enabled" | "IfPossible")) {
        if mount.read_only != Some(true) {
            found.forbidden(field.clone(), "may only be specified when readOnly is true");
        }
        if propagation.is_some_and(|propagation| propagation != "None") {
            found.forbidden(
                field,
                "may only be specified when mountPropagation is None or not specified",
            );
        }
    }
}

fn resources(found: &mut Found, path: &str, resources: &ResourceRequirements) {
    let limits = resources.limits.as_ref();
    let of = |list: Option<&BTreeMap<String, Text>>, name: &str| {
        let text = list.and_then(|list| list.get(name));
        text.and_then(|text| text.0.parse::<Quantity>().ok())
    };
    for (kind, list) in [
        ("limits", limits),
        ("requests", resources.requests.as_ref()),
    ] {
        for (name, Text(text)) in list.into_iter().flatten() {
            let field = format!("{path}.{kind}.{name}");
            if !RESOURCES.contains(&name.as_str()) {
                // A request that was filled in from a limit is told once, there.
                if kind == "limits" || limits.is_none_or(|limits| !limits.contains_key(name)) {
                    let reason = "only cpu and memory are limited";
                    found.note(field, Problem::Unsupported { reason });
                }
                continue;
            }
            match text.parse::<Quantity>() {
                Err(error) => found.invalid(field, text, error.to_string()),
                Ok(quantity) if quantity.is_negative() => {
                    found.invalid(field, text, "must be greater than or equal to 0");
                }
                Ok(quantity) => {
                    if kind == "requests" && of(limits, name).is_some_and(|limit| quantity > limit)
                    {
                        let limit = limits.and_then(|limits| limits.get(name));
                        let limit = limit.map(|limit| limit.0.as_str()).unwrap_or_default();
                        let detail =
                            format!("must be less than or equal to {name} limit of {limit}");
                        found.invalid(format!("{path}.requests"), text, detail);
                    }
                }
            }
        }
    }
}

fn lifecycle(found: &mut Found, place: &Place<'_>, container: &Container) {
    let Some(Lifecycle {
        post_start,
        pre_stop,
        stop_signal,
    }) = &container.lifecycle
    else {
        return;
    };
    let path = format!("{}.lifecycle", place.path);
    if is_passing(place, container) {
        found.forbidden(path, ONLY_RESTARTABLE);
        return;
    }
    let grace = place.spec.termination_grace_period_seconds;
    for (name, handler) in [("postStart", post_start), ("preStop", pre_stop)] {
        if let Some(handler) = handler {
            probe::handler(found, &format!("{path}.{name}"), container, handler, grace);
        }
    }
    if stop_signal.is_some() && place.spec.os.is_none() {
        found.forbidden(
            format!("{path}.stopSignal"),
            "may not be set for containers with empty `spec.os.name`",
        );
    }
}
