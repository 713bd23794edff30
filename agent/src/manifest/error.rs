//! What can be wrong with a manifest. All of it is collected: one run names every mistake.

use std::fmt;

use super::quote::quoted;

/// Something wrong at one field.
#[derive(Debug)]
pub struct Field {
    /// Where: `spec.containers[0].image`; empty for the object itself.
    pub path: String,
    /// The line of the text, from 1 on; 0 if it is not known.
    pub line: u64,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong at a field.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The text is no YAML.
    #[error("{}", syntax(.0))]
    Syntax(#[source] Box<serde_saphyr::Error>),
    /// The document is no object of a kind that the agent knows.
    #[error("{}", unknown_kind(.api_version, .kind))]
    UnknownKind {
        /// Its API version.
        api_version: String,
        /// Its kind.
        kind: String,
    },
    /// No structure has such a field.
    #[error("unknown field{}", suggestion(*.nearest))]
    UnknownField {
        /// A field that may have been meant.
        nearest: Option<&'static str>,
    },
    /// A field that Kubernetes knows and the agent does not act on.
    #[error("not supported: {reason}")]
    Unsupported {
        /// Why, or what to write instead.
        reason: &'static str,
    },
    /// A value of another type than the field's.
    #[error("{0}")]
    Type(String),
    /// What must be there is not.
    #[error("Required value{}", detail(.0))]
    Required(&'static str),
    /// A value that may not be there in this place.
    #[error("Forbidden: {0}")]
    Forbidden(&'static str),
    /// A value that the field does not take.
    #[error("Invalid value: {value}: {detail}")]
    Invalid {
        /// The value, as JSON.
        value: String,
        /// What it should be.
        detail: String,
    },
    /// A value that may be there once.
    #[error("Duplicate value: {}", quoted(.0))]
    Duplicate(String),
    /// A value that names nothing.
    #[error("Not found: {}", quoted(.0))]
    NotFound(String),
    /// A value that is none of those which the field takes.
    #[error("Unsupported value: {}: supported values: {}", quoted(.value), listed(.supported))]
    NotSupported {
        /// The value.
        value: String,
        /// The values that are taken.
        supported: &'static [&'static str],
    },
    /// More items than a list may have.
    #[error("Too many: {count}: must have at most {most} items")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// More than an object may hold.
    #[error("Too long: may not be more than {0} bytes")]
    TooLong(usize),
}

/// One mistake, with its place.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct ManifestError {
    /// The file or other origin of the text.
    pub origin: String,
    /// Which document of the text, from 1 on.
    pub document: usize,
    /// `Pod "web"`, if the document got that far.
    pub object: Option<String>,
    /// The field and what is wrong.
    pub field: Field,
}

/// All mistakes of a text; at least one.
#[derive(Debug)]
pub struct ManifestErrors {
    /// In the order of the text.
    pub errors: Vec<ManifestError>,
}

impl ManifestError {
    fn text(&self) -> String {
        let mut text = format!("{}: document {}", self.origin, self.document);
        if self.field.line > 0 {
            text.push_str(&format!(", line {}", self.field.line));
        }
        for part in [self.object.as_deref(), Some(self.field.path.as_str())] {
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                text.push_str(": ");
                text.push_str(part);
            }
        }
        format!("{text}: {}", self.field.problem)
    }
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestErrors {}

/// What the parser says, without its advice to programmers.
fn syntax(error: &serde_saphyr::Error) -> String {
    let said = error.to_string();
    said.replace(", set DuplicateKeyPolicy in Options if acceptable", "")
}

fn unknown_kind(api_version: &str, kind: &str) -> String {
    match kind.is_empty() {
        true => "kind: Required value".to_owned(),
        false => format!(
            "no matches for kind {} in version {}: the agent takes Pod, Secret, ConfigMap and ServiceAccount of v1",
            quoted(kind),
            quoted(api_version)
        ),
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"))
}

fn detail(detail: &str) -> String {
    match detail.is_empty() {
        true => String::new(),
        false => format!(": {detail}"),
    }
}

fn listed(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    quoted.join(", ")
}
