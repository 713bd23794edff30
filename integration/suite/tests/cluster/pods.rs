//! Pods by way of the API server: those that a kubelet runs without one, too, and those that need the cluster's objects.

use std::path::PathBuf;

use carpel_integration::cluster::Cluster;
use carpel_integration::node::Node;
use serde_json::{Value, json};

use crate::pod_behaviours;
use crate::pod_behaviours::scene::{PodRunner, Scene};
use crate::volumes;

impl PodRunner for Cluster<'_> {
    fn apply(&self, pod: &Value) {
        Cluster::apply(self, pod);
    }

    fn remove(&self, name: &str) {
        self.ask(&["delete", "pod", name, "--wait=false"]).unwrap();
    }

    fn pod(&self, name: &str) -> Option<Value> {
        self.get("pod", name)
    }

    fn logs(&self, name: &str) -> String {
        Cluster::logs(self, name)
    }

    fn full_name(&self, name: &str) -> String {
        name.to_owned()
    }

    fn node_name(&self) -> &'static str {
        "node"
    }

    fn seccomp_profiles(&self) -> PathBuf {
        self.kubelet_root().join("seccomp")
    }
}

#[test]
#[ignore = "the control plane is built by make cluster"]
fn root_pods_of_a_cluster_do_what_their_manifests_say() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let Some(cluster) = Cluster::start(&node, &json!({})) else {
        return;
    };
    let scene = Scene::new(&node, &cluster);
    scene.show(&pod_behaviours::all(&scene));
    cluster.remove_all();
    volumes::make_objects(&cluster);
    scene.show(&volumes::behaviours(&scene));
    volumes::show_changes(&cluster);
    cluster.remove_all();
    drop(cluster);
    node.finish();
}
