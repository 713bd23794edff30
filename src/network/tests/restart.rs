//! A daemon that died, and a bridge that somebody deleted.

use std::fs;
use std::io::Write;

use super::super::route::RouteSocket;
use super::super::{NetworkErrorKind, namespace, nftables, record};
use super::ports::{AT_PORT_8080, tcp};
use super::{greet, on_a_node, pod, pod_with_ports, remove, without_nat};

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
        let error = network.attach("pod", &namespace, &[]).await.unwrap_err();
        assert_eq!(error.to_string(), "sandbox pod is being released");
        remove(&network, "pod").await;
        assert_eq!(node.counts()["records"], 0);
        assert_eq!(node.counts()["links"], 2);
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
fn root_after_a_reboot_addresses_and_ports_of_the_pods_before_are_free() {
    on_a_node(|node| async move {
        let network = node.start(&[]).await;
        if without_nat(&network).await {
            return;
        }
        let (namespace, at_old) = pod_with_ports(&network, "old", &[AT_PORT_8080]).await;
        drop((network, namespace));
        // What a reboot takes: interfaces, rules, mounts. The sandbox itself is still known.
        let mut routes = RouteSocket::open().unwrap();
        for link in routes.links().unwrap().iter().filter(|link| !link.loopback) {
            // The other end of a pair may have gone with the first.
            routes.delete_link(&link.name).ok();
        }
        nftables::delete_table("carpel").unwrap();
        namespace::remove(&node.config().namespace_directory.join("carpel-old")).unwrap();

        let network = node.start(&["old"]).await;
        assert_eq!(network.attachment("old"), None);
        let (new, at_new) = pod_with_ports(&network, "new", &[AT_PORT_8080]).await;
        assert_eq!(at_new.address, at_old.address);
        assert!(tcp(None, &new, 80, "127.0.0.1:8080".parse().unwrap()).is_ok());
        drop(new);
        remove(&network, "old").await;
        remove(&network, "new").await;
        let counts = node.counts();
        assert_eq!((counts["records"], counts["namespaces"]), (0, 0));
    });
}
