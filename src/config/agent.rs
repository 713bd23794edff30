//! `[agent]`: Kubernetes manifests without a cluster.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::paths::{absolute, maybe_absolute};

/// `[agent]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSection {
    /// Does it run, unless this is a node of a cluster?
    pub enabled: bool,
    /// A folder of manifests that is kept applied; `None` means that there is none.
    #[serde(
        deserialize_with = "maybe_absolute",
        skip_serializing_if = "Option::is_none"
    )]
    pub manifests_directory: Option<PathBuf>,
    /// The logs of its pods.
    #[serde(deserialize_with = "absolute")]
    pub logs_directory: PathBuf,
    /// The node's name; `None` means the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// The node's labels.
    pub node_labels: Vec<NodeLabel>,
}

impl Default for AgentSection {
    fn default() -> Self {
        Self {
            enabled: true,
            manifests_directory: None,
            logs_directory: "/var/log/pods".into(),
            node_name: None,
            node_labels: Vec::new(),
        }
    }
}

/// A label of the node, written `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeLabel {
    /// Its key.
    pub key: String,
    /// Its value; it may be empty.
    pub value: String,
}

impl TryFrom<String> for NodeLabel {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err("a label of a node is KEY=VALUE"),
        }
    }
}

impl From<NodeLabel> for String {
    fn from(label: NodeLabel) -> Self {
        format!("{}={}", label.key, label.value)
    }
}
