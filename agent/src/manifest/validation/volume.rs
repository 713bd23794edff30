//! Volumes: one source each, and files that stay in them.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, EmptyDirVolumeSource, KeyToPath, PodSpec, ProjectedVolumeSource, Volume,
};

use super::environment::{resource_selector, volume_field_selector};
use super::found::Found;
use crate::manifest::error::Problem;
use crate::manifest::names;
use crate::quantity::Quantity;

/// The shortest and the longest life of a token.
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;
const HOST_PATH_TYPES: &[&str] = &[
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

/// The names of the volumes, which mounts refer to.
pub(super) fn validate(found: &mut Found, spec: &PodSpec) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let path = format!("spec.volumes[{index}]");
        match volume.name.as_str() {
            "" => found.required(format!("{path}.name"), ""),
            name => {
                found.check(format!("{path}.name"), name, names::label);
                found.unique(format!("{path}.name"), &mut names, name);
            }
        }
        validate_source(found, &path, volume);
    }
    names
}

fn validate_source(found: &mut Found, path: &str, volume: &Volume) {
    let sources = [
        volume.empty_dir.is_some(),
        volume.host_path.is_some(),
        volume.secret.is_some(),
        volume.config_map.is_some(),
        volume.downward_api.is_some(),
        volume.projected.is_some(),
        volume.image.is_some(),
    ];
    if sources.iter().filter(|is_there| **is_there).count() > 1 {
        found.forbidden(path, "may not specify more than 1 volume type");
    }
    if let Some(empty) = &volume.empty_dir {
        empty_dir(found, &format!("{path}.emptyDir"), empty);
    }
    if let Some(host) = &volume.host_path {
        let path = format!("{path}.hostPath");
        match host.path.as_str() {
            "" => found.required(format!("{path}.path"), ""),
            text if !text.starts_with('/') => {
                found.invalid(format!("{path}.path"), text, "must be an absolute path");
            }
            text if text.split('/').any(|part| part == "..") => {
                found.invalid(format!("{path}.path"), text, "must not contain '..'");
            }
            _ => {}
        }
        found.one_of(
            format!("{path}.type"),
            host.type_.as_deref(),
            HOST_PATH_TYPES,
        );
    }
    if let Some(secret) = &volume.secret {
        let path = format!("{path}.secret");
        if secret.secret_name.as_deref().unwrap_or_default().is_empty() {
            found.required(format!("{path}.secretName"), "");
        }
        mode(found, format!("{path}.defaultMode"), secret.default_mode);
        items(found, &path, secret.items.as_deref(), &mut BTreeSet::new());
    }
    if let Some(map) = &volume.config_map {
        let path = format!("{path}.configMap");
        if map.name.is_empty() {
            found.required(format!("{path}.name"), "");
        }
        mode(found, format!("{path}.defaultMode"), map.default_mode);
        items(found, &path, map.items.as_deref(), &mut BTreeSet::new());
    }
    if let Some(downward) = &volume.downward_api {
        let path = format!("{path}.downwardAPI");
        mode(found, format!("{path}.defaultMode"), downward.default_mode);
        let items = downward.items.as_deref();
        downward_items(found, &path, items, &mut BTreeSet::new());
    }
    if let Some(source) = &volume.projected {
        projected(found, &format!("{path}.projected"), source);
    }
    if let Some(image) = &volume.image {
        let path = format!("{path}.image");
        if image.reference.as_deref().unwrap_or_default().is_empty() {
            found.required(format!("{path}.reference"), "");
        }
        let policies = &["Always", "IfNotPresent", "Never"];
        found.one_of(
            format!("{path}.pullPolicy"),
            image.pull_policy.as_deref(),
            policies,
        );
    }
}

fn empty_dir(found: &mut Found, path: &str, source: &EmptyDirVolumeSource) {
    match source.medium.as_deref() {
        Some(medium) if medium.starts_with("HugePages") => {
            let reason = "huge pages are not mounted; use Memory";
            found.note(format!("{path}.medium"), Problem::Unsupported { reason });
        }
        medium => found.one_of(format!("{path}.medium"), medium, &["", "Memory"]),
    }
    let Some(limit) = &source.size_limit else {
        return;
    };
    let field = format!("{path}.sizeLimit");
    match limit.0.parse::<Quantity>() {
        Err(error) => found.invalid(field, &limit.0, error.to_string()),
        Ok(limit_value) if limit_value.is_negative() => {
            found.forbidden(field, "SizeLimit field must be a valid resource quantity");
        }
        Ok(_) => {}
    }
}

