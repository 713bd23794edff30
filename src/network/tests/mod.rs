//! The network on real kernels: each test has a network and a mount namespace of its own.

mod cni;
mod cni_capabilities;
mod cni_faults;
mod cni_plugin;
mod cni_verbs;
mod dual_stack;
mod filter;
mod load;
mod node;
mod pods;
mod ports;
mod prepared;
mod restart;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};

use super::netlink::{Answers, Family, Message, Socket};
use super::route::{InterfaceAddress, RouteSocket, VethPair};
use super::*;

/// A node of one test: the thread's own network, mounts and directories.
struct Node {
    directory: tempfile::TempDir,
}

impl Node {
    fn config(&self) -> NetworkConfig {
        NetworkConfig {
            subnet: "10.63.0.0/16".parse().unwrap(),
            state_directory: self.directory.path().join("state"),
            namespace_directory: self.directory.path().join("netns"),
            // Tests count what there is.
            prepared: 0,
            ..NetworkConfig::default()
        }
    }

    async fn start(&self, live: &[&str]) -> Network {
        let live: BTreeSet<String> = live.iter().map(ToString::to_string).collect();
        Network::start(self.config(), &live).await.unwrap()
    }

    /// Everything that a pod's network leaves on a node, by kind.
    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut routes = RouteSocket::open().unwrap();
        let entries = |path: PathBuf| {
            fs::read_dir(path).map_or(0, |entries| {
                let names = entries.map(|entry| entry.unwrap().file_name());
                names
                    .filter(|name| !name.to_string_lossy().starts_with('.'))
                    .count()
            })
        };
        // The kernel gives IPv6 interfaces these by itself, some moments later.
        let link_local = |address: IpAddr| match address {
            IpAddr::V4(_) => false,
            IpAddr::V6(ipv6) => ipv6.is_unicast_link_local() || ipv6.is_multicast(),
        };
        let addresses = routes.addresses().unwrap();
        let addresses = addresses.iter().filter(|found| !link_local(found.address));
        let all = routes.routes().unwrap();
        let others = all.iter().filter(|route| !link_local(route.destination));
        BTreeMap::from([
            ("links", routes.links().unwrap().len()),
            ("addresses", addresses.count()),
            ("routes", others.count()),
            (
                "records",
                entries(self.config().state_directory.join("network")),
            ),
            ("namespaces", entries(self.config().namespace_directory)),
            (
                "mounts",
                fs::read_to_string("/proc/thread-self/mountinfo")
                    .unwrap()
                    .lines()
                    .count(),
            ),
            ("tables", nf_objects(1)),
            ("chains", nf_objects(4)),
            ("rules", nf_objects(7)),
        ])
    }
}

/// How many objects an nf_tables dump of this kind has.
fn nf_objects(kind: u16) -> usize {
    let request = Message::new((10 << 8) | kind, 0x300, &[0; 4]);
    let mut socket = Socket::open(Family::Netfilter).unwrap();
    socket.answers(request, Answers::All).unwrap().len()
}

