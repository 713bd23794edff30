//! `hosts.toml` as it is written (containerd docs/hosts.md).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::registry::RegistryError;

/// The keys of a host's table; the file's root has them for `server`.
const HOST_KEYS: [&str; 8] = [
    "capabilities",
    "ca",
    "client",
    "skip_verify",
    "header",
    "override_path",
    "dial_timeout",
    "proxy",
];

/// `hosts.toml`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct HostsFile {
    pub(super) server: Option<String>,
    #[serde(default)]
    host: BTreeMap<String, Spanned<HostTable>>,
    #[serde(flatten)]
    pub(super) own: HostTable,
}

/// How to talk to one host.
#[derive(Debug, Default, Deserialize)]
pub(super) struct HostTable {
    #[serde(default)]
    pub(super) capabilities: Vec<String>,
    pub(super) ca: Option<OneOrMany>,
    pub(super) client: Option<Clients>,
    #[serde(default)]
    pub(super) skip_verify: bool,
    #[serde(default)]
    pub(super) header: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    pub(super) override_path: bool,
    pub(super) dial_timeout: Option<String>,
    pub(super) proxy: Option<String>,
}

/// A text or a list of texts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

/// A file, or a list of files and of pairs of files.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Clients {
    One(String),
    Many(Vec<Client>),
}

/// A file that holds certificate and key, or a file for each.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Client {
    Joint(String),
    Pair(String, String),
}

impl HostsFile {
    /// Reads the text of `path`, and names the keys that are not known.
    pub(super) fn parse(text: &str, path: &Path) -> Result<(Self, Vec<String>), RegistryError> {
        let broken = |source| RegistryError::Hosts {
            path: path.to_owned(),
            source,
        };
        let table: toml::Table = toml::from_str(text).map_err(broken)?;
        let file = toml::from_str(text).map_err(broken)?;
        Ok((file, unknown_keys(&table)))
    }

    /// The tables of `[host]` in the order of the file.
    pub(super) fn into_hosts(self) -> (Vec<(String, HostTable)>, Option<String>, HostTable) {
        let mut hosts: Vec<_> = self.host.into_iter().collect();
        hosts.sort_by_key(|(_, table)| table.span().start);
        let hosts = hosts
            .into_iter()
            .map(|(url, table)| (url, table.into_inner()));
        (hosts.collect(), self.server, self.own)
    }
}

fn unknown_keys(file: &toml::Table) -> Vec<String> {
    let is_unknown = |key: &&String| !HOST_KEYS.contains(&key.as_str());
    let mut unknown: Vec<String> = file
        .keys()
        .filter(is_unknown)
        .filter(|key| !matches!(key.as_str(), "server" | "host"))
        .cloned()
        .collect();
    for (url, table) in file
        .get("host")
        .and_then(|hosts| hosts.as_table())
        .into_iter()
        .flatten()
    {
        let keys = table.as_table().into_iter().flat_map(|table| table.keys());
        unknown.extend(
            keys.filter(is_unknown)
                .map(|key| format!("host.{url:?}.{key}")),
        );
    }
    unknown
}