fn projected(found: &mut Found, path: &str, source: &ProjectedVolumeSource) {
    mode(found, format!("{path}.defaultMode"), source.default_mode);
    let mut taken = BTreeSet::new();
    for (index, source) in source.sources.iter().flatten().enumerate() {
        let path = format!("{path}.sources[{index}]");
        let sources = [
            source.secret.is_some(),
            source.config_map.is_some(),
            source.downward_api.is_some(),
            source.service_account_token.is_some(),
        ];
        if sources.iter().filter(|is_there| **is_there).count() > 1 {
            found.forbidden(
                path.clone(),
                "may not specify more than 1 volume type per source",
            );
        }
        if let Some(secret) = &source.secret {
            let path = format!("{path}.secret");
            if secret.name.is_empty() {
                found.required(format!("{path}.name"), "");
            }
            items(found, &path, secret.items.as_deref(), &mut taken);
        }
        if let Some(map) = &source.config_map {
            let path = format!("{path}.configMap");
            if map.name.is_empty() {
                found.required(format!("{path}.name"), "");
            }
            items(found, &path, map.items.as_deref(), &mut taken);
        }
        if let Some(downward) = &source.downward_api {
            let path = format!("{path}.downwardAPI");
            downward_items(found, &path, downward.items.as_deref(), &mut taken);
        }
        if let Some(token) = &source.service_account_token {
            let path = format!("{path}.serviceAccountToken");
            let seconds = token.expiration_seconds.unwrap_or(TOKEN_SECONDS_MIN);
            if seconds < TOKEN_SECONDS_MIN {
                let detail = "may not specify a duration less than 10 minutes";
                found.invalid(format!("{path}.expirationSeconds"), seconds, detail);
            }
            if seconds > TOKEN_SECONDS_MAX {
                let detail = "may not specify a duration larger than 2^32 seconds";
                found.invalid(format!("{path}.expirationSeconds"), seconds, detail);
            }
            file_path(found, &format!("{path}.path"), &token.path, &mut taken);
        }
    }
}

fn items(found: &mut Found, path: &str, items: Option<&[KeyToPath]>, taken: &mut BTreeSet<String>) {
    for (index, item) in items.into_iter().flatten().enumerate() {
        let path = format!("{path}.items[{index}]");
        if item.key.is_empty() {
            found.required(format!("{path}.key"), "");
        }
        file_path(found, &format!("{path}.path"), &item.path, taken);
        mode(found, format!("{path}.mode"), item.mode);
    }
}

fn downward_items(
    found: &mut Found,
    path: &str,
    items: Option<&[DownwardAPIVolumeFile]>,
    taken: &mut BTreeSet<String>,
) {
    for (index, item) in items.into_iter().flatten().enumerate() {
        let path = format!("{path}.items[{index}]");
        file_path(found, &format!("{path}.path"), &item.path, taken);
        mode(found, format!("{path}.mode"), item.mode);
        match (&item.field_ref, &item.resource_field_ref) {
            (Some(_), Some(_)) => found.invalid(
                path,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            ),
            (Some(selector), None) => {
                volume_field_selector(found, &format!("{path}.fieldRef"), selector);
            }
            (None, Some(selector)) => {
                let path = format!("{path}.resourceFieldRef");
                if selector
                    .container_name
                    .as_deref()
                    .unwrap_or_default()
                    .is_empty()
                {
                    found.required(format!("{path}.containerName"), "");
                }
                resource_selector(found, &path, selector);
            }
            (None, None) => {
                found.required(path, "one of fieldRef and resourceFieldRef is required");
            }
        }
    }
}

/// A file of a volume: relative, below it, no name of the writer's own, and there once.
fn file_path(found: &mut Found, path: &str, value: &str, taken: &mut BTreeSet<String>) {
    if value.is_empty() {
        found.required(path, "");
        return;
    }
    super::found::relative_path(found, path, value);
    if value.starts_with("..") && !value.starts_with("../") && value != ".." {
        found.invalid(path, value, "must not start with '..'");
    }
    if value.split('/').all(|part| part.is_empty() || part == ".") {
        found.invalid(path, value, "must name a file");
    }
    if !taken.insert(value.to_owned()) {
        found.invalid(path, value, "conflicting duplicate paths");
    }
}

fn mode(found: &mut Found, path: String, mode: Option<i32>) {
    if let Some(mode) = mode
        && !(0..=0o777).contains(&mode)
    {
        found.invalid(
            path,
            mode,
            "must be a number between 0 and 0777 (octal), both inclusive",
        );
    }
}
