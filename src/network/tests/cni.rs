//! CNI with Debian's plugins: what pods get, what they leave, and how many can come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;

use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::super::route::RouteSocket;
use super::super::{
    CniConfig, HostPort, Mode, Network, NetworkConfig, NetworkNamespace, PodRequest, Transport,
};
use super::{Node, greet, on_a_node};

/// Where Debian has them.
const PLUGINS: &str = "/usr/lib/cni";

impl Node {
    /// With CNI only, its files below the node's directory.
    pub(super) fn cni_config(&self) -> NetworkConfig {
        NetworkConfig {
            mode: Mode::Cni,
            cni: CniConfig {
                configuration_directories: vec![self.directory.path().join("net.d")],
                plugin_directories: vec![self.directory.path().join("bin"), PLUGINS.into()],
                ..CniConfig::default()
            },
            ..self.config()
        }
    }

    pub(super) async fn start_cni(&self, live: &[&str]) -> Network {
        let live: BTreeSet<String> = live.iter().map(ToString::to_string).collect();
        Network::start(self.cni_config(), &live).await.unwrap()
    }

    /// Writes a file below the node's directory.
    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::File::create(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// A configuration of that list of plugins.
    pub(super) fn configure(&self, version: &str, plugins: &Value) {
        let list = json!({ "cniVersion": version, "name": "test", "plugins": plugins });
        self.write("net.d/10-test.conflist", &list.to_string());
    }

    /// host-local, with its files below the node's directory.
    pub(super) fn host_local(&self, subnets: &[&str]) -> Value {
        let ranges: Vec<Value> = subnets
            .iter()
            .map(|subnet| json!([{ "subnet": subnet }]))
            .collect();
        let routes: Vec<Value> = subnets
            .iter()
            .map(|subnet| json!({ "dst": if subnet.contains(':') { "::/0" } else { "0.0.0.0/0" } }))
            .collect();
        json!({
            "type": "host-local", "dataDir": self.directory.path().join("addresses"),
            "ranges": ranges, "routes": routes,
        })
    }

    pub(super) fn bridge(&self, subnets: &[&str]) -> Value {
        json!({
            "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
            "ipam": self.host_local(subnets),
        })
    }

    /// What is left by kind, host-local's addresses and CNI's records too.
    pub(super) fn cni_counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = self.counts();
        let entries = |path: &Path| fs::read_dir(path).map_or(0, Iterator::count);
        let addresses = fs::read_dir(self.directory.path().join("addresses/test"));
        let addresses = addresses.into_iter().flatten().flatten();
        let held = addresses.filter(|entry| {
            let name = entry.file_name();
            !name.to_string_lossy().starts_with("last_reserved_ip") && name != "lock"
        });
        counts.insert("held addresses", held.count());
        counts.insert(
            "CNI records",
            entries(&self.config().state_directory.join("cni")),
        );
        counts
    }
}

/// Whether Debian's plugins and what they run are missing, said once.
pub(super) fn without_plugins(names: &[&str]) -> bool {
    let missing = names
        .iter()
        .map(|name| Path::new(PLUGINS).join(name))
        .chain([Path::new("/usr/sbin/iptables").to_owned()])
        .find(|path| !path.exists());
    if let Some(path) = &missing {
        println!("SKIP {} is missing", path.display());
    }
    missing.is_some()
}

pub(super) async fn cni_pod(
    network: &Network,
    sandbox: &str,
    pod: &PodRequest,
) -> (NetworkNamespace, Vec<IpAddr>) {
    let namespace = network.create_namespace(sandbox).await.unwrap();
    let addresses = network.attach_pod(sandbox, &namespace, pod).await.unwrap();
    (namespace, addresses)
}

pub(super) async fn remove_cni(network: &Network, sandbox: &str) {
    network.detach(sandbox).await.unwrap();
    network.remove_namespace(sandbox).await.unwrap();
    network.wait_detached(sandbox).await.unwrap();
}

/// Brings a pod of a chain up and down, after `look` has looked at it; the second pod must leave nothing.
pub(super) async fn comes_and_goes(
    node: &Node,
    pod: &PodRequest,
    look: impl Fn(&NetworkNamespace, &[IpAddr]),
) {
    let network = node.start_cni(&[]).await;
    let status = network.status().await;
    assert!(status.ready, "{status:?}");
    // What the first one makes for all: a bridge, chains of rules, folders.
    drop(cni_pod(&network, "first", pod).await);
    remove_cni(&network, "first").await;
    let before = node.cni_counts();
    let (namespace, addresses) = cni_pod(&network, "second", pod).await;
    assert_ne!(node.cni_counts(), before);
    let again = network.attach_pod("second", &namespace, pod).await.unwrap();
    assert_eq!(again, addresses);
    look(&namespace, &addresses);
    let counters = network.interface_statistics("second").await.unwrap();
    assert_eq!(counters[0].name, "eth0");
    drop(namespace);
    remove_cni(&network, "second").await;
    assert_eq!(node.cni_counts(), before);
}

