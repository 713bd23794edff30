//! What a pod asks for by annotations, CNI's capabilities, seen at its interface and by its traffic.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::route::RouteSocket;
use super::super::{NetworkNamespace, PodRequest, Resolver};
use super::cni::{cni_pod, comes_and_goes, remove_cni, without_plugins};
use super::{greet, on_a_node};

fn annotated<const COUNT: usize>(annotations: [(&str, &str); COUNT]) -> PodRequest {
    let annotations = annotations.map(|(name, text)| (name.to_owned(), text.to_owned()));
    PodRequest {
        annotations: BTreeMap::from(annotations),
        ..PodRequest::default()
    }
}

/// What a program of iproute2 prints as JSON, in the node or in a pod.
fn iproute(namespace: Option<&NetworkNamespace>, program: &str, arguments: &[&str]) -> Value {
    let run = || Command::new(program).arg("-j").args(arguments).output();
    let output = match namespace {
        Some(namespace) => namespace.inside("look", run).unwrap(),
        None => run(),
    };
    serde_json::from_slice(&output.unwrap().stdout).unwrap()
}

#[test]
fn root_cni_a_pod_has_the_addresses_and_the_mac_that_it_asks_for() {
    if without_plugins(&["bridge", "host-local", "tuning"]) {
        return;
    }
    on_a_node(|node| async move {
        let mut bridge = node.bridge(&["10.88.0.0/16", "fd00:88::/64"]);
        bridge["capabilities"] = json!({ "ips": true });
        let tuning = json!({ "type": "tuning", "capabilities": { "mac": true } });
        node.configure("1.0.0", &json!([bridge, tuning]));
        let pod = annotated([
            ("network.carpel/ips", "10.88.0.77/16, fd00:88::77/64"),
            ("network.carpel/mac", "02:ab:cd:00:00:07"),
        ]);
        comes_and_goes(&node, &pod, |namespace, addresses| {
            let asked = ["10.88.0.77", "fd00:88::77"].map(|text| text.parse::<IpAddr>().unwrap());
            assert_eq!(addresses, asked);
            let links = iproute(Some(namespace), "ip", &["address", "show", "eth0"]);
            assert_eq!(links[0]["address"], "02:ab:cd:00:00:07");
            let there = links[0]["addr_info"].as_array().unwrap().iter();
            let there: Vec<_> = there.map(|info| info["local"].clone()).collect();
            assert!(
                asked.iter().all(|asked| there.contains(&json!(asked))),
                "{there:?}"
            );
            greet(None, Some(namespace), addresses[0]);
        })
        .await;
    });
}

#[test]
fn root_cni_a_pod_has_the_bandwidth_that_it_asks_for() {
    /// What may come at once, in bytes: the burst that Kubernetes has always asked for.
    const BURST: u64 = (1 << 31) / 8;
    /// 10 Mbit, in bytes a second.
    const RATE: u64 = 1_250_000;
    if without_plugins(&["bridge", "host-local", "bandwidth"]) {
        return;
    }
    on_a_node(|node| async move {
        let added = Command::new("ip")
            .args(["link", "add", "probe", "type", "ifb"])
            .output();
        if added.is_ok_and(|output| !output.status.success()) {
            println!("SKIP the kernel has no ifb interfaces");
            return;
        }
        let mut routes = RouteSocket::open().unwrap();
        routes.delete_link("probe").unwrap();
        let bandwidth = json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } });
        node.configure("1.0.0", &json!([node.bridge(&["10.88.0.0/16"]), bandwidth]));
        let pod = annotated([
            ("kubernetes.io/ingress-bandwidth", "10M"),
            ("kubernetes.io/egress-bandwidth", "20M"),
        ]);
        comes_and_goes(&node, &pod, |namespace, addresses| {
            let queues = iproute(None, "tc", &["qdisc", "show"]);
            let limits = queues.as_array().unwrap().iter();
            let limits = limits.filter(|queue| queue["kind"] == "tbf");
            let mut rates: Vec<_> = limits
                .map(|queue| queue["options"]["rate"].as_u64().unwrap())
                .collect();
            rates.sort_unstable();
            assert_eq!(rates, [RATE, 2 * RATE]);
            // However fast or slow the machine: what is beyond the burst cannot come faster than the rate.
            let beyond = 2 * RATE;
            let took = send(namespace, addresses[0], BURST + beyond);
            assert!(took >= Duration::from_millis(1900), "{took:?}");
        })
        .await;
    });
}

#[test]
fn root_cni_a_plugin_with_the_capability_is_told_the_resolver_of_the_pod() {
    on_a_node(|node| async move {
        node.install();
        let network = node.start_impatient(&[]).await;
        let pod = PodRequest {
            dns: Some(Resolver {
                servers: vec!["10.96.0.10".to_owned()],
                searches: vec!["default.svc.cluster.local".to_owned()],
                options: vec!["ndots:5".to_owned()],
            }),
            ..PodRequest::default()
        };
        let told = json!({ "dns": {
            "servers": ["10.96.0.10"],
            "searches": ["default.svc.cluster.local"],
            "options": ["ndots:5"],
        } });
        for (capabilities, expected) in [(json!({ "dns": true }), told), (json!({}), Value::Null)] {
            let plugin = json!({ "type": "script", "capabilities": capabilities });
            node.configure("1.1.0", &json!([plugin]));
            drop(cni_pod(&network, "told", &pod).await);
            assert_eq!(node.input("ADD")["runtimeConfig"], expected);
            remove_cni(&network, "told").await;
            assert_eq!(node.input("DEL")["runtimeConfig"], expected);
        }
    });
}

/// Sends that many bytes to a pod; how long it took them all to come.
fn send(pod: &NetworkNamespace, address: IpAddr, bytes: u64) -> Duration {
    let listen = move || TcpListener::bind((address, 0)).unwrap();
    let listener = pod.inside("listen", listen).unwrap();
    let to: SocketAddr = listener.local_addr().unwrap();
    let started = Instant::now();
    let mut stream = TcpStream::connect(to).unwrap();
    let receiver = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = vec![0; 1 << 20];
        let mut received = 0;
        while received < bytes {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the end after {received} bytes");
            received += u64::try_from(count).unwrap();
        }
    });
    let buffer = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left).unwrap().min(buffer.len());
        stream.write_all(&buffer[..count]).unwrap();
        left -= u64::try_from(count).unwrap();
    }
    receiver.join().unwrap();
    started.elapsed()
}
