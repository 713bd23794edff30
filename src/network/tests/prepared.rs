//! Networks that are made ahead: taken by pods, refilled, dropped, and gone with the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use super::super::{Network, NetworkConfig, NetworkNamespace};
use super::ports::{AT_PORT_8080, tcp};
use super::{Node, greet, on_a_node, remove, without_nat};

async fn start(node: &Node, prepared: usize, live: &[&str]) -> Network {
    let config = NetworkConfig {
        prepared,
        ..node.config()
    };
    let live: BTreeSet<String> = live.iter().map(ToString::to_string).collect();
    Network::start(config, &live).await.unwrap()
}

async fn until_prepared(network: &Network, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while network.prepared() != count {
        assert!(Instant::now() < deadline, "never {count} in stock");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn sysctls(value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(
        "net.ipv4.ip_unprivileged_port_start".to_owned(),
        value.to_owned(),
    )])
}

fn port_start(namespace: &NetworkNamespace) -> String {
    let read = || fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    namespace.inside("read", read).unwrap().trim().to_owned()
}

#[test]
fn root_a_pod_takes_what_was_prepared_and_leaves_nothing_of_it() {
    on_a_node(|node| async move {
        let empty = node.counts();
        let network = start(&node, 2, &[]).await;
        if without_nat(&network).await {
            return;
        }
        until_prepared(&network, 2).await;
        let namespace = network
            .create_namespace_with("web", &sysctls("7"))
            .await
            .unwrap();
        let path = node.config().namespace_directory.join("carpel-web");
        assert_eq!(namespace.path(), path);
        assert_eq!(port_start(&namespace), "7");
        let at_web = network.attachment("web").expect("it was prepared");
        let ports = [AT_PORT_8080];
        let again = network.attach("web", &namespace, &ports).await.unwrap();
        assert_eq!(again, at_web);
        greet(None, Some(&namespace), at_web.address);
        assert!(tcp(None, &namespace, 80, "127.0.0.1:8080".parse().unwrap()).is_ok());
        until_prepared(&network, 2).await;
        // A restart finds the pod by its own name, and nothing else.
        drop(network);
        let network = start(&node, 0, &["web"]).await;
        assert_eq!(network.attachment("web"), Some(at_web.clone()));
        assert_eq!(node.counts()["records"], 1);
        greet(None, Some(&namespace), at_web.address);
        drop(namespace);
        remove(&network, "web").await;
        network.reset().await.unwrap();
        let mut reset = node.counts();
        // The namespace directory stays a mount, as others use it too.
        reset.entry("mounts").and_modify(|mounts| *mounts -= 1);
        assert_eq!(reset, empty);
    });
}

#[test]
fn root_a_pod_has_no_sysctl_that_another_asked_for() {
    on_a_node(|node| async move {
        let network = start(&node, 1, &[]).await;
        until_prepared(&network, 1).await;
        drop(network.create_namespace_with("one", &sysctls("7")).await);
        // The next one is prepared with what the last pod had.
        until_prepared(&network, 1).await;
        let same = network.create_namespace_with("same", &sysctls("7")).await;
        assert_eq!(port_start(&same.unwrap()), "7");
        assert!(network.attachment("same").is_some());
        until_prepared(&network, 1).await;
        let other = network.create_namespace_with("other", &sysctls("8")).await;
        assert_eq!(port_start(&other.unwrap()), "8");
        assert_eq!(network.attachment("other"), None);
        let none = network.create_namespace("none").await.unwrap();
        assert_eq!(port_start(&none), "1024");
        assert_eq!(network.attachment("none"), None);
        assert!(network.attach("none", &none, &[]).await.is_ok());
        drop(none);
        // What nobody wants any more made room. One that was being made for "other" meanwhile makes room in turn.
        until_prepared(&network, 1).await;
        drop(network.create_namespace("like-none").await.unwrap());
        if network.attachment("like-none").is_none() {
            remove(&network, "like-none").await;
            until_prepared(&network, 1).await;
            drop(network.create_namespace("like-none").await.unwrap());
        }
        assert!(network.attachment("like-none").is_some());
        // Defaults are for interfaces that come later, so the interface must not be there.
        until_prepared(&network, 1).await;
        let name = "net.ipv4.conf.default.forwarding".to_owned();
        let defaults = BTreeMap::from([(name, "1".to_owned())]);
        let made = network.create_namespace_with("defaults", &defaults).await;
        drop(made.unwrap());
        assert_eq!(network.attachment("defaults"), None);
        for sandbox in ["one", "same", "other", "none", "like-none", "defaults"] {
            remove(&network, sandbox).await;
        }
        network.reset().await.unwrap();
        assert_eq!(node.counts()["links"], 1);
    });
}

#[test]
fn root_what_is_prepared_leaves_addresses_to_pods() {
    on_a_node(|node| async move {
        let config = NetworkConfig {
            prepared: 2,
            subnet: "10.63.0.0/29".parse().unwrap(),
            ..node.config()
        };
        let network = Network::start(config, &BTreeSet::new()).await.unwrap();
        for sandbox in ["a", "b", "c", "d", "e"] {
            let namespace = network.create_namespace(sandbox).await.unwrap();
            network.attach(sandbox, &namespace, &[]).await.unwrap();
        }
        assert_eq!(network.prepared(), 0);
    });
}

#[test]
fn root_a_crowd_takes_what_there_is_and_makes_the_rest() {
    on_a_node(|node| async move {
        let network = start(&node, 2, &[]).await;
        until_prepared(&network, 2).await;
        let mut addresses = BTreeSet::new();
        for number in 0..6 {
            let sandbox = format!("pod-{number}");
            let namespace = network.create_namespace(&sandbox).await.unwrap();
            let attachment = network.attach(&sandbox, &namespace, &[]).await.unwrap();
            greet(None, Some(&namespace), attachment.address);
            addresses.insert(attachment.address);
        }
        assert_eq!(addresses.len(), 6);
        for number in 0..6 {
            remove(&network, &format!("pod-{number}")).await;
        }
        until_prepared(&network, 2).await;
        // lo, the bridge, and the two that are prepared.
        let counts = node.counts();
        assert_eq!((counts["records"], counts["links"]), (2, 4), "{counts:?}");
        assert_eq!(counts["namespaces"], 0);
        network.reset().await.unwrap();
        assert_eq!(node.counts()["links"], 1);
    });
}
