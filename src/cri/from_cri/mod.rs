//! Requests to the domain's values: the only place where a field of a request is checked for what it is by itself.
//!
//! Whether the request fits the state of a pod is decided in `pod/`, not here. An error names the field as the
//! client wrote it, for example `config.mounts[2].host_path`.

mod container;
mod filter;
mod resources;
mod sandbox;
mod security;
mod signal;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::{Component, Path};

pub(super) use container::container_config;
pub(super) use filter::{
    container_filter, container_stats_filter, sandbox_filter, sandbox_stats_filter,
};
pub(super) use resources::linux_resources;
pub(super) use sandbox::sandbox_config;
pub(super) use signal::{linux_signal, wire_signal};

/// A field of a request that cannot be right, whatever the state; becomes INVALID_ARGUMENT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub(super) struct InvalidField {
    /// The path of the field in the request.
    pub(super) field: String,
    /// What is wrong with its value.
    pub(super) problem: Cow<'static, str>,
}

impl InvalidField {
    pub(super) fn new(field: impl Into<String>, problem: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

/// The value of a field that must be there.
pub(super) fn required<T>(value: Option<T>, field: &str) -> Result<T, InvalidField> {
    value.ok_or_else(|| InvalidField::new(field, "missing"))
}

/// The same for a text, which proto3 leaves empty if it is missing.
pub(super) fn required_text(value: String, field: &str) -> Result<String, InvalidField> {
    if value.is_empty() {
        return Err(InvalidField::new(field, "missing"));
    }
    without_nul(value, field)
}

/// A text that the kernel takes as a C string.
fn without_nul(value: String, field: &str) -> Result<String, InvalidField> {
    if value.contains('\0') {
        return Err(InvalidField::new(field, "contains a NUL byte"));
    }
    Ok(value)
}

/// The value of an enumeration that `T` knows.
fn known<T: TryFrom<i32>>(value: i32, field: &str) -> Result<T, InvalidField> {
    value.try_into().map_err(|_unknown| {
        InvalidField::new(field, format!("{value} is not a value of this enumeration"))
    })
}

/// A number that the kernel takes as a uid or gid: 0 to 4294967294 (the last one means "none" to it).
fn user_or_group(value: i64, field: &str) -> Result<i64, InvalidField> {
    if (0..i64::from(u32::MAX)).contains(&value) {
        Ok(value)
    } else {
        Err(InvalidField::new(
            field,
            format!("{value} is not a user or group id"),
        ))
    }
}

/// Refuses paths with a `..` in them: joined to a folder of ours they would lead out of it.
fn without_parent(value: String, field: &str) -> Result<String, InvalidField> {
    let leads_out = Path::new(&value)
        .components()
        .any(|component| component == Component::ParentDir);
    if leads_out {
        return Err(InvalidField::new(
            field,
            format!("{value:?} contains \"..\""),
        ));
    }
    without_nul(value, field)
}
