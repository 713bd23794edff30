//! What a pod can ask for, under a real kubelet: each behaviour is a pod of its own, all at once, and a line of a table.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

mod pod_behaviours;

use std::path::PathBuf;

use carpel_integration::kubelet::{Kubelet, full_name};
use carpel_integration::node::Node;
use pod_behaviours::scene::{PodRunner, Scene};
use serde_json::Value;

impl PodRunner for Kubelet<'_> {
    fn apply(&self, pod: &Value) {
        Kubelet::apply(self, pod);
    }

    fn remove(&self, name: &str) {
        Kubelet::remove(self, name);
    }

    fn pod(&self, name: &str) -> Option<Value> {
        Kubelet::pod(self, name)
    }

    fn logs(&self, name: &str) -> String {
        let output = self.kubectl(&["logs", &full_name(name), "--all-containers"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn full_name(&self, name: &str) -> String {
        full_name(name)
    }

    fn node_name(&self) -> &'static str {
        "node"
    }

    fn seccomp_profiles(&self) -> PathBuf {
        self.root().join("seccomp")
    }
}

#[test]
fn root_pods_of_a_kubelet_do_what_their_manifests_say() {
    let Some(node) = Node::start() else {
        return;
    };
    let Some(kubelet) = Kubelet::start(&node, false) else {
        return;
    };
    let scene = Scene::new(&node, &kubelet);
    scene.show(&pod_behaviours::all(&scene));
    kubelet.remove_all_by_itself();
    drop(kubelet);
    node.finish();
}
