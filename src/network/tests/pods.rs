//! Pods: what they reach, what they leave, what refuses them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::super::route::RouteSocket;
use super::super::{Network, NetworkConfig, NetworkErrorKind};
use super::{greet, on_a_node, pod, remove};

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
        assert_eq!(network.attach("web-2", &two, &[]).await.unwrap(), at_two);

        // Or the first packets are lost. A bridge that hears of its ports late is what a busy machine shows.
        let ports = RouteSocket::open().unwrap().links().unwrap();
        let forwarding = ports.iter().filter(|link| link.forwarding).count();
        assert_eq!(forwarding, 2, "{ports:?}");
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
                    && route.gateway == Some(IpAddr::from([10, 63, 0, 1])))
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
        let error = network.attach("f", &namespace, &[]).await.unwrap_err();
        assert_eq!(error.kind(), NetworkErrorKind::Exhausted);
        assert_eq!(
            error.to_string(),
            "all 5 pod addresses of 10.63.0.0/29 are in use"
        );
        network.detach("c").await.unwrap();
        network.wait_released("c").await;
        let attachment = network.attach("f", &namespace, &[]).await.unwrap();
        assert_eq!(attachment.address, IpAddr::from([10, 63, 0, 4]));
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
        // Removed alone it would keep its bytes while a process that another test starts has a copy of its descriptor.
        filler.set_len(0).unwrap();
        fs::remove_file(state.join("filler")).unwrap();
        drop(pod(&network, "pod").await);
        remove(&network, "pod").await;
        assert_eq!(node.counts(), before);
        unmount(&state, UnmountFlags::DETACH).unwrap();
    });
}

#[test]
fn root_an_attach_that_fails_leaves_nothing_and_frees_the_address() {
    on_a_node(|node| async move {
        let network = node.start(&[]).await;
        let (taken, _) = pod(&network, "first").await;
        let before = node.counts();
        // The namespace has an eth0 already.
        let error = network.attach("second", &taken, &[]).await.unwrap_err();
        assert_eq!(error.kind(), NetworkErrorKind::System { errno: Some(17) });
        assert!(
            error.to_string().starts_with("create interface carpel"),
            "{error}"
        );
        network.wait_released("second").await;
        assert_eq!(network.attachment("second"), None);
        assert_eq!(node.counts(), before);
        let namespace = network.create_namespace("second").await.unwrap();
        let attachment = network.attach("second", &namespace, &[]).await.unwrap();
        assert_eq!(attachment.address, IpAddr::from([10, 63, 0, 4]));
    });
}

#[test]
fn root_a_detach_in_the_middle_of_an_attach_leaves_nothing() {
    on_a_node(|node| async move {
        let network = node.start(&[]).await;
        drop(network.create_namespace("first").await.unwrap());
        network.remove_namespace("first").await.unwrap();
        let before = node.counts();
        let mut refused = 0;
        for number in 0..40 {
            let sandbox = format!("pod-{number}");
            let namespace = network.create_namespace(&sandbox).await.unwrap();
            let attach = network.attach(&sandbox, &namespace, &[]);
            // The caller gives up: at once, or a little later each time.
            let patience = Duration::from_micros(number * 50);
            refused += i32::from(match number % 4 {
                0 => attach.now_or_never().is_none(),
                _ => tokio::time::timeout(patience, attach).await.is_err(),
            });
            remove(&network, &sandbox).await;
            assert_eq!(network.attachment(&sandbox), None);
        }
        assert!(
            refused > 0,
            "every attach was quicker than its caller's patience"
        );
        assert_eq!(node.counts(), before);
    });
}
