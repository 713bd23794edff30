//! What a pod can ask for, under a real kubelet: each behaviour is a pod of its own, all at once, and a line of a table.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and shows its table by printing"
)]

#[path = "kubelet_pods/behaviours.rs"]
mod behaviours;
#[path = "kubelet_pods/isolation.rs"]
mod isolation;
#[path = "kubelet_pods/life.rs"]
mod life;
#[path = "kubelet_pods/manifest.rs"]
mod manifest;
#[path = "kubelet_pods/volumes.rs"]
mod volumes;

use behaviours::{Behaviour, Scene};
use carpel_integration::kubelet::Kubelet;
use carpel_integration::node::Node;

#[test]
fn root_pods_of_a_kubelet_do_what_their_manifests_say() {
    let Some(node) = Node::start() else {
        return;
    };
    let Some(kubelet) = Kubelet::start(&node, false) else {
        return;
    };
    let scene = Scene::new(&node, &kubelet);
    let behaviours: Vec<Behaviour> = [
        life::behaviours(&scene),
        volumes::behaviours(&scene),
        isolation::behaviours(&scene),
    ]
    .into_iter()
    .flatten()
    .collect();
    behaviours::show(&scene, &behaviours);
    kubelet.remove_all_by_itself();
    drop(kubelet);
    node.finish();
}
