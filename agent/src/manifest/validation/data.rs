//! Secrets, `ConfigMap`s and service accounts.

use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};

use super::found::Found;
use crate::manifest::error::Problem;
use crate::manifest::names;

/// The most that an object's values may hold.
const BYTES_MAX: usize = 1024 * 1024;

/// Types of Secrets with the keys that they must have, all of them. Other types are free.
const TYPES: &[(&str, &[&str])] = &[
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
];
const BASIC_AUTH: &str = "kubernetes.io/basic-auth";

pub(super) fn validate_secret(found: &mut Found, secret: &Secret) {
    let data = secret.data.as_ref();
    let mut bytes = 0;
    for (key, value) in data.into_iter().flatten() {
        check_key(found, "data", key);
        bytes += value.0.len();
    }
    if bytes > BYTES_MAX {
        found.note("data", Problem::TooLong(BYTES_MAX));
    }
    let has = |key: &str| data.is_some_and(|data| data.contains_key(key));
    let kind = secret.type_.as_deref().unwrap_or_default();
    let keys = TYPES.iter().find(|(name, _)| *name == kind);
    for key in keys.into_iter().flat_map(|(_, keys)| keys.iter()) {
        match data.and_then(|data| data.get(*key)) {
            None => found.required(format!("data[{key}]"), ""),
            // The value is a secret: it is not told.
            Some(value) if key.starts_with(".docker") => {
                if serde_json::from_slice::<serde::de::IgnoredAny>(&value.0).is_err() {
                    found.invalid(
                        format!("data[{key}]"),
                        "<secret contents redacted>",
                        "must be JSON",
                    );
                }
            }
            Some(_) => {}
        }
    }
    if kind == BASIC_AUTH && !has("username") && !has("password") {
        found.required("data[username]", "");
        found.required("data[password]", "");
    }
}

pub(super) fn validate_config_map(found: &mut Found, map: &ConfigMap) {
    let mut bytes = 0;
    for (key, value) in map.data.iter().flatten() {
        check_key(found, "data", key);
        if map
            .binary_data
            .as_ref()
            .is_some_and(|binary| binary.contains_key(key))
        {
            found.invalid(
                format!("data[{key}]"),
                key,
                "duplicate of key present in binaryData",
            );
        }
        bytes += value.len();
    }
    for (key, value) in map.binary_data.iter().flatten() {
        check_key(found, "binaryData", key);
        bytes += value.0.len();
    }
    if bytes > BYTES_MAX {
        found.note("", Problem::TooLong(BYTES_MAX));
    }
}

pub(super) fn validate_account(found: &mut Found, account: &ServiceAccount) {
    for (index, reference) in account.image_pull_secrets.iter().flatten().enumerate() {
        if reference.name.is_empty() {
            found.required(format!("imagePullSecrets[{index}].name"), "");
        }
    }
}

fn check_key(found: &mut Found, field: &str, key: &str) {
    found.check(format!("{field}[{key}]"), key, names::config_key);
}
