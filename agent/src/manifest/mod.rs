//! Manifests: YAML or JSON text in, whole and checked objects out. Pure: no file is read and nothing is kept here.
//!
//! A text goes through these steps, each in a file of its own: `tree` (text → values with lines), `strict` (values →
//! types of Kubernetes; unknown fields and wrong types), `support` (fields that Kubernetes knows and the agent does not
//! act on), `defaults` (what the API server fills in), `validation` (what it refuses).

mod app_armor;
#[cfg(test)]
mod coverage;
mod defaults;
mod error;
mod explain;
#[cfg(test)]
mod hostile_tests;
pub mod names;
mod object;
mod parse;
mod quote;
mod strict;
mod support;
mod tree;
mod validation;

pub use error::{Field, ManifestError, ManifestErrors, Problem};
pub use explain::{Explained, ExplainedField, explain};
pub use object::{DEFAULT_NAMESPACE, Key, Kind, Object, UnknownKind};
pub use parse::{parse, parse_in};
pub use quote::quoted;
