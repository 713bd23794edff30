//! The network of this node without a daemon: what there is of it, and its removal.

use std::collections::{BTreeMap, BTreeSet};

use super::error::DaemonError;
use super::lock;
use super::run::network_config;
use crate::config::Config;
use crate::network::{self, Mode, Network, NetworkConfig, NetworkInspection, Presence};
use crate::pod;

/// What a reset does about pods that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunningPods {
    /// It is refused.
    Keep,
    /// They lose their network.
    Disconnect,
}

/// The network, and whose sandboxes those are.
#[derive(Debug)]
pub struct NodeNetwork {
    /// The network.
    pub network: NetworkInspection,
    /// Namespace and name of pods, by sandbox.
    pub names: BTreeMap<String, (String, String)>,
}

impl NodeNetwork {
    /// Namespace and name of a sandbox's pod; empty if it is not recorded.
    #[must_use]
    pub fn name_of(&self, sandbox: &str) -> (&str, &str) {
        self.names
            .get(sandbox)
            .map_or(("", ""), |(namespace, name)| (namespace, name))
    }
}

/// Looks at the network of this node.
///
/// # Errors
/// `Network` if records or kernel cannot be read.
pub fn inspect_network(config: &Config) -> Result<NodeNetwork, DaemonError> {
    let network = network::inspect(&network_config(config)).map_err(DaemonError::Network)?;
    let names = network
        .pods
        .iter()
        .filter_map(|found| {
            let name = pod::recorded_name(&config.root, &found.sandbox)?;
            Some((found.sandbox.clone(), name))
        })
        .collect();
    Ok(NodeNetwork { network, names })
}

/// Removes what Carpel made of the network of this node; a sentence for each thing.
///
/// # Errors
/// `Locked` while the daemon runs, which would make it all again; `PodsRun` if there are pods with a network and they are
/// to be kept; `Network` if something cannot be removed.
pub async fn reset_network(config: &Config, pods: RunningPods) -> Result<Vec<String>, DaemonError> {
    // A root that is not there has no daemon, and nothing is made to find that out.
    let rooted = config.root.exists();
    let alone = if rooted {
        Some(lock::take(&config.root).await?)
    } else {
        None
    };
    let found = inspect_network(config)?;
    let connected: Vec<&str> = found
        .network
        .pods
        .iter()
        .filter(|pod| pod.interface == Presence::Present)
        .map(|pod| pod.sandbox.as_str())
        .collect();
    if pods == RunningPods::Keep && !connected.is_empty() {
        let described = connected.iter().map(|sandbox| describe(&found, sandbox));
        return Err(DaemonError::PodsRun {
            pods: described.collect::<Vec<_>>().join(", "),
        });
    }
    let mut sentences: Vec<String> = found
        .network
        .pods
        .iter()
        .map(|pod| format!("removed the network of {}", describe(&found, &pod.sandbox)))
        .collect();
    let settings = NetworkConfig {
        mode: Mode::None,
        ..network_config(config)
    };
    let network = Network::start(settings, &BTreeSet::new())
        .await
        .map_err(DaemonError::Network)?;
    sentences.extend(network.reset().await.map_err(DaemonError::Network)?);
    drop(alone);
    if !rooted {
        // The records' folder was made below it; whoever has put something else there keeps it.
        std::fs::remove_dir(&config.root).ok();
    }
    if sentences.is_empty() {
        sentences.push("there was nothing to remove".to_owned());
    }
    Ok(sentences)
}

fn describe(found: &NodeNetwork, sandbox: &str) -> String {
    let short: String = sandbox.chars().take(13).collect();
    match found.name_of(sandbox) {
        ("", "") => format!("sandbox {short}"),
        (namespace, name) => format!("pod {namespace}/{name} (sandbox {short})"),
    }
}
