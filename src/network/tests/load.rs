//! Many pods at once, and how long one takes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::super::{Network, NetworkConfig};
use super::{Node, on_a_node, remove};

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
                        let attachment = network.attach(&sandbox, &namespace, &[]).await.unwrap();
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
    for prepared in [0, 2] {
        on_a_node(move |node| async move { measure(&node, prepared).await });
    }
}

async fn measure(node: &Node, prepared: usize) {
    let config = NetworkConfig {
        prepared,
        ..node.config()
    };
    let network = Network::start(config, &BTreeSet::new()).await.unwrap();
    let mut steps = [const { Vec::new() }; 5];
    for number in 0..100 {
        // As on a node where pods come now and then.
        while network.prepared() < prepared {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let sandbox = format!("pod-{number}");
        let started = Instant::now();
        let namespace = network.create_namespace(&sandbox).await.unwrap();
        steps[0].push(started.elapsed());
        let started = Instant::now();
        drop(network.attach(&sandbox, &namespace, &[]).await.unwrap());
        steps[1].push(started.elapsed());
        let started = Instant::now();
        network.detach(&sandbox).await.unwrap();
        steps[2].push(started.elapsed());
        drop(namespace);
        let started = Instant::now();
        network.remove_namespace(&sandbox).await.unwrap();
        steps[3].push(started.elapsed());
        let started = Instant::now();
        network.wait_released(&sandbox).await;
        steps[4].push(started.elapsed());
    }
    for (step, name) in steps.iter_mut().zip([
        "namespace",
        "attach",
        "detach",
        "remove_namespace",
        "released",
    ]) {
        step.sort();
        println!(
            "{prepared} prepared, {name}: median {:?} p99 {:?}",
            step[50], step[98]
        );
    }
}
