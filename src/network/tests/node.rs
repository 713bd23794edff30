//! The node: what a start changes, what is in its way, who shares the namespace directory.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;

use rustix::mount::{MountFlags, mount};

use super::super::route::{InterfaceAddress, RouteSocket};
use super::super::{Mode, Network, NetworkConfig, NetworkErrorKind};
use super::{on_a_node, pod, remove, without_nat};

#[test]
fn root_a_start_changes_the_node_once_and_says_so() {
    on_a_node(|node| async move {
        fs::OpenOptions::new()
            .write(true)
            .open("/proc/sys/net/ipv4/ip_forward")
            .unwrap()
            .write_all(b"0")
            .unwrap();
        let network = node.start(&[]).await;
        if without_nat(&network).await {
            return;
        }
        let status = network.status().await;
        assert!(status.ready, "{status:?}");
        assert_eq!(status.warnings, [""; 0]);
        assert_eq!(
            status.changes,
            [
                "created the bridge carpel0",
                "set net.ipv4.ip_forward to 1: the node now forwards IPv4 packets",
                "created the nf_tables table inet carpel, which masquerades 10.63.0.0/16",
            ]
        );
        let before = node.counts();
        let again = node.start(&[]).await.status().await;
        assert!(again.ready);
        assert_eq!(again.changes, [""; 0]);
        assert_eq!(node.counts(), before);
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
            address: IpAddr::from([10, 63, 7, 1]),
            prefix_length: 24,
        };
        routes.add_address(&address).unwrap();
        let before = node.counts();
        let network = node.start(&[]).await;
        let status = network.status().await;
        assert_eq!(
            (
                status.ready,
                status.reason.as_str(),
                status.message.as_str()
            ),
            (
                false,
                "NetworkPluginNotReady",
                "the pod subnet 10.63.0.0/16 overlaps 10.63.7.1/24 of interface office; choose another with \
                 network.subnet"
            )
        );
        let namespace = network.create_namespace("pod").await.unwrap();
        let error = network.attach("pod", &namespace, &[]).await.unwrap_err();
        assert_eq!(error.kind(), NetworkErrorKind::Conflict);
        drop(namespace);
        remove(&network, "pod").await;
        let mut after = node.counts();
        // The directory of namespaces was made a mount.
        after.insert("mounts", before["mounts"]);
        assert_eq!(after, before);

        // Without the address, a route of another interface.
        routes.remove_address(&address).unwrap();
        routes.set_up(index).unwrap();
        let elsewhere = InterfaceAddress {
            address: IpAddr::from([10, 0, 0, 1]),
            prefix_length: 8,
            ..address
        };
        routes.add_address(&elsewhere).unwrap();
        let status = network.status().await;
        assert!(
            status.message.contains("10.0.0.1/8 of interface office"),
            "{status:?}"
        );
        // Once the way is free, the network is ready without a restart.
        routes.remove_address(&elsewhere).unwrap();
        let status = network.status().await;
        assert!(status.ready, "{status:?}");
        drop(pod(&network, "pod").await);
    });
}

#[test]
fn root_a_bridge_name_that_is_taken_is_a_conflict() {
    on_a_node(|node| async move {
        let named = |bridge: &str| NetworkConfig {
            bridge: bridge.to_owned(),
            ..node.config()
        };
        let mut routes = RouteSocket::open().unwrap();
        routes
            .create_bridge("office", [2, 0, 0, 0, 0, 1], 1500)
            .unwrap();
        let index = routes.link("office").unwrap().unwrap().index;
        let address = InterfaceAddress {
            index,
            address: IpAddr::from([192, 0, 2, 1]),
            prefix_length: 24,
        };
        routes.add_address(&address).unwrap();
        let before = node.counts();
        for (bridge, expected) in [
            (
                "lo",
                "interface lo exists and is not a bridge but \"\"; choose another network.bridge",
            ),
            (
                "office",
                "the bridge office exists and was made by another program (its hardware address is \
                 02:00:00:00:00:01); choose another network.bridge",
            ),
        ] {
            let network = Network::start(named(bridge), &BTreeSet::new())
                .await
                .unwrap();
            let status = network.status().await;
            assert_eq!((status.ready, status.message.as_str()), (false, expected));
            // A reset leaves it alone as well.
            network.reset().await.unwrap();
        }
        assert_eq!(node.counts(), before);
        let error = Network::start(named("a/b"), &BTreeSet::new())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), NetworkErrorKind::InvalidArgument);
    });
}

#[test]
fn root_without_the_built_in_network_there_are_namespaces_only() {
    on_a_node(|node| async move {
        let config = NetworkConfig {
            mode: Mode::None,
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
            network
                .attach("pod", &namespace, &[])
                .await
                .unwrap_err()
                .kind(),
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