/// Runs a test on a thread of its own that has left the host's network and mounts.
fn on_a_node<T: Future<Output = ()>>(test: impl FnOnce(Node) -> T + Send + 'static) {
    let ended = std::thread::spawn(move || {
        if carpel_linux::netns::unshare_mounts().is_err() {
            println!("SKIP new namespaces need CAP_SYS_ADMIN");
            return;
        }
        carpel_linux::netns::unshare_network().unwrap();
        mount_change(
            "/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )
        .unwrap();
        RouteSocket::open().unwrap().set_up(1).unwrap();
        let node = Node {
            directory: tempfile::tempdir().unwrap(),
        };
        let netns = node.config().namespace_directory;
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(test(node));
        // The mount that `prepare_directory` made goes with the namespace; the directory has to go now.
        if netns.exists() {
            unmount(&netns, UnmountFlags::DETACH).unwrap();
        }
    })
    .join();
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

async fn pod(network: &Network, sandbox: &str) -> (NetworkNamespace, Attachment) {
    pod_with_ports(network, sandbox, &[]).await
}

async fn pod_with_ports(
    network: &Network,
    sandbox: &str,
    ports: &[HostPort],
) -> (NetworkNamespace, Attachment) {
    let namespace = network.create_namespace(sandbox).await.unwrap();
    let attachment = network.attach(sandbox, &namespace, ports).await.unwrap();
    (namespace, attachment)
}

/// A host beyond the node, 192.0.2.2 and 2001:db8::2, on a link of its own to the node, which is 1 there. It has no
/// route back to pods.
async fn outside(network: &Network) -> NetworkNamespace {
    let outside = network.create_namespace("outside").await.unwrap();
    let mut routes = RouteSocket::open().unwrap();
    routes
        .create_bridge("uplink", [2, 0, 0, 0, 0, 1], 1500)
        .unwrap();
    let uplink = routes.link("uplink").unwrap().unwrap().index;
    let addresses = |index, last: u8| {
        let v6 = format!("2001:db8::{last}").parse().unwrap();
        [(IpAddr::from([192, 0, 2, last]), 24), (v6, 64)].map(|(address, prefix_length)| {
            InterfaceAddress {
                index,
                address,
                prefix_length,
            }
        })
    };
    for address in addresses(uplink, 1) {
        routes.add_address(&address).unwrap();
    }
    routes.set_up(uplink).unwrap();
    let pair = VethPair {
        host_name: "to-outside",
        bridge: uplink,
        pod_name: "eth0",
        pod_mac: [2, 0, 0, 0, 0, 2],
        mtu: 1500,
        namespace: outside.descriptor(),
    };
    routes.create_veth(&pair).unwrap();
    let mut inside = outside.routes().unwrap();
    let index = inside.link("eth0").unwrap().unwrap().index;
    let gateways = ["192.0.2.254", "2001:db8::fe"].map(|text| text.parse().unwrap());
    let addresses: Vec<_> = addresses(index, 2).into_iter().zip(gateways).collect();
    inside.configure(index, &addresses).unwrap();
    routes.wait_forwarding("to-outside").unwrap();
    // The first question for a neighbour may be lost on a link that has just come up, also over IPv6 three times in a row.
    for node in ["192.0.2.1:9", "[2001:db8::1]:9"].map(|text| text.parse().unwrap()) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let refused = || {
            let connect = || TcpStream::connect_timeout(&node, Duration::from_secs(5));
            let error = outside.inside("look", connect).unwrap().unwrap_err();
            error.kind() == std::io::ErrorKind::ConnectionRefused
        };
        while !refused() {
            assert!(Instant::now() < deadline, "{node} is never reached");
        }
    }
    outside
}

async fn remove(network: &Network, sandbox: &str) {
    network.detach(sandbox).await.unwrap();
    network.wait_released(sandbox).await;
    network.remove_namespace(sandbox).await.unwrap();
}

/// Sends a greeting over TCP from `client` (or the node) to a listener in `server` (or the node).
fn greet(
    client: Option<&NetworkNamespace>,
    server: Option<&NetworkNamespace>,
    address: IpAddr,
) -> Duration {
    let listen = move || TcpListener::bind((address, 0)).unwrap();
    let listener = match server {
        Some(namespace) => namespace.inside("listen", listen).unwrap(),
        None => listen(),
    };
    let to: SocketAddr = listener.local_addr().unwrap();
    let started = Instant::now();
    let connect = move || TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap();
    let mut stream = match client {
        Some(namespace) => namespace.inside("connect", connect).unwrap(),
        None => connect(),
    };
    let took = started.elapsed();
    stream.write_all(b"hello").unwrap();
    drop(stream);
    let mut heard = String::new();
    listener
        .accept()
        .unwrap()
        .0
        .read_to_string(&mut heard)
        .unwrap();
    assert_eq!(heard, "hello");
    took
}

/// Whether the kernel is one without nf_tables for IPv4, said once.
async fn without_nat(network: &Network) -> bool {
    let warnings = network.status().await.warnings;
    let found = warnings
        .iter()
        .find(|warning| warning.contains("so there is no masquerade"));
    if let Some(warning) = found {
        println!("SKIP {warning}");
    }
    found.is_some()
}
