//! What all workers share: the runtime, the objects, the node's own facts and folders.

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::facts::Facts;
use crate::runtime::{Runtime, UserRanges};
use crate::status::Events;
use crate::store::Store;
use crate::volume::Volumes;

/// The node that pods run on.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its runtime.
    pub(crate) runtime: Runtime,
    /// What was applied.
    pub(crate) store: Arc<Store>,
    /// What pods mount.
    pub(crate) volumes: Arc<Volumes>,
    /// What has happened.
    pub(crate) events: Events,
    /// Ids of user namespaces.
    pub(crate) user_ranges: UserRanges,
    /// What `spec.nodeName` may say.
    pub(crate) name: String,
    /// What `spec.nodeSelector` may ask for.
    pub(crate) labels: BTreeMap<String, String>,
    /// Its addresses.
    pub(crate) host_ips: Vec<IpAddr>,
    /// Its memory in bytes.
    pub(crate) memory: u64,
    /// Its processors in thousandths.
    pub(crate) cpu_milli: u64,
    /// A folder per pod: its hosts file, its containers' last words.
    pub(crate) pods_directory: PathBuf,
    /// A folder per pod with a folder per container.
    pub(crate) logs_directory: PathBuf,
    /// `cluster.local`
    pub(crate) cluster_domain: String,
    /// When its first agent began.
    pub(crate) since: Timestamp,
    /// `carpel`, `containerd`: once it has answered.
    pub(crate) runtime_name: OnceLock<String>,
}

impl Node {
    /// What environments and Downward API files are made from.
    pub(super) fn facts(&self, pod_ips: &[String]) -> Facts {
        Facts {
            node_name: self.name.clone(),
            host_ips: self.host_ips.clone(),
            pod_ips: pod_ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
            allocatable_cpu_milli: self.cpu_milli,
            allocatable_memory: self.memory,
        }
    }

    /// Its addresses as text.
    pub(super) fn host_ip_texts(&self) -> Vec<String> {
        self.host_ips.iter().map(ToString::to_string).collect()
    }

    /// The folder of a pod.
    pub(super) fn pod_directory(&self, uid: &str) -> PathBuf {
        self.pods_directory.join(uid)
    }

    /// The prefix of container ids: the runtime's name once it is known.
    pub(super) async fn runtime_name(&self) -> String {
        if let Some(name) = self.runtime_name.get() {
            return name.clone();
        }
        match self.runtime.version().await {
            Ok(version) => self
                .runtime_name
                .get_or_init(|| version.runtime_name)
                .clone(),
            Err(_) => String::new(),
        }
    }

    /// Why the pod does not belong to this node, if it does not.
    pub(super) fn mismatch(&self, pod: &Pod) -> Option<String> {
        let spec = pod.spec.as_ref()?;
        let wanted = spec.node_name.as_deref().filter(|name| !name.is_empty());
        if wanted.is_some_and(|name| name != self.name) {
            return Some(
                "0/1 nodes are available: 1 node(s) didn't match the requested node name."
                    .to_owned(),
            );
        }
        let mut selector = spec.node_selector.iter().flatten();
        let is_here = selector.all(|(name, value)| self.labels.get(name) == Some(value));
        (!is_here).then(|| {
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
                .to_owned()
        })
    }
}

/// The labels that every node has, with those that the configuration adds.
pub(crate) fn labels_with(name: &str, more: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut labels: BTreeMap<String, String> = [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    labels.extend(more.clone());
    labels
}

/// The address from which this machine reaches others; the loopback one if it reaches nobody.
pub(crate) fn own_addresses() -> Vec<IpAddr> {
    // Nothing is sent: connecting a datagram socket only looks up the route. The addresses are those of documentation.
    let toward = |from: &str, to: &str| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let found: Vec<IpAddr> = [
        toward("0.0.0.0:0", "192.0.2.1:9"),
        toward("[::]:0", "[2001:db8::1]:9"),
    ]
    .into_iter()
    .flatten()
    .collect();
    match found.is_empty() {
        true => vec![IpAddr::from([127, 0, 0, 1])],
        false => found,
    }
}

/// The machine's memory in bytes: proc_meminfo(5).
pub(crate) fn memory() -> u64 {
    let text = std::fs::read_to_string(Path::new("/proc/meminfo")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0).saturating_mul(1024)
}
