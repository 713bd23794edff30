//! Variables of a container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, EnvVarSource, FileKeySelector, ObjectFieldSelector, PodSpec, ResourceFieldSelector,
};

use super::container::Place;
use super::found::Found;
use crate::environment::{RESOURCES, is_env_field, is_volume_field};
use crate::manifest::error::Problem;
use crate::manifest::names;
use crate::quantity::Quantity;

/// What a field selector may mean.
const FIELD_API_VERSION: &str = "v1";

pub(super) fn validate(found: &mut Found, place: &Place<'_>, container: &Container) {
    for (index, variable) in container.env.iter().flatten().enumerate() {
        let path = format!("{}.env[{index}]", place.path);
        match variable.name.as_str() {
            "" => found.required(format!("{path}.name"), ""),
            name => found.check(format!("{path}.name"), name, names::variable),
        }
        if let Some(source) = &variable.value_from {
            if variable
                .value
                .as_deref()
                .is_some_and(|value| !value.is_empty())
            {
                found.invalid(
                    format!("{path}.valueFrom"),
                    "",
                    "may not be specified when `value` is not empty",
                );
            }
            value_from(found, &format!("{path}.valueFrom"), source);
        }
    }
    for (index, source) in container.env_from.iter().flatten().enumerate() {
        let path = format!("{}.envFrom[{index}]", place.path);
        if let Some(prefix) = source.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            found.check(format!("{path}.prefix"), prefix, names::variable);
        }
        let names = [
            (
                "configMapRef",
                source.config_map_ref.as_ref().map(|it| &it.name),
            ),
            ("secretRef", source.secret_ref.as_ref().map(|it| &it.name)),
        ];
        one(
            found,
            &path,
            names.iter().filter(|(_, name)| name.is_some()).count(),
        );
        for (field, name) in names {
            if let Some(name) = name {
                reference(found, &format!("{path}.{field}.name"), name);
            }
        }
    }
}

fn value_from(found: &mut Found, path: &str, source: &EnvVarSource) {
    let sources = [
        source.field_ref.is_some(),
        source.resource_field_ref.is_some(),
        source.config_map_key_ref.is_some(),
        source.secret_key_ref.is_some(),
        source.file_key_ref.is_some(),
    ];
    one(
        found,
        path,
        sources.iter().filter(|is_there| **is_there).count(),
    );
    if let Some(selector) = &source.field_ref {
        field_selector(found, &format!("{path}.fieldRef"), selector, is_env_field);
    }
    if let Some(selector) = &source.resource_field_ref {
        resource_selector(found, &format!("{path}.resourceFieldRef"), selector);
    }
    if let Some(selector) = &source.file_key_ref {
        file_selector(found, &format!("{path}.fileKeyRef"), selector);
    }
    let keys = [
        (
            "configMapKeyRef",
            source
                .config_map_key_ref
                .as_ref()
                .map(|it| (&it.name, &it.key)),
        ),
        (
            "secretKeyRef",
            source.secret_key_ref.as_ref().map(|it| (&it.name, &it.key)),
        ),
    ];
    for (field, selector) in keys {
        if let Some((name, key)) = selector {
            reference(found, &format!("{path}.{field}.name"), name);
            match key.as_str() {
                "" => found.required(format!("{path}.{field}.key"), ""),
                key => found.check(format!("{path}.{field}.key"), key, names::config_key),
            }
        }
    }
}

fn file_selector(found: &mut Found, path: &str, selector: &FileKeySelector) {
    match selector.key.as_str() {
        "" => found.required(format!("{path}.key"), ""),
        key => found.check(format!("{path}.key"), key, names::variable),
    }
    match selector.volume_name.as_str() {
        "" => found.required(format!("{path}.volumeName"), ""),
        name => found.check(format!("{path}.volumeName"), name, names::label),
    }
    match selector.path.as_str() {
        "" => found.required(format!("{path}.path"), ""),
        file if file.split('/').any(|part| part == "..") => {
            found.invalid(format!("{path}.path"), file, "must not contain '..'");
        }
        _ => {}
    }
}

