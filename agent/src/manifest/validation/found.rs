//! A list of what is wrong, and short ways to put something on it.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::manifest::error::{Field, Problem};

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) fields: Vec<Field>,
}

impl Found {
    pub(super) fn note(&mut self, path: impl Into<String>, problem: Problem) {
        self.fields.push(Field::new(path.into(), 0, problem));
    }

    pub(super) fn required(&mut self, path: impl Into<String>, detail: &'static str) {
        self.note(path, Problem::Required(detail));
    }

    pub(super) fn forbidden(&mut self, path: impl Into<String>, detail: &'static str) {
        self.note(path, Problem::Forbidden(detail));
    }

    pub(super) fn invalid(
        &mut self,
        path: impl Into<String>,
        value: impl Serialize,
        detail: impl Into<String>,
    ) {
        let value = serde_json::to_string(&value).unwrap_or_default();
        let detail = detail.into();
        self.note(path, Problem::Invalid { value, detail });
    }

    /// Puts what a check said on the list, if it said something.
    pub(super) fn check(
        &mut self,
        path: impl Into<String>,
        value: &str,
        check: impl FnOnce(&str) -> Option<&'static str>,
    ) {
        if let Some(detail) = check(value) {
            self.invalid(path, value, detail);
        }
    }

    /// A value that is one of some.
    pub(super) fn one_of(
        &mut self,
        path: impl Into<String>,
        value: Option<&str>,
        supported: &'static [&'static str],
    ) {
        if let Some(value) = value
            && !supported.contains(&value)
        {
            let value = value.to_owned();
            self.note(path, Problem::NotSupported { value, supported });
        }
    }

    /// A list that is not too long.
    pub(super) fn at_most(&mut self, path: impl Into<String>, count: usize, most: usize) {
        if count > most {
            self.note(path, Problem::TooMany { count, most });
        }
    }

    /// A number that is at least something.
    pub(super) fn at_least(&mut self, path: impl Into<String>, value: Option<i64>, least: i64) {
        if let Some(value) = value
            && value < least
        {
            let detail = match least {
                0 => "must be greater than or equal to 0".to_owned(),
                1 => "must be greater than zero".to_owned(),
                _ => format!("must be greater than or equal to {least}"),
            };
            self.invalid(path, value, detail);
        }
    }

    /// A number in a range, both ends in it.
    pub(super) fn between(
        &mut self,
        path: impl Into<String>,
        value: Option<i64>,
        least: i64,
        most: i64,
    ) {
        if let Some(value) = value
            && !(least..=most).contains(&value)
        {
            let detail = format!("must be between {least} and {most}, inclusive");
            self.invalid(path, value, detail);
        }
    }

    /// A value that may be there once among others.
    pub(super) fn unique(
        &mut self,
        path: impl Into<String>,
        seen: &mut BTreeSet<String>,
        value: &str,
    ) {
        if !seen.insert(value.to_owned()) {
            self.note(path, Problem::Duplicate(value.to_owned()));
        }
    }
}

/// A relative path that stays where it is.
pub(super) fn relative_path(found: &mut Found, path: &str, value: &str) {
    if value.starts_with('/') {
        found.invalid(path, value, "must be a relative path");
    }
    if value.split('/').any(|part| part == "..") {
        found.invalid(path, value, "must not contain '..'");
    }
}

/// A user or group.
pub(super) fn id(found: &mut Found, path: String, value: Option<i64>) {
    found.between(path, value, 0, i64::from(i32::MAX));
}
