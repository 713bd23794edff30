//! The agent of Kubernetes manifests inside the daemon: a client of the daemon's own socket, as any other.

use std::collections::BTreeMap;

use carpel_agent::{Agent, Settings};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::error::DaemonError;
use crate::config::Config;

/// Whom tokens name as their issuer: the API server of a cluster whose domain is cluster.local is called so.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The domain of a cluster that has no other.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// What the agent is told by the configuration.
pub fn agent_settings(config: &Config) -> Settings {
    let section = &config.agent;
    let labels = section.node_labels.iter();
    Settings {
        directory: config.root.join("agent"),
        runtime_socket: config.socket_path(),
        api_socket: config.agent_socket_path(),
        manifests_directory: section.manifests_directory.clone(),
        logs_directory: section.logs_directory.clone(),
        node_name: section.node_name.clone().unwrap_or_else(host_name),
        node_labels: labels
            .map(|label| (label.key.clone(), label.value.clone()))
            .collect::<BTreeMap<_, _>>(),
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        issuer_url: ISSUER.to_owned(),
    }
}

/// In lower case, as names of nodes are.
fn host_name() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().to_lowercase()
}

/// An agent that runs.
#[derive(Debug)]
pub(super) struct RunningAgent {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Starts the agent, unless the configuration says otherwise. It waits for the CRI socket to be served.
pub(super) async fn start(config: &Config) -> Result<Option<RunningAgent>, DaemonError> {
    if !config.agent.enabled || config.kubernetes {
        return Ok(None);
    }
    let agent = Agent::open(agent_settings(config))
        .await
        .map_err(DaemonError::Agent)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(agent.run(async move {
        // Dropped is stopped too.
        stopped.await.ok();
    }));
    Ok(Some(RunningAgent { stop, task }))
}

impl RunningAgent {
    /// Ends it; its pods go on.
    pub(super) async fn stop(self) {
        // It may have ended by itself.
        self.stop.send(()).ok();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the agent");
        }
    }
}
