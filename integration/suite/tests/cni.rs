//! Pods by CNI under a daemon that is killed at random moments: nothing of them is left, no address, interface,
//! namespace or file. What the same number of pods leaves without a kill is a test of the network itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and why it is skipped by a line"
)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::time::Instant;

use carpel_integration::node::Node;
use carpel_integration::request::pod;
use carpel_integration::wait::wait_for;

/// How many pods come and go, ten at a time; `CNI_PODS` for more.
fn pods() -> usize {
    std::env::var("CNI_PODS").map_or(40, |count| count.parse().unwrap())
}

/// A node whose pods are attached by Debian's CNI plugins.
fn node() -> Option<Node> {
    if !Path::new("/usr/lib/cni/bridge").exists() {
        println!("SKIP /usr/lib/cni/bridge is missing: run integration/need cni");
        return None;
    }
    Node::start_carpel_with(&[("NODE_NETWORK", "cni")])
}

/// How many addresses host-local has given out.
fn held_addresses(node: &Node) -> usize {
    let files = std::fs::read_dir(node.work.join("cni/addresses/node"));
    let names = files
        .into_iter()
        .flatten()
        .map(|file| file.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().parse::<std::net::IpAddr>().is_ok())
        .count()
}

fn records(node: &Node) -> usize {
    let files = std::fs::read_dir(node.work.join("root/cni"));
    files.into_iter().flatten().count()
}

#[test]
fn root_cni_gives_a_pod_its_address_and_takes_it_back() {
    let Some(node) = node() else { return };
    let pod = node.run_pod(pod("web"));
    let status = node.ask_json(&["inspectp", &pod.0]);
    assert_eq!(status["status"]["network"]["ip"], "10.88.0.2");
    assert_eq!(held_addresses(&node), 1);
    node.remove_pod(&pod);
    assert_eq!((held_addresses(&node), records(&node)), (0, 0));

    // The configuration goes, and comes back under another name.
    let (file, elsewhere) = (
        node.work.join("cni/10-node.conflist"),
        node.work.join("aside"),
    );
    let network = |what: &str| {
        let info = node.ask_json(&["info"]);
        let conditions = info["status"]["conditions"].as_array().unwrap().clone();
        let ready = conditions.iter().find(|one| one["type"] == "NetworkReady");
        ready.unwrap()[what].clone()
    };
    std::fs::rename(&file, &elsewhere).unwrap();
    assert_eq!(network("status"), false);
    assert_eq!(network("reason"), "NetworkPluginNotReady");
    std::fs::rename(&elsewhere, node.work.join("cni/20-other.conflist")).unwrap();
    assert_eq!(network("status"), true);
    node.finish();
}

#[test]
fn root_cni_leaves_nothing_when_the_daemon_is_killed_at_random_moments() {
    let Some(node) = node() else { return };
    node.warm_up();
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let count = pods();
    let kills = std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut kills = 0;
            // Prime numbers of milliseconds, so that the kills meet all steps.
            for pause in [211, 97, 307, 53, 401, 151, 17].iter().cycle() {
                let until = Instant::now() + Duration::from_millis(*pause);
                wait_for("the next kill", Duration::from_secs(5), || {
                    (Instant::now() >= until).then_some(())
                });
                if done.load(Ordering::Relaxed) {
                    return kills;
                }
                node.kill_daemon();
                node.start_daemon();
                kills += 1;
            }
            kills
        });
        let workers: Vec<_> = (0..10)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        let file = node.write_request(&pod(&format!("pod-{number}")));
                        // Any of them may meet a daemon that dies.
                        let ran = node.crictl(&["runp", &file]);
                        let id = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
                        if !id.is_empty() {
                            for verb in ["stopp", "rmp"] {
                                println!("{verb} {id}: {}", node.crictl(&[verb, &id]).status);
                            }
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        killer.join().unwrap()
    });
    println!("{count} pods, {kills} kills of the daemon");
    assert!(kills > 0);
    wait_for("all pods to be removable", Duration::from_secs(60), || {
        node.crictl(&["rmp", "--all", "--force"])
            .status
            .success()
            .then_some(())
    });
    wait_for(
        "all attachments to be released",
        Duration::from_secs(60),
        || (records(&node) == 0).then_some(()),
    );
    assert_eq!(held_addresses(&node), 0, "addresses have leaked");
    // Interfaces, namespaces, mounts, processes and cgroups: the node looks when the daemon has ended.
    node.finish();
}
