//! The network on real kernels: each test has a network and a mount namespace of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};

use super::netlink::{Answers, Family, Message, Socket};
use super::route::{InterfaceAddress, RouteSocket};
use super::*;

/// A node of one test: the thread's own network, mounts and directories.
pub(super) struct Node {
    directory: tempfile::TempDir,
}

impl Node {
    fn config(&self) -> NetworkConfig {
        NetworkConfig {
            subnet: "10.63.0.0/16".parse().unwrap(),
            state_directory: self.directory.path().join("state"),
            namespace_directory: self.directory.path().join("netns"),
            ..NetworkConfig::default()
        }
    }

    pub(super) async fn start(&self, live: &[&str]) -> Network {
        let live: BTreeSet<String> = live.iter().map(ToString::to_string).collect();
        Network::start(self.config(), &live).await.unwrap()
    }

    /// Everything that a pod's network leaves on a node, by kind.
    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut routes = RouteSocket::open().unwrap();
        let entries = |path: PathBuf| fs::read_dir(path).map_or(0, Iterator::count);
        BTreeMap::from([
            ("links", routes.links().unwrap().len()),
            ("addresses", routes.addresses().unwrap().len()),
            ("routes", routes.routes().unwrap().len()),
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
pub(super) fn on_a_node<T: Future<Output = ()>>(test: impl FnOnce(Node) -> T + Send + 'static) {
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

pub(super) async fn pod(network: &Network, sandbox: &str) -> (NetworkNamespace, Attachment) {
    let namespace = network.create_namespace(sandbox).await.unwrap();
    let attachment = network.attach(sandbox, &namespace).await.unwrap();
    (namespace, attachment)
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

#[test]
fn root_two_pods_reach_each_other_and_the_node_and_leave_nothing() {
    on_a_node(|node| async move {
        let empty = node.counts();
        let network = node.start(&[]).await;
        let first_use = network.create_namespace("first").await.unwrap();
        drop(first_use);
        network.remove_namespace("first").await.unwrap();
        let before = node.counts();
        let (one, at_one) = pod(&network, "0123456789abcdef").await;
        let (two, at_two) = pod(&network, "web-2").await;
        assert_eq!(at_one.address, IpAddr::from([10, 63, 0, 2]));
        assert_eq!(at_two.address, IpAddr::from([10, 63, 0, 3]));
        assert_eq!(at_one.gateway, IpAddr::from([10, 63, 0, 1]));
        assert_eq!(
            (at_one.interface.as_str(), at_one.prefix_length),
            ("eth0", 16)
        );
        assert_eq!(network.attachment("web-2"), Some(at_two.clone()));
        assert_eq!(network.attach("web-2", &two).await.unwrap(), at_two);

        for took in [
            greet(Some(&one), Some(&two), at_two.address),
            greet(Some(&two), Some(&one), at_one.address),
            greet(Some(&one), None, at_one.gateway),
            greet(None, Some(&two), at_two.address),
            greet(Some(&one), Some(&one), IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ] {
            // A lost first packet is sent again after a second.
            assert!(took < Duration::from_millis(900), "{took:?}");
        }
        let counters = network.interface_statistics("web-2").await.unwrap();
        assert_eq!(counters.len(), 1);
        assert_eq!(counters[0].name, "eth0");
        assert!(
            counters[0].rx_bytes > 100 && counters[0].tx_bytes > 100,
            "{counters:?}"
        );
        assert_eq!((counters[0].rx_errors, counters[0].tx_errors), (0, 0));

        // Neither a pod nor the node believes a pod that says it is an IPv6 router.
        let accept_ra = |interface: &str| {
            let path = format!("/proc/sys/net/ipv6/conf/{interface}/accept_ra");
            move || fs::read_to_string(path).map_or("0".to_owned(), |text| text.trim().to_owned())
        };
        assert_eq!(one.inside("read", accept_ra("eth0")).unwrap(), "0");
        assert_eq!(accept_ra("carpel0")(), "0");

        let mut routes = one.routes().unwrap();
        assert!(
            routes
                .routes()
                .unwrap()
                .iter()
                .any(|route| route.prefix_length == 0
                    && route.gateway == Some(Ipv4Addr::new(10, 63, 0, 1)))
        );
        drop(routes);
        remove(&network, "0123456789abcdef").await;
        remove(&network, "web-2").await;
        assert_eq!(node.counts(), before);
        network.reset().await.unwrap();
        let mut reset = node.counts();
        // The namespace directory stays a mount, as others use it too.
        reset.entry("mounts").and_modify(|mounts| *mounts -= 1);
        assert_eq!(reset, empty);
    });
}

#[test]
fn root_a_start_changes_the_node_once_and_says_so() {
    on_a_node(|node| async move {
        fs::OpenOptions::new()
            .write(true)
            .open("/proc/sys/net/ipv4/ip_forward")
            .unwrap()
            .write_all(b"0")
            .unwrap();
        let status = node.start(&[]).await.status().await;
        assert!(status.ready, "{status:?}");
        assert_eq!(
            status.changes,
            [
                "created the bridge carpel0",
                "set net.ipv4.ip_forward to 1: the node now forwards IPv4 packets",
                "created the nf_tables table inet carpel, which masquerades 10.63.0.0/16",
            ]
        );
        assert_eq!(status.warnings, [""; 0]);
        let before = node.counts();
        let again = node.start(&[]).await.status().await;
        assert!(again.ready);
        assert_eq!(again.changes, [""; 0]);
        assert_eq!(node.counts(), before);
    });
}

#[test]
fn root_what_a_dead_daemon_left_is_removed_and_what_lives_is_kept() {
    on_a_node(|node| async move {
        let network = node.start(&[]).await;
        drop(network.create_namespace("first").await.unwrap());
        network.remove_namespace("first").await.unwrap();
        let (live, at) = pod(&network, "live").await;
        let before = node.counts();
        drop(pod(&network, "dead").await);
        drop(network.create_namespace("unattached").await.unwrap());
        // A daemon that died between the record and the interface.
        let started = record::Event::AddStarted {
            attachment: at.clone(),
            host_interface: "carpel0badcafe".to_owned(),
        };
        let records = record::Records::open(&node.config().state_directory).unwrap();
        drop(records.append("half", &started).unwrap());
        drop(network);

        let network = node.start(&["live", "unheard-of"]).await;
        assert_eq!(node.counts(), before);
        assert_eq!(network.attachment("live"), Some(at.clone()));
        assert_eq!(network.attachment("dead"), None);
        let again = network.open_namespace("live").await.unwrap();
        greet(None, Some(&again), at.address);
        assert_eq!(
            network.open_namespace("dead").await.unwrap_err().kind(),
            NetworkErrorKind::NotFound
        );
        let (_, other) = pod(&network, "new").await;
        assert_ne!(other.address, at.address);
        drop(live);
    });
}

#[test]
fn root_an_attach_that_was_interrupted_can_be_detached() {
    on_a_node(|node| async move {
        let network = node.start(&[]).await;
        let (namespace, _) = pod(&network, "pod").await;
        drop(network);
        let file = node.config().state_directory.join("network/pod");
        let text = fs::read_to_string(&file).unwrap();
        let torn = text.replace("{\"event\":\"attached\"}\n", "{\"event\":\"att");
        assert_ne!(text, torn);
        fs::File::create(&file)
            .unwrap()
            .write_all(torn.as_bytes())
            .unwrap();

        let network = node.start(&["pod"]).await;
        assert_eq!(network.attachment("pod"), None);
        let error = network.attach("pod", &namespace).await.unwrap_err();
        assert_eq!(error.to_string(), "sandbox pod is being released");
        remove(&network, "pod").await;
        assert_eq!(node.counts()["records"], 0);
        assert_eq!(node.counts()["links"], 2);
    });
}

#[test]
fn root_detach_can_be_said_twice_and_without_a_namespace() {
    on_a_node(|node| async move {
        let network = node.start(&[]).await;
        let (namespace, _) = pod(&network, "pod").await;
        drop(namespace);
        network.remove_namespace("pod").await.unwrap();
        network.detach("pod").await.unwrap();
        network.detach("pod").await.unwrap();
        network.wait_released("pod").await;
        network.detach("pod").await.unwrap();
        network.wait_released("pod").await;
        network.detach("never-there").await.unwrap();
        network.wait_released("never-there").await;
        network.remove_namespace("pod").await.unwrap();
        assert_eq!(node.counts()["records"], 0);
        assert_eq!(node.counts()["links"], 2);
    });
}

#[test]
fn root_an_address_in_the_subnet_is_a_conflict_before_anything_changes() {
    on_a_node(|node| async move {
        let mut routes = RouteSocket::open().unwrap();
        routes
            .create_bridge("office", [2, 0, 0, 0, 0, 1], 1500)
            .unwrap();
        let index = routes.link("office").unwrap().unwrap().index;
        let address = InterfaceAddress {
            index,
            address: Ipv4Addr::new(10, 63, 7, 1),
            prefix_length: 24,
        };
        routes.add_address(&address).unwrap();
        let before = node.counts();
        let error = Network::start(node.config(), &BTreeSet::new())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), NetworkErrorKind::Conflict);
        assert_eq!(
            error.to_string(),
            "the pod subnet 10.63.0.0/16 overlaps 10.63.7.1/24 of interface office; choose another with network.subnet"
        );
        let mut after = node.counts();
        after.insert("records", before["records"]);
        assert_eq!(after, before);

        // Without the address, a route of another interface.
        routes.remove_address(&address).unwrap();
        routes.set_up(index).unwrap();
        let elsewhere = InterfaceAddress {
            address: Ipv4Addr::new(10, 0, 0, 1),
            prefix_length: 8,
            ..address
        };
        routes.add_address(&elsewhere).unwrap();
        let error = Network::start(node.config(), &BTreeSet::new())
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("10.0.0.1/8 of interface office"),
            "{error}"
        );
    });
}

#[test]
fn root_a_bridge_name_that_is_taken_is_a_conflict() {
    on_a_node(|node| async move {
        let config = NetworkConfig {
            bridge: "lo".to_owned(),
            ..node.config()
        };
        let error = Network::start(config, &BTreeSet::new()).await.unwrap_err();
        assert_eq!(error.kind(), NetworkErrorKind::Conflict);
        let config = NetworkConfig {
            bridge: "a/b".to_owned(),
            ..node.config()
        };
        let error = Network::start(config, &BTreeSet::new()).await.unwrap_err();
        assert_eq!(error.kind(), NetworkErrorKind::InvalidArgument);
    });
}

#[test]
fn root_a_full_subnet_says_so_and_recovers() {
    on_a_node(|node| async move {
        let config = NetworkConfig {
            subnet: "10.63.0.0/29".parse().unwrap(),
            ..node.config()
        };
        let network = Network::start(config, &BTreeSet::new()).await.unwrap();
        for sandbox in ["a", "b", "c", "d", "e"] {
            drop(pod(&network, sandbox).await);
        }
        let namespace = network.create_namespace("f").await.unwrap();
        let error = network.attach("f", &namespace).await.unwrap_err();
        assert_eq!(error.kind(), NetworkErrorKind::Exhausted);
        assert_eq!(
            error.to_string(),
            "all 5 pod addresses of 10.63.0.0/29 are in use"
        );
        network.detach("c").await.unwrap();
        network.wait_released("c").await;
        let attachment = network.attach("f", &namespace).await.unwrap();
        assert_eq!(attachment.address, IpAddr::from([10, 63, 0, 4]));
    });
}

#[test]
fn root_without_the_built_in_network_there_are_namespaces_only() {
    on_a_node(|node| async move {
        let config = NetworkConfig {
            built_in: BuiltIn::Disabled,
            ..node.config()
        };
        let network = Network::start(config, &BTreeSet::new()).await.unwrap();
        let status = network.status().await;
        assert_eq!(
            (status.ready, status.reason.as_str()),
            (false, "NetworkPluginNotReady")
        );
        let namespace = network.create_namespace("pod").await.unwrap();
        assert_eq!(
            network.attach("pod", &namespace).await.unwrap_err().kind(),
            NetworkErrorKind::NotReady
        );
        assert_eq!(
            network.create_namespace("pod").await.unwrap_err().kind(),
            NetworkErrorKind::Conflict
        );
        remove(&network, "pod").await;
        assert_eq!(node.counts()["links"], 1);
        assert_eq!(node.counts()["records"], 0);
        for id in ["", "..", "a/b", ".hidden"] {
            let error = network.create_namespace(id).await.unwrap_err();
            assert_eq!(error.kind(), NetworkErrorKind::InvalidArgument);
        }
    });
}

#[test]
fn root_sysctls_are_set_inside_and_refusals_name_them() {
    on_a_node(|node| async move {
        let network = node.start(&[]).await;
        let namespace = network.create_namespace("pod").await.unwrap();
        let sysctls = |entries: &[(&str, &str)]| -> BTreeMap<String, String> {
            entries
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        network
            .apply_sysctls(
                &namespace,
                &sysctls(&[
                    ("net.ipv4.ip_unprivileged_port_start", "0"),
                    ("net.ipv4.ping_group_range", "0 2147483647"),
                ]),
            )
            .await
            .unwrap();
        let read = |name: &str| {
            let path = Path::new("/proc/sys/net/ipv4").join(name);
            move || fs::read_to_string(path).unwrap().trim().to_owned()
        };
        let inside = namespace
            .inside("read", read("ip_unprivileged_port_start"))
            .unwrap();
        assert_eq!(inside, "0");
        assert_eq!(
            namespace.inside("read", read("ping_group_range")).unwrap(),
            "0\t2147483647"
        );
        assert_eq!(read("ip_unprivileged_port_start")(), "1024");
        let refused = |entries| {
            let (network, namespace) = (network.clone(), namespace.clone());
            async move {
                network
                    .apply_sysctls(&namespace, &entries)
                    .await
                    .unwrap_err()
            }
        };
        let error = refused(sysctls(&[("kernel.hostname", "x")])).await;
        assert_eq!(error.kind(), NetworkErrorKind::InvalidArgument);
        let error = refused(sysctls(&[("net.ipv4.no_such_thing", "1")])).await;
        assert_eq!(
            error.to_string(),
            "set sysctl net.ipv4.no_such_thing to \"1\""
        );
        assert_eq!(error.kind(), NetworkErrorKind::System { errno: Some(2) });
    });
}

#[test]
fn root_a_full_disk_is_an_error_that_leaves_nothing() {
    on_a_node(|node| async move {
        let state = node.config().state_directory;
        fs::create_dir(&state).unwrap();
        mount(
            "none",
            &state,
            "tmpfs",
            MountFlags::empty(),
            Some(c"size=64k"),
        )
        .unwrap();
        let network = node.start(&[]).await;
        drop(network.create_namespace("first").await.unwrap());
        network.remove_namespace("first").await.unwrap();
        let before = node.counts();
        let mut filler = fs::File::create(state.join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        let error = network.create_namespace("pod").await.unwrap_err();
        assert_eq!(error.kind(), NetworkErrorKind::System { errno: Some(28) });
        assert_eq!(
            error.to_string(),
            format!("write the record {}", state.join("network/pod").display())
        );
        assert_eq!(node.counts(), before);
        drop(filler);
        fs::remove_file(state.join("filler")).unwrap();
        drop(pod(&network, "pod").await);
        remove(&network, "pod").await;
        assert_eq!(node.counts(), before);
        unmount(&state, UnmountFlags::DETACH).unwrap();
    });
}

#[test]
fn root_ip_netns_and_we_share_a_directory() {
    fn ip(arguments: &[&str]) -> Option<String> {
        let output = match std::process::Command::new("ip").args(arguments).output() {
            Ok(output) => output,
            Err(error) => {
                println!("SKIP ip: {error}");
                return None;
            }
        };
        assert!(output.status.success(), "ip {arguments:?}: {output:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    }
    on_a_node(|node| async move {
        mount("none", "/run", "tmpfs", MountFlags::empty(), None).unwrap();
        if ip(&["netns", "add", "other"]).is_none() {
            return;
        }
        let config = NetworkConfig {
            namespace_directory: NetworkConfig::default().namespace_directory,
            ..node.config()
        };
        let network = Network::start(config, &BTreeSet::new()).await.unwrap();
        let (namespace, _) = pod(&network, "pod").await;
        assert_eq!(namespace.path(), Path::new("/run/netns/carpel-pod"));
        let names = || -> BTreeSet<String> {
            let text = ip(&["netns", "list"]).unwrap();
            text.lines()
                .filter_map(|line| line.split_whitespace().next())
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(
            names(),
            BTreeSet::from(["other".into(), "carpel-pod".into()])
        );
        let shown = ip(&["-n", "carpel-pod", "-o", "address", "show"]).unwrap();
        assert!(shown.contains("lo    inet 127.0.0.1/8"), "{shown}");
        assert!(
            shown.contains("eth0    inet 10.63.0.2/16 brd 10.63.255.255"),
            "{shown}"
        );
        let links = ip(&["-n", "carpel-pod", "-o", "link", "show", "eth0"]).unwrap();
        assert!(links.contains("link/ether 02:ca:0a:3f:00:02"), "{links}");
        drop(namespace);
        remove(&network, "pod").await;
        assert_eq!(names(), BTreeSet::from(["other".into()]));
        ip(&["netns", "delete", "other"]).unwrap();
    });
}

#[test]
fn root_a_bridge_that_somebody_deleted_is_made_again() {
    on_a_node(|node| async move {
        let network = node.start(&[]).await;
        let (one, _) = pod(&network, "one").await;
        let mut routes = RouteSocket::open().unwrap();
        routes.delete_link("carpel0").unwrap();
        let (two, at_two) = pod(&network, "two").await;
        greet(None, Some(&two), at_two.address);
        routes.delete_link("carpel0").unwrap();
        assert!(network.status().await.ready);
        // A restart makes the interfaces of living pods ports of the new bridge.
        drop(network);
        let network = node.start(&["one", "two"]).await;
        greet(Some(&one), Some(&two), at_two.address);
        assert_eq!(network.attachment("two"), Some(at_two));
    });
}

#[test]
fn root_fifty_pods_by_ten_workers_get_fifty_addresses() {
    on_a_node(|node| async move {
        // Threads of this runtime are born on the node's thread, so they are in its namespaces.
        let workers = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let network = node.start(&[]).await;
        drop(network.create_namespace("first").await.unwrap());
        network.remove_namespace("first").await.unwrap();
        let before = node.counts();
        let started = Instant::now();
        let up: Vec<_> = (0..10)
            .map(|worker| {
                let network = network.clone();
                workers.spawn(async move {
                    let mut pods = Vec::new();
                    for number in 0..5 {
                        let sandbox = format!("{worker}-{number}");
                        let namespace = network.create_namespace(&sandbox).await.unwrap();
                        let attaching = Instant::now();
                        let attachment = network.attach(&sandbox, &namespace).await.unwrap();
                        pods.push((sandbox, attachment, attaching.elapsed()));
                    }
                    pods
                })
            })
            .collect();
        let mut pods = Vec::new();
        for worker in up {
            pods.extend(worker.await.unwrap());
        }
        let all_up = started.elapsed();
        let addresses: BTreeSet<IpAddr> = pods.iter().map(|(_, at, _)| at.address).collect();
        assert_eq!(addresses.len(), 50);
        let started = Instant::now();
        let down: Vec<_> = pods
            .iter()
            .map(|(sandbox, _, _)| {
                let (network, sandbox) = (network.clone(), sandbox.clone());
                workers.spawn(async move { remove(&network, &sandbox).await })
            })
            .collect();
        for sandbox in down {
            sandbox.await.unwrap();
        }
        let mut attaching: Vec<Duration> = pods.iter().map(|(_, _, took)| *took).collect();
        attaching.sort();
        println!(
            "50 up {all_up:?}, attach median {:?} worst {:?}, 50 down {:?}",
            attaching[25],
            attaching[49],
            started.elapsed()
        );
        assert_eq!(node.counts(), before);
        workers.shutdown_background();
    });
}

#[test]
#[ignore = "a measurement: run it alone, in release"]
fn root_measure_one_pod_after_the_other() {
    on_a_node(|node| async move {
        let network = node.start(&[]).await;
        let mut steps = [const { Vec::new() }; 5];
        for number in 0..200 {
            let sandbox = format!("pod-{number}");
            let started = Instant::now();
            let namespace = network.create_namespace(&sandbox).await.unwrap();
            steps[0].push(started.elapsed());
            let started = Instant::now();
            drop(network.attach(&sandbox, &namespace).await.unwrap());
            steps[1].push(started.elapsed());
            let started = Instant::now();
            network.detach(&sandbox).await.unwrap();
            steps[2].push(started.elapsed());
            let started = Instant::now();
            network.wait_released(&sandbox).await;
            steps[3].push(started.elapsed());
            drop(namespace);
            let started = Instant::now();
            network.remove_namespace(&sandbox).await.unwrap();
            steps[4].push(started.elapsed());
        }
        for (step, name) in steps.iter_mut().zip([
            "namespace",
            "attach",
            "detach",
            "released",
            "remove_namespace",
        ]) {
            step.sort();
            println!("{name}: median {:?} p99 {:?}", step[100], step[197]);
        }
    });
}