fn interfaces(namespace: &NetworkNamespace) -> Vec<String> {
    let mut routes = namespace.routes().unwrap();
    let links = routes.links().unwrap();
    links.into_iter().map(|link| link.name).collect()
}

#[test]
fn root_cni_bridge_with_two_families_and_ports_comes_and_goes() {
    if without_plugins(&["bridge", "host-local", "portmap", "firewall", "tuning"]) {
        return;
    }
    on_a_node(|node| async move {
        node.configure(
            "1.0.0",
            &json!([
                node.bridge(&["10.88.0.0/16", "fd00:88::/64"]),
                { "type": "portmap", "capabilities": { "portMappings": true } },
                { "type": "firewall", "backend": "iptables" },
                { "type": "tuning", "sysctl": { "net.core.somaxconn": "500" } },
            ]),
        );
        let pod = PodRequest {
            name: "web".into(),
            namespace: "default".into(),
            ports: vec![HostPort {
                transport: Transport::Tcp,
                host_port: 8088,
                port: 80,
                host_address: None,
            }],
            ..PodRequest::default()
        };
        comes_and_goes(&node, &pod, |namespace, addresses| {
            assert_eq!(
                addresses,
                [IpAddr::from([10, 88, 0, 3]), "fd00:88::3".parse().unwrap()]
            );
            greet(None, Some(namespace), addresses[0]);
            greet(Some(namespace), None, "10.88.0.1".parse().unwrap());
            let tuned = namespace
                .inside("read", || {
                    fs::read_to_string("/proc/sys/net/core/somaxconn")
                })
                .unwrap();
            assert_eq!(tuned.unwrap().trim(), "500");
        })
        .await;
    });
}

#[test]
fn root_cni_point_to_point_comes_and_goes() {
    if without_plugins(&["ptp", "host-local"]) {
        return;
    }
    on_a_node(|node| async move {
        let plugin = json!({ "type": "ptp", "ipam": node.host_local(&["10.89.0.0/24"]) });
        node.configure("0.4.0", &json!([plugin]));
        comes_and_goes(&node, &PodRequest::default(), |namespace, addresses| {
            assert_eq!(addresses, [IpAddr::from([10, 89, 0, 3])]);
            greet(None, Some(namespace), addresses[0]);
        })
        .await;
    });
}

#[test]
fn root_cni_macvlan_comes_and_goes() {
    if without_plugins(&["macvlan", "host-local"]) {
        return;
    }
    on_a_node(|node| async move {
        let mut routes = RouteSocket::open().unwrap();
        routes
            .create_bridge("uplink", [2, 0, 0, 0, 0, 1], 1500)
            .unwrap();
        let plugin = json!({
            "type": "macvlan", "master": "uplink", "ipam": node.host_local(&["10.90.0.0/24"]),
        });
        node.configure("0.3.1", &json!([plugin]));
        comes_and_goes(&node, &PodRequest::default(), |namespace, addresses| {
            assert_eq!(addresses, [IpAddr::from([10, 90, 0, 3])]);
            assert!(interfaces(namespace).contains(&"eth0".to_owned()));
        })
        .await;
    });
}

#[test]
fn root_cni_many_pods_ten_at_a_time_leave_nothing() {
    if without_plugins(&["bridge", "host-local", "portmap"]) {
        return;
    }
    let pods: usize = std::env::var("CNI_PODS").map_or(30, |count| count.parse().unwrap());
    on_a_node(move |node| async move {
        node.configure(
            "1.0.0",
            &json!([
                node.bridge(&["10.88.0.0/16"]),
                { "type": "portmap", "capabilities": { "portMappings": true } },
            ]),
        );
        let network = node.start_cni(&[]).await;
        let request = PodRequest::default();
        drop(cni_pod(&network, "first", &request).await);
        remove_cni(&network, "first").await;
        let before = node.cni_counts();
        let lives = (0..pods).map(|number| {
            let (network, request) = (&network, &request);
            async move {
                let sandbox = format!("pod-{number}");
                let (namespace, addresses) = cni_pod(network, &sandbox, request).await;
                drop(namespace);
                remove_cni(network, &sandbox).await;
                addresses[0]
            }
        });
        let addresses: Vec<IpAddr> = stream::iter(lives).buffer_unordered(10).collect().await;
        assert_eq!(addresses.len(), pods);
        assert_eq!(node.cni_counts(), before);
    });
}
