//! Pods with an IPv6 address beside the IPv4 one.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::super::route::RouteSocket;
use super::super::{HostPort, Network, NetworkConfig, NetworkErrorKind, sysctl};
use super::ports::{AT_PORT_8080, address, tcp};
use super::{Node, greet, on_a_node, outside, pod, pod_with_ports, remove, without_nat};

fn config(node: &Node) -> NetworkConfig {
    NetworkConfig {
        subnet_v6: Some("fd63:6361:7270::/64".parse().unwrap()),
        ..node.config()
    }
}

async fn start(node: &Node, live: &[&str]) -> Network {
    let live: BTreeSet<String> = live.iter().map(ToString::to_string).collect();
    Network::start(config(node), &live).await.unwrap()
}

fn without_ipv6() -> bool {
    let missing = !Path::new("/proc/sys/net/ipv6").exists();
    if missing {
        println!("SKIP the kernel has no IPv6");
    }
    missing
}

fn read(name: &str) -> String {
    let text = fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap();
    text.trim().to_owned()
}

#[test]
fn root_pods_have_both_families_to_each_other_and_beyond() {
    on_a_node(|node| async move {
        if without_ipv6() {
            return;
        }
        let network = start(&node, &[]).await;
        if without_nat(&network).await {
            return;
        }
        let outside = outside(&network).await;
        let (one, at_one) = pod(&network, "one").await;
        let (two, at_two) = pod(&network, "two").await;
        let texts = |addresses: Vec<std::net::IpAddr>| -> Vec<String> {
            addresses.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            texts(at_one.addresses()),
            ["10.63.0.2", "fd63:6361:7270::2"]
        );
        assert_eq!(
            texts(at_two.addresses()),
            ["10.63.0.3", "fd63:6361:7270::3"]
        );
        for to in at_two.addresses() {
            greet(Some(&one), Some(&two), to);
            greet(None, Some(&two), to);
        }
        greet(Some(&one), None, address("fd63:6361:7270::1"));
        // A host beyond the node sees the node.
        let to: SocketAddr = "[2001:db8::2]:80".parse().unwrap();
        assert_eq!(
            tcp(Some(&one), &outside, 80, to).unwrap(),
            address("2001:db8::1")
        );
        // A restart knows both.
        drop(network);
        let network = start(&node, &["one", "two"]).await;
        assert_eq!(network.attachment("one"), Some(at_one));
        greet(Some(&two), Some(&one), address("fd63:6361:7270::2"));
    });
}

#[test]
fn root_a_host_port_has_both_families() {
    on_a_node(|node| async move {
        if without_ipv6() {
            return;
        }
        let network = start(&node, &[]).await;
        if without_nat(&network).await {
            return;
        }
        let outside = outside(&network).await;
        let six_only = HostPort {
            host_address: Some(address("::")),
            host_port: 8081,
            ..AT_PORT_8080
        };
        let one_address = HostPort {
            host_address: Some(address("2001:db8::1")),
            host_port: 8082,
            ..AT_PORT_8080
        };
        let ports = [AT_PORT_8080, six_only, one_address];
        let (web, _) = pod_with_ports(&network, "web", &ports).await;
        let (other, _) = pod(&network, "other").await;
        for filter in ["0", "1"] {
            // Whether or not the kernel has br_netfilter.
            drop(sysctl::write(
                "/proc/sys/net/bridge/bridge-nf-call-ip6tables".as_ref(),
                filter,
            ));
            for (client, to, seen) in [
                (Some(&outside), "192.0.2.1:8080", "192.0.2.2"),
                (Some(&outside), "[2001:db8::1]:8080", "2001:db8::2"),
                (Some(&outside), "[2001:db8::1]:8081", "2001:db8::2"),
                (Some(&outside), "[2001:db8::1]:8082", "2001:db8::2"),
                (Some(&other), "[2001:db8::1]:8082", "fd63:6361:7270::1"),
                (
                    Some(&other),
                    "[fd63:6361:7270::1]:8080",
                    "fd63:6361:7270::1",
                ),
                (Some(&web), "[fd63:6361:7270::1]:8080", "fd63:6361:7270::1"),
                (None, "[2001:db8::1]:8080", "2001:db8::1"),
                (None, "127.0.0.1:8080", "10.63.0.1"),
            ] {
                for round in 0..2 {
                    let what = format!("{to}, filter {filter}, round {round}");
                    let saw = tcp(client, &web, 80, to.parse().unwrap());
                    assert_eq!(saw.expect(&what), address(seen), "{what}");
                }
            }
        }
        assert!(tcp(Some(&outside), &web, 80, "192.0.2.1:8081".parse().unwrap()).is_err());
    });
}