/// Files of variables are in emptyDirs.
pub(super) fn validate_file_volumes(found: &mut Found, spec: &PodSpec) {
    let volumes = spec.volumes.iter().flatten();
    let is_empty_dir: BTreeMap<&str, bool> = volumes
        .map(|volume| (volume.name.as_str(), volume.empty_dir.is_some()))
        .collect();
    let init_containers = spec.init_containers.as_deref().unwrap_or_default();
    for (list, containers) in [
        ("spec.initContainers", init_containers),
        ("spec.containers", &spec.containers),
    ] {
        for (at, container) in containers.iter().enumerate() {
            for (index, variable) in container.env.iter().flatten().enumerate() {
                let source = variable.value_from.as_ref();
                let Some(selector) = source.and_then(|source| source.file_key_ref.as_ref()) else {
                    continue;
                };
                let path = format!("{list}[{at}].env[{index}].valueFrom.fileKeyRef.volumeName");
                let name = selector.volume_name.as_str();
                match is_empty_dir.get(name) {
                    Some(true) => {}
                    Some(false) => {
                        found.invalid(path, name, "referenced volume must be of type emptyDir");
                    }
                    None => found.note(path, Problem::NotFound(name.to_owned())),
                }
            }
        }
    }
}

/// Exactly one of the sources of a value.
fn one(found: &mut Found, path: &str, count: usize) {
    match count {
        0 => found.required(path, "must specify one of the sources"),
        1 => {}
        _ => found.invalid(
            path,
            "",
            "may not have more than one field specified at a time",
        ),
    }
}

fn reference(found: &mut Found, path: &str, name: &str) {
    match name {
        "" => found.required(path, ""),
        _ => found.check(path, name, names::subdomain),
    }
}

/// A field of the pod; `is_known` says which.
fn field_selector(
    found: &mut Found,
    path: &str,
    selector: &ObjectFieldSelector,
    is_known: fn(&str) -> bool,
) {
    if selector.api_version.as_deref() != Some(FIELD_API_VERSION) {
        found.one_of(
            format!("{path}.apiVersion"),
            selector.api_version.as_deref(),
            &["v1"],
        );
    }
    let field = selector.field_path.as_str();
    let path = format!("{path}.fieldPath");
    match field {
        "" => found.required(path, ""),
        _ if !is_known(field) => found.invalid(
            path,
            field,
            "error converting fieldPath: field label not supported",
        ),
        _ => {}
    }
}

/// A field of the pod in a file.
pub(super) fn volume_field_selector(found: &mut Found, path: &str, selector: &ObjectFieldSelector) {
    field_selector(found, path, selector, is_volume_field);
}

/// A limit or request of a container.
pub(super) fn resource_selector(found: &mut Found, path: &str, selector: &ResourceFieldSelector) {
    let field = format!("{path}.resource");
    match selector.resource.as_str() {
        "" => found.required(field, ""),
        name if !RESOURCES.contains(&name) => {
            let value = name.to_owned();
            let supported = &RESOURCES;
            found.note(field, Problem::NotSupported { value, supported });
        }
        _ => {}
    }
    let Some(divisor) = &selector.divisor else {
        return;
    };
    // What the API server takes: one of some units, for each kind.
    let units: &[&str] = match selector.resource.ends_with(".cpu") {
        true => &["1", "1m"],
        false => &[
            "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
        ],
    };
    let quantity = divisor.0.parse::<Quantity>();
    let is_unit = |quantity: Quantity| {
        quantity.is_zero() || units.iter().any(|unit| unit.parse() == Ok(quantity))
    };
    match quantity {
        Ok(quantity) if is_unit(quantity) => {}
        _ => found.invalid(
            format!("{path}.divisor"),
            &divisor.0,
            format!("only divisor's values {} are supported", units.join(", ")),
        ),
    }
}
