//! From a file to a `Config`. Unknown keys are looked for first, in the parsed document, because serde reports them
//! without their section and without a guess.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place};
use super::keys;
use super::sections::{Config, DEFAULT_PATH};

impl Config {
    /// The configuration of `path`.
    ///
    /// # Errors
    ///
    /// `Read` if the file cannot be read, else what [`Config::parse`] says.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// The configuration of `path`, or without one of the default path, where a missing file means the defaults.
    ///
    /// # Errors
    ///
    /// As [`Config::read`].
    pub fn read_or_default(path: Option<&Path>) -> Result<Self, ConfigError> {
        match path {
            Some(path) => Self::read(path),
            None => match Self::read(Path::new(DEFAULT_PATH)) {
                Err(ConfigError::Read { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    Ok(Self::default())
                }
                result => result,
            },
        }
    }

    /// The configuration that `text` says; `path` is for messages only.
    ///
    /// # Errors
    ///
    /// `Syntax` if it is not TOML, `UnknownKey`, and `Value` for a wrong type or an impossible value.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let place = |span: Option<Range<usize>>| Place {
            path: path.to_owned(),
            line: line_of(text, span.map_or(0, |span| span.start)),
        };
        let document = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            place: place(error.span()),
            problem: one_line(error.message()),
        })?;
        if let Some((key, span)) = unknown_key(document.get_ref()) {
            return Err(ConfigError::UnknownKey {
                place: place(Some(span)),
                nearest: keys::nearest(&key),
                key,
            });
        }
        toml::from_str(text).map_err(|error| ConfigError::Value {
            place: place(error.span()),
            key: error
                .span()
                .and_then(|span| key_at(document.get_ref(), &span))
                .unwrap_or_else(|| "configuration".to_owned()),
            problem: one_line(error.message()),
        })
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first key that does not exist, and where it is.
fn unknown_key(document: &DeTable<'_>) -> Option<(String, Range<usize>)> {
    for (name, value) in document {
        let section = name.get_ref().as_ref();
        if keys::find(section).is_some() {
            continue;
        }
        if !keys::is_section(section) {
            return Some((section.to_owned(), name.span()));
        }
        // A section that is not a table is a wrong type, which serde reports.
        let DeValue::Table(table) = value.get_ref() else {
            continue;
        };
        for name in table.keys() {
            let path = format!("{section}.{}", name.get_ref());
            if keys::find(&path).is_none() {
                return Some((path, name.span()));
            }
        }
    }
    None
}

/// The key whose value holds `span`.
fn key_at(document: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let holds = |value: &Spanned<DeValue<'_>>| {
        value.span().start <= span.start && span.end <= value.span().end
    };
    let mut section = None;
    for (name, value) in document {
        if let DeValue::Table(table) = value.get_ref()
            && let Some((inner, _)) = table.iter().find(|(_, value)| holds(value))
        {
            return Some(format!("{}.{}", name.get_ref(), inner.get_ref()));
        }
        if holds(value) {
            section = Some(name.get_ref().to_string());
        }
    }
    section
}
