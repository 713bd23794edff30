//! What a cluster hears of a node whose CNI configuration is not there.

use carpel_integration::cluster::Cluster;
use carpel_integration::node::Node;
use carpel_integration::table::Table;
use serde_json::json;

use crate::node::{NOTICE, becomes};
use crate::pod_behaviours::manifest::server;
use crate::pod_behaviours::scene::is_ready;

#[test]
#[ignore = "the control plane is built by make cluster"]
fn root_a_node_is_not_ready_without_a_network() {
    let Some(node) = Node::start_carpel_with(&[("NODE_NETWORK", "cni")]) else {
        return;
    };
    let Some(cluster) = Cluster::start(&node, &json!({})) else {
        return;
    };
    let configuration = node.work.join("cni/10-node.conflist");
    let away = node.work.join("conflist");
    std::fs::rename(&configuration, &away).unwrap();
    let mut table = Table::default();
    table.row(
        "Ready is false without a CNI configuration, and says where one is looked for",
        becomes(
            &cluster,
            "Ready",
            "False",
            &[
                "NetworkReady=false",
                "reason:NetworkPluginNotReady",
                node.work.join("cni").to_str().unwrap(),
            ],
        ),
    );
    cluster.apply(&server(
        "waits",
        "sleep 10000",
        &json!({
            "tolerations": [{ "operator": "Exists" }],
        }),
    ));
    std::fs::rename(&away, &configuration).unwrap();
    table.row(
        "Ready is true with one, and pods that waited run",
        becomes(&cluster, "Ready", "True", &[])
            .and_then(|()| cluster.wait("pod", "waits", NOTICE, is_ready).map(drop)),
    );
    table.finish();
    cluster.remove_all();
    drop(cluster);
    node.finish();
}
