//! What a cluster hears of a node whose runtime goes away and comes back.

use std::time::Duration;

use carpel_integration::cluster::Cluster;
use carpel_integration::node::Node;
use carpel_integration::table::{Table, Verdict, expect};
use carpel_integration::wait::try_for;
use serde_json::{Value, json};

use crate::pod_behaviours::manifest::server;
use crate::pod_behaviours::scene::{first_container, is_ready};

/// The kubelet gives a runtime thirty seconds before it calls the node not ready.
pub(crate) const NOTICE: Duration = Duration::from_secs(90);

/// Waits for a condition of the node, with these words in its message.
pub(crate) fn becomes(cluster: &Cluster<'_>, kind: &str, status: &str, words: &[&str]) -> Verdict {
    let mut last = None;
    let found = try_for(NOTICE, || {
        last = cluster.condition(kind);
        let (found, message) = last.clone()?;
        let is_it = found == status && words.iter().all(|word| message.contains(word));
        is_it.then_some(())
    });
    found.ok_or_else(|| format!("{kind} is {last:?}"))
}

#[test]
#[ignore = "the control plane is built by make cluster"]
fn root_a_node_is_not_ready_without_its_runtime() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    // All that a kubelet can have of a runtime by streams.
    let streams = json!({ "featureGates": { "EventedPLEG": true, "CRIListStreaming": true } });
    let Some(cluster) = Cluster::start(&node, &streams) else {
        return;
    };
    cluster.apply(&server("stays", "echo stays; sleep 10000", &json!({})));
    let before = cluster
        .wait("pod", "stays", NOTICE, is_ready)
        .map(|pod| container_id(&pod))
        .unwrap();
    let mut table = Table::default();
    table.row(
        "Ready is true with the runtime",
        becomes(
            &cluster,
            "Ready",
            "True",
            &["kubelet is posting ready status"],
        ),
    );
    node.kill_daemon();
    table.row(
        "Ready is false when Carpel is gone, and says so",
        becomes(&cluster, "Ready", "False", &["container runtime is down"]),
    );
    node.start_daemon();
    table.row(
        "Ready is true when Carpel is back",
        becomes(&cluster, "Ready", "True", &[]),
    );
    let after = cluster.wait("pod", "stays", NOTICE, is_ready);
    table.row(
        "the pod has gone on meanwhile, and is ready again",
        after.and_then(|pod| {
            expect(
                container_id(&pod) == before && first_container(&pod)["restartCount"] == 0,
                &pod["status"],
            )
        }),
    );
    let log = cluster.kubelet().log();
    table.row(
        "CRIListStreaming: no call of the kubelet is unknown to Carpel",
        expect(
            log.contains("\"CRIListStreaming\":true") && !log.contains("falling back"),
            "it falls back to lists",
        ),
    );
    table.finish();
    cluster.remove_all();
    drop(cluster);
    node.finish();
}

fn container_id(pod: &Value) -> String {
    first_container(pod)["containerID"].to_string()
}