#[test]
fn root_an_ipv6_host_address_needs_an_ipv6_subnet() {
    on_a_node(|node| async move {
        let network = node.start(&[]).await;
        let namespace = network.create_namespace("pod").await.unwrap();
        let before = node.counts();
        let port = HostPort {
            host_address: Some(address("::1")),
            ..AT_PORT_8080
        };
        let error = network
            .attach("pod", &namespace, &[port])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), NetworkErrorKind::InvalidArgument);
        assert_eq!(node.counts(), before);
        // The address was given back.
        let attachment = network.attach("pod", &namespace, &[]).await.unwrap();
        assert_eq!(attachment.addresses().len(), 1);
        let config = NetworkConfig {
            subnet_v6: Some("fd63::/120".parse().unwrap()),
            ..node.config()
        };
        let error = Network::start(config, &BTreeSet::new()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "network.subnet_v6 fd63::/120 has fewer addresses than network.subnet 10.63.0.0/16; choose a shorter \
             prefix"
        );
    });
}

#[test]
fn root_an_ipv6_address_has_one_holder_also_when_the_ipv4_subnet_changed() {
    on_a_node(|node| async move {
        if without_ipv6() {
            return;
        }
        let network = start(&node, &[]).await;
        let (_old, at_old) = pod(&network, "old").await;
        drop(network);
        let changed = NetworkConfig {
            subnet: "10.64.0.0/16".parse().unwrap(),
            ..config(&node)
        };
        let live = BTreeSet::from(["old".to_owned()]);
        let network = Network::start(changed, &live).await.unwrap();
        let (_new, at_new) = pod(&network, "new").await;
        assert_eq!(at_new.address, address("10.64.0.3"));
        assert_ne!(at_new.ipv6, at_old.ipv6);
        remove(&network, "old").await;
        remove(&network, "new").await;
        assert_eq!(node.counts()["records"], 0);
    });
}

#[test]
fn root_a_node_that_forwards_ipv6_goes_on_to_hear_its_routers_until_a_reset() {
    on_a_node(|node| async move {
        if without_ipv6() {
            return;
        }
        let mut routes = RouteSocket::open().unwrap();
        for (name, accept) in [("hears", "1"), ("deaf", "0")] {
            routes
                .create_bridge(name, [2, 0, 0, 0, 0, 1], 1500)
                .unwrap();
            let path = format!("/proc/sys/net/ipv6/conf/{name}/accept_ra");
            sysctl::write(path.as_ref(), accept).unwrap();
        }
        sysctl::write("/proc/sys/net/ipv4/ip_forward".as_ref(), "0").unwrap();
        let accept = |name: &str| read(&format!("net/ipv6/conf/{name}/accept_ra"));
        let before = (accept("hears"), accept("deaf"), accept("default"));
        let counts = node.counts();
        let network = start(&node, &[]).await;
        if without_nat(&network).await {
            return;
        }
        assert_eq!(read("net/ipv6/conf/all/forwarding"), "1");
        assert_eq!(read("net/ipv4/ip_forward"), "1");
        assert_eq!((accept("hears"), accept("deaf")), ("2".into(), "0".into()));
        let changes = network.status().await.changes;
        assert!(
            changes
                .iter()
                .any(|change| change.contains("net.ipv6.conf.all.forwarding to 1")),
            "{changes:?}"
        );
        // What somebody else has changed since stays as it is.
        sysctl::write("/proc/sys/net/ipv6/conf/default/accept_ra".as_ref(), "0").unwrap();
        network.reset().await.unwrap();
        assert_eq!(read("net/ipv6/conf/all/forwarding"), "0");
        assert_eq!(read("net/ipv4/ip_forward"), "0");
        let after = (accept("hears"), accept("deaf"), accept("default"));
        assert_eq!(after, (before.0, before.1, "0".into()));
        assert_eq!(node.counts(), counts);
    });
}
