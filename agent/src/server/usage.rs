//! What pods use, in the shape of the metrics API (`metrics.k8s.io/v1beta1`).

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::listen::Api;
use super::reply::{self, Refusal, Reply};
use crate::runtime::wire::ContainerStats;
use crate::runtime::{LABEL_CONTAINER, LABEL_NAME, LABEL_NAMESPACE};

/// Between two looks, where the runtime counts processor time but gives no rate.
const WINDOW: Duration = Duration::from_millis(500);

/// The use of all pods, or of those of a namespace.
pub(super) async fn pods(api: &Api, namespace: Option<&str>) -> Result<Reply, Refusal> {
    let failed = |error: crate::runtime::RuntimeError| Refusal::internal(error.to_string());
    let before = api.node.runtime.usage().await.map_err(failed)?;
    tokio::time::sleep(WINDOW).await;
    let after = api.node.runtime.usage().await.map_err(failed)?;
    let mut pods: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for stats in &after {
        let earlier = before.iter().find(|it| id(it) == id(stats));
        let Some((key, container)) = container(earlier, stats) else {
            continue;
        };
        if namespace.is_none_or(|wanted| wanted == key.0) {
            pods.entry(key).or_default().push(container);
        }
    }
    let items: Vec<Value> = pods
        .into_iter()
        .map(|((namespace, name), containers)| {
            json!({
                "metadata": { "namespace": namespace, "name": name },
                "window": format!("{WINDOW:?}"),
                "containers": containers,
            })
        })
        .collect();
    let list = json!({
        "kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {},
        "items": items,
    });
    Ok(reply::value(StatusCode::OK, &list))
}

fn id(stats: &ContainerStats) -> &str {
    stats.attributes.as_ref().map_or("", |it| &it.id)
}

/// Of which pod it is, and what it uses: processors in billionths, memory in bytes.
fn container(
    before: Option<&ContainerStats>,
    stats: &ContainerStats,
) -> Option<((String, String), Value)> {
    let labels = &stats.attributes.as_ref()?.labels;
    let label = |name| labels.get(name).cloned();
    let (namespace, pod) = (label(LABEL_NAMESPACE)?, label(LABEL_NAME)?);
    let count = |stats: &ContainerStats| {
        let cpu = stats.cpu.as_ref()?;
        Some((cpu.timestamp, cpu.usage_core_nano_seconds?.value))
    };
    let rate = before
        .and_then(count)
        .zip(count(stats))
        .and_then(|(one, other)| {
            let time = u128::try_from(other.0.checked_sub(one.0)?).ok()?;
            let used = u128::from(other.1.checked_sub(one.1)?);
            used.saturating_mul(1_000_000_000).checked_div(time)
        });
    let memory = stats.memory.as_ref().and_then(|it| it.working_set_bytes);
    let usage = json!({
        "cpu": format!("{}n", rate.unwrap_or(0)),
        "memory": memory.map_or(0, |it| it.value).to_string(),
    });
    let name = label(LABEL_CONTAINER)?;
    Some(((namespace, pod), json!({ "name": name, "usage": usage })))
}
