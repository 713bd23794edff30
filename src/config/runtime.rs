//! `[runtime]`: who makes the containers of a pod.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use super::paths::absolute;

/// The handler that is always there.
const BUILT_IN: &str = "carpel";

/// `[runtime]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeSection {
    /// The handler of pods that ask for none.
    pub default_handler: String,
    /// The handlers besides the built-in one.
    pub handlers: BTreeMap<HandlerName, Handler>,
}

impl Default for RuntimeSection {
    fn default() -> Self {
        Self {
            default_handler: BUILT_IN.to_owned(),
            handlers: BTreeMap::new(),
        }
    }
}

/// `[runtime.handlers.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Handler {
    /// Carpel itself, under another name.
    BuiltIn {},
    /// Another OCI runtime.
    Oci {
        /// Its program.
        #[serde(deserialize_with = "absolute")]
        path: PathBuf,
        /// Its options, before the command.
        #[serde(default)]
        options: Vec<String>,
    },
}

/// The name of a handler: that of a label in DNS, as Kubernetes wants it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HandlerName(String);

/// Why a text is not the name of a handler.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HandlerNameError {
    /// It has other characters, or too many.
    #[error(
        "{0:?} is not the name of a handler: 1 to 63 lower-case letters, digits and -, which neither begins nor ends it"
    )]
    Form(String),
    /// It is the built-in one's.
    #[error("{BUILT_IN:?} is the built-in runtime: choose another name")]
    Taken,
}

impl HandlerName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HandlerName {
    type Error = HandlerNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_usual = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_valid = (1..=63).contains(&text.len())
            && text.bytes().all(|byte| is_usual(byte) || byte == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        match text.as_str() {
            BUILT_IN => Err(HandlerNameError::Taken),
            _ if is_valid => Ok(Self(text)),
            _ => Err(HandlerNameError::Form(text)),
        }
    }
}

impl From<HandlerName> for String {
    fn from(name: HandlerName) -> Self {
        name.0
    }
}

/// The default handler has to be one.
pub(super) fn known_default<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<RuntimeSection, D::Error> {
    let section = RuntimeSection::deserialize(deserializer)?;
    let mut names = section.handlers.keys().map(HandlerName::as_str);
    let default = section.default_handler.as_str();
    if default == BUILT_IN || names.any(|name| name == default) {
        return Ok(section);
    }
    Err(serde::de::Error::custom(format_args!(
        "default_handler: there is no handler {default:?}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    fn parse(text: &str) -> Result<RuntimeSection, String> {
        let parsed = Config::parse(text, Path::new("carpel.toml"));
        parsed
            .map(|config| config.runtime)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn handlers_are_tables_with_a_type() {
        let section = parse(
            "[runtime]\ndefault_handler = \"crun\"\n[runtime.handlers.crun]\ntype = \"oci\"\n\
             path = \"/usr/bin/crun\"\noptions = [\"--debug\"]\n[runtime.handlers.own]\ntype = \"built-in\"\n",
        )
        .unwrap();
        assert_eq!(section.default_handler, "crun");
        let handlers: Vec<_> = section.handlers.iter().collect();
        assert_eq!(handlers[0].0.as_str(), "crun");
        let expected = Handler::Oci {
            path: "/usr/bin/crun".into(),
            options: vec!["--debug".into()],
        };
        assert_eq!(handlers[0].1, &expected);
        assert_eq!(handlers[1].1, &Handler::BuiltIn {});
    }

    #[test]
    fn what_cannot_be_a_handler_is_an_error_with_its_reason() {
        for (text, reason) in [
            (
                "[runtime]\ndefault_handler = \"kata\"",
                "no handler \"kata\"",
            ),
            (
                "[runtime.handlers.carpel]\ntype = \"oci\"\npath = \"/x\"",
                "is the built-in runtime",
            ),
            (
                "[runtime.handlers.Bad_]\ntype = \"built-in\"",
                "not the name of a handler",
            ),
            (
                "[runtime.handlers.crun]\ntype = \"oci\"\npath = \"crun\"",
                "not an absolute path",
            ),
            ("[runtime.handlers.crun]\ntype = \"oci\"", "path"),
            ("[runtime.handlers.crun]\ntype = \"vm\"\n", "vm"),
            (
                "[runtime.handlers.crun]\ntype = \"oci\"\npath = \"/x\"\nbinary = \"/y\"",
                "binary",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{reason:?} in {error}");
        }
    }
}
