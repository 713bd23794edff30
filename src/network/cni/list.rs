//! A network configuration as the specification has it: a list of plugins, or one alone. Pure.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::version::{SpecVersion, VersionError};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// A network: what every plugin of its chain is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::network) struct NetworkList {
    /// Its name: attachments are found by it.
    pub(super) name: String,
    /// Where it is written, for errors; empty in records of versions that did not note it.
    #[serde(default)]
    pub(super) file: PathBuf,
    /// The version of the specification that is spoken with its plugins.
    pub(super) version: SpecVersion,
    /// Whoever wrote it does not want CHECK.
    pub(super) disable_check: bool,
    /// Whoever wrote it does not want GC: the network is shared with another runtime.
    pub(super) disable_gc: bool,
    /// The configurations of the plugins, in the order of ADD.
    pub(super) plugins: Vec<Object>,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub(in crate::network) enum ListError {
    /// Not JSON, or not yet: whoever writes it may be at it.
    #[error("not JSON")]
    Json(#[from] serde_json::Error),
    /// A file could not be read.
    #[error("it cannot be read")]
    Read(#[from] std::io::Error),
    /// The outermost value, or a plugin, is not an object.
    #[error("{what} is not a JSON object")]
    NotAnObject {
        /// The file, or which plugin.
        what: String,
    },
    /// A key that must be there.
    #[error("{key:?} is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A key with the wrong type of value, or a value that cannot be.
    #[error("{key:?} cannot be {value}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value, as JSON.
        value: String,
    },
    /// A version that is none.
    #[error("cniVersion")]
    Version(#[from] VersionError),
    /// A version that is newer than this program.
    #[error("cniVersion {version} is newer than {newest}, the newest that is spoken here", newest = SpecVersion::NEWEST)]
    TooNew {
        /// It.
        version: SpecVersion,
    },
    /// No plugin, neither in the list nor in its folder.
    #[error("it names no plugin")]
    NoPlugins,
}

impl NetworkList {
    /// The network of a list (`.conflist`), and whether plugins of its folder `<name>/` belong to it too.
    pub(super) fn from_list(list: &Object) -> Result<(Self, OwnFolder), ListError> {
        let only_inlined = flag(list, "loadOnlyInlinedPlugins")?;
        let plugins = match list.get("plugins") {
            None if only_inlined => return Err(ListError::Missing { key: "plugins" }),
            None => Vec::new(),
            Some(Value::Array(plugins)) if !plugins.is_empty() => plugins
                .iter()
                .enumerate()
                .map(|(position, plugin)| inlined(position, plugin))
                .collect::<Result<_, _>>()?,
            Some(other) => return Err(wrong("plugins", other)),
        };
        let network = Self {
            name: name(list)?,
            file: PathBuf::new(),
            version: negotiated_version(list)?,
            disable_check: flag(list, "disableCheck")?,
            disable_gc: flag(list, "disableGC")?,
            plugins,
        };
        let folder = if only_inlined {
            OwnFolder::Ignored
        } else {
            OwnFolder::Read
        };
        Ok((network, folder))
    }

    /// The network of a single plugin (`.conf`, `.json`).
    pub(super) fn from_plugin(plugin: Object) -> Result<Self, ListError> {
        check_plugin(&plugin)?;
        Ok(Self {
            name: name(&plugin)?,
            file: PathBuf::new(),
            version: negotiated_version(&plugin)?,
            disable_check: false,
            disable_gc: false,
            plugins: vec![plugin],
        })
    }

    /// Its name, and the file that it is written in, for people.
    pub(super) fn shown(&self) -> String {
        match self.file.as_os_str().is_empty() {
            true => format!("{:?}", self.name),
            false => format!("{:?} ({})", self.name, self.file.display()),
        }
    }

    /// The names of the plugins' programs, in the order of ADD.
    #[cfg(test)]
    pub(super) fn types(&self) -> impl Iterator<Item = &str> {
        self.plugins.iter().map(plugin_type)
    }
}

/// Whether `<directory>/<name>/*.conf` are plugins of the network too (specification 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnFolder {
    /// They are.
    Read,
    /// `loadOnlyInlinedPlugins`
    Ignored,
}

/// The name of a plugin's program; checked when it was read.
pub(super) fn plugin_type(plugin: &Object) -> &str {
    plugin
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A plugin must name a program, and not by a path.
pub(super) fn check_plugin(plugin: &Object) -> Result<(), ListError> {
    match plugin.get("type") {
        None => Err(ListError::Missing { key: "type" }),
        Some(Value::String(name))
            if !name.is_empty() && !name.contains('/') && !name.starts_with('.') =>
        {
            Ok(())
        }
        Some(other) => Err(wrong("type", other)),
    }
}

fn inlined(position: usize, plugin: &Value) -> Result<Object, ListError> {
    let Value::Object(plugin) = plugin else {
        return Err(ListError::NotAnObject {
            what: format!("plugin {}", position + 1),
        });
    };
    check_plugin(plugin)?;
    Ok(plugin.clone())
}

/// Names become parts of file names: libcni allows the same.
fn name(list: &Object) -> Result<String, ListError> {
    let value = list.get("name").ok_or(ListError::Missing { key: "name" })?;
    let valid = |name: &&str| {
        name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match value.as_str().filter(valid) {
        Some(name) => Ok(name.to_owned()),
        None => Err(wrong("name", value)),
    }
}

/// The newest of `cniVersions` that is spoken here, as libcni chooses; without that list, `cniVersion`.
fn negotiated_version(list: &Object) -> Result<SpecVersion, ListError> {
    let one = match list.get("cniVersion") {
        None => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => Some(text.parse::<SpecVersion>()?),
        Some(other) => return Err(wrong("cniVersion", other)),
    };
    let mut offered: Vec<SpecVersion> = one.into_iter().collect();
    match list.get("cniVersions") {
        None => {}
        Some(Value::Array(versions)) => {
            for version in versions {
                let text = version
                    .as_str()
                    .ok_or_else(|| wrong("cniVersions", version))?;
                offered.push(text.parse()?);
            }
        }
        Some(other) => return Err(wrong("cniVersions", other)),
    }
    let newest = offered.iter().max().copied();
    let spoken = offered
        .into_iter()
        .filter(|version| *version <= SpecVersion::NEWEST)
        .max();
    match (spoken, newest) {
        (Some(version), _) => Ok(version),
        (None, Some(version)) => Err(ListError::TooNew { version }),
        (None, None) => Ok(SpecVersion::FIRST),
    }
}

/// A boolean; libcni takes its words as text too.
fn flag(list: &Object, key: &'static str) -> Result<bool, ListError> {
    match list.get(key) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(other) => Err(wrong(key, other)),
    }
}

fn wrong(key: &'static str, value: &Value) -> ListError {
    ListError::Value {
        key,
        value: value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    fn version_of(mut list: Value) -> Result<String, String> {
        list["name"] = "n".into();
        list["plugins"] = json!([{ "type": "bridge" }]);
        match NetworkList::from_list(&object(list)) {
            Ok((network, _)) => Ok(network.version.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_newest_common_version_is_spoken() {
        let cases = [
            (json!({}), Ok("0.1.0")),
            (json!({ "cniVersion": "0.4.0" }), Ok("0.4.0")),
            (
                json!({ "cniVersion": "0.4.0", "cniVersions": ["1.0.0", "1.1.0", "9.0.0"] }),
                Ok("1.1.0"),
            ),
            (
                json!({ "cniVersion": "1.1.0", "cniVersions": ["1.0.0"] }),
                Ok("1.1.0"),
            ),
            (
                json!({ "cniVersion": "1.2.0" }),
                Err("cniVersion 1.2.0 is newer than 1.1.0, the newest that is spoken here"),
            ),
            (
                json!({ "cniVersion": 1 }),
                Err("\"cniVersion\" cannot be 1"),
            ),
            (
                json!({ "cniVersions": "1.0.0" }),
                Err("\"cniVersions\" cannot be \"1.0.0\""),
            ),
        ];
        for (list, expected) in cases {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(version_of(list.clone()), expected, "{list}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_list_is_said() {
        let plugins = json!([{ "type": "bridge" }]);
        let cases = [
            (json!({ "plugins": plugins }), "\"name\" is missing"),
            (
                json!({ "name": "../n", "plugins": plugins }),
                "\"name\" cannot be \"../n\"",
            ),
            (
                json!({ "name": "n", "plugins": [] }),
                "\"plugins\" cannot be []",
            ),
            (
                json!({ "name": "n", "plugins": [3] }),
                "plugin 1 is not a JSON object",
            ),
            (
                json!({ "name": "n", "plugins": [{}] }),
                "\"type\" is missing",
            ),
            (
                json!({ "name": "n", "plugins": [{ "type": "../bin/sh" }] }),
                "\"type\" cannot be \"../bin/sh\"",
            ),
            (
                json!({ "name": "n", "plugins": plugins, "disableCheck": "maybe" }),
                "\"disableCheck\" cannot be \"maybe\"",
            ),
            (
                json!({ "name": "n", "loadOnlyInlinedPlugins": true }),
                "\"plugins\" is missing",
            ),
        ];
        for (list, expected) in cases {
            let error = NetworkList::from_list(&object(list)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn flags_and_the_folder_are_read() {
        let list = json!({
            "name": "n", "plugins": [{ "type": "a" }, { "type": "b" }],
            "disableCheck": "True", "disableGC": true, "loadOnlyInlinedPlugins": true,
        });
        let (network, folder) = NetworkList::from_list(&object(list)).unwrap();
        assert!(network.disable_check && network.disable_gc);
        assert_eq!(folder, OwnFolder::Ignored);
        assert_eq!(network.types().collect::<Vec<_>>(), ["a", "b"]);
        let (empty, folder) = NetworkList::from_list(&object(json!({ "name": "n" }))).unwrap();
        assert_eq!((empty.plugins.len(), folder), (0, OwnFolder::Read));
    }

    #[test]
    fn a_single_plugin_is_a_network_of_one() {
        let plugin =
            object(json!({ "name": "n", "cniVersion": "1.0.0", "type": "ptp", "mtu": 1400 }));
        let network = NetworkList::from_plugin(plugin.clone()).unwrap();
        assert_eq!(network.name, "n");
        assert_eq!(network.plugins, [plugin]);
    }
}
