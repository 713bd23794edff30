//! The composition root of the agent: opens the store, starts the supervisor of pods, the folder of manifests and the
//! server, and ends them.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use crate::manifest::{Key, Kind};
use crate::pod_worker::{self, Node};
use crate::runtime::{Runtime, UserRanges};
use crate::server::{self, Api, ServerError};
use crate::status::{Events, EventsFile};
use crate::store::{Folder, FolderWatch, SECRETS_KEY, Store, StoreError};
use crate::token::{Issuer, TokenError};
use crate::volume::{self, Volumes};

/// Where the agent is and what it serves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Durable state: objects, keys, volumes.
    pub directory: PathBuf,
    /// The CRI socket of the runtime.
    pub runtime_socket: PathBuf,
    /// Where the API is served.
    pub api_socket: PathBuf,
    /// A folder of manifests that is kept applied.
    pub manifests_directory: Option<PathBuf>,
    /// The logs of containers.
    pub logs_directory: PathBuf,
    /// The node's name.
    pub node_name: String,
    /// The node's labels, beside those that every node has.
    pub node_labels: BTreeMap<String, String>,
    /// The domain of names in a cluster's DNS, for pods with a subdomain.
    pub cluster_domain: String,
    /// Who issues the tokens of service accounts.
    pub issuer_url: String,
}

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The objects.
    #[error("objects")]
    Store(#[from] StoreError),
    /// The key of tokens.
    #[error("tokens")]
    Token(#[from] TokenError),
    /// The API.
    #[error("API")]
    Server(#[from] ServerError),
    /// The store's task has panicked.
    #[error("open the store")]
    Opening(#[source] tokio::task::JoinError),
}

/// An agent that is ready to run.
#[derive(Debug)]
pub struct Agent {
    node: Arc<Node>,
    server: server::Bound,
    manifests: Option<PathBuf>,
    events: EventsFile,
}

impl Agent {
    /// Opens everything; from here on the API's socket can be connected to.
    ///
    /// # Errors
    /// When the store cannot be opened, or the socket cannot be served.
    pub async fn open(settings: Settings) -> Result<Self, AgentError> {
        let server = server::bind(&settings.api_socket).await?;
        let directory = settings.directory.clone();
        let url = settings.issuer_url.clone();
        let (store, issuer) = tokio::task::spawn_blocking(move || open(&directory, &url))
            .await
            .map_err(AgentError::Opening)??;
        let (store, issuer) = (Arc::new(store), Arc::new(issuer));
        let volumes = Volumes::new(
            volume::Settings {
                directory: settings.directory.join("volumes"),
            },
            store.clone(),
            issuer.clone(),
        );
        let events = Events::new(&settings.node_name);
        let kept = EventsFile::open(settings.api_socket.with_extension("events"), events.clone());
        let node = Arc::new(Node {
            runtime: Runtime::at(&settings.runtime_socket),
            events,
            volumes: Arc::new(volumes),
            store,
            user_ranges: UserRanges::default(),
            labels: pod_worker::labels_with(&settings.node_name, &settings.node_labels),
            name: settings.node_name,
            host_ips: pod_worker::own_addresses(),
            memory: pod_worker::memory(),
            cpu_milli: processors().saturating_mul(1000),
            pods_directory: settings.directory.join("pods"),
            logs_directory: settings.logs_directory,
            cluster_domain: settings.cluster_domain,
            since: since(&settings.directory),
            runtime_name: OnceLock::new(),
        });
        Ok(Self {
            server: server.with(Api::new(node.clone(), issuer)),
            node,
            manifests: settings.manifests_directory,
            events: kept,
        })
    }

    /// Until `shutdown` ends. Pods keep running after it.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let serving = tokio::spawn(self.server.serve());
        let keeping = tokio::spawn(self.events.clone().follow());
        let scanning = self
            .manifests
            .map(|path| tokio::spawn(follow_folder(path, self.node.store.clone())));
        pod_worker::supervise(self.node, shutdown).await;
        serving.abort();
        keeping.abort();
        self.events.write();
        if let Some(scanning) = scanning {
            scanning.abort();
        }
    }
}

fn open(directory: &Path, url: &str) -> Result<(Store, Issuer), AgentError> {
    let store = Store::open(directory)?;
    let issuer = Issuer::open(directory, url)?;
    Ok((store, issuer))
}

/// The key of the Secrets is made at the first start, and never again.
fn since(directory: &Path) -> Timestamp {
    let made = std::fs::metadata(directory.join(SECRETS_KEY)).and_then(|it| it.modified());
    made.ok()
        .and_then(|time| Timestamp::try_from(time).ok())
        .unwrap_or_else(Timestamp::now)
}

fn processors() -> u64 {
    let count = std::thread::available_parallelism();
    count.map_or(1, |count| u64::try_from(count.get()).unwrap_or(1))
}

/// Keeps what is in the folder applied.
async fn follow_folder(path: PathBuf, store: Arc<Store>) {
    let mut folder = Folder::new(&path);
    loop {
        // Before the scan, so that nothing that comes after it is missed.
        let watch = FolderWatch::of(&path);
        let of = store.clone();
        let scanned = tokio::task::spawn_blocking(move || {
            let scan = folder.scan(&of);
            (folder, scan)
        });
        let scan = match scanned.await {
            Ok((back, scan)) => {
                folder = back;
                scan
            }
            Err(error) => {
                tracing::error!(%error, "the folder of manifests");
                return;
            }
        };
        for (key, applied) in &scan.applied {
            tracing::info!(%key, "manifest {}", applied.word());
        }
        for error in &scan.errors {
            tracing::warn!(error = %server::chain(error), "the folder of manifests");
        }
        for key in &scan.vanished {
            remove(&store, key);
        }
        watch.wait().await;
    }
}

/// Pods in order, with their grace; other objects at once.
fn remove(store: &Store, key: &Key) {
    let outcome = match key.kind {
        Kind::Pod => {
            let pod = store.pod(&key.namespace, &key.name);
            let is_ending =
                |pod: &k8s_openapi::api::core::v1::Pod| pod.metadata.deletion_timestamp.is_some();
            if pod.as_ref().is_none_or(is_ending) {
                return;
            }
            let spec = pod.and_then(|pod| pod.spec);
            let grace = spec.and_then(|spec| spec.termination_grace_period_seconds);
            store
                .mark_deleted(key, grace.unwrap_or(30), Timestamp::now())
                .map(drop)
        }
        _ => store.delete(key).map(drop),
    };
    match outcome {
        Ok(()) => tracing::info!(%key, "its manifest is gone"),
        Err(error) => tracing::warn!(%key, %error, "remove an object whose manifest is gone"),
    }
}
