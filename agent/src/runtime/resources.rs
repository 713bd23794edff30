//! From requests and limits to what the kernel is told, and the pod's quality of service: kubelet,
//! `kuberuntime_container_linux.go` and `pkg/apis/core/v1/helper/qos`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::wire::LinuxContainerResources;
use crate::quantity;

const SHARES_MIN: i64 = 2;
const SHARES_MAX: i64 = 262_144;
const PERIOD: i64 = 100_000;
const QUOTA_MIN: i64 = 1000;

/// kubelet, `pkg/kubelet/qos/policy.go`.
const SCORE_GUARANTEED: i64 = -997;
const SCORE_BEST_EFFORT: i64 = 1000;

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(crate) fn qos_class(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else {
        return "BestEffort";
    };
    let containers = || {
        spec.init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
    };
    let has_any = containers().any(|container| {
        let of = |name| is_set(container, name);
        of("cpu") || of("memory")
    });
    let is_guaranteed = containers().all(|container| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = limit(container, name);
            limit > 0 && limit == request(container, name)
        })
    });
    match (has_any, is_guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// What the kernel is told of a container.
pub(super) fn linux(pod: &Pod, container: &Container, memory: i64) -> LinuxContainerResources {
    let (cpu_request, cpu_limit) = (request(container, "cpu"), limit(container, "cpu"));
    let shares = match (cpu_request, cpu_limit) {
        (0, limit) if limit > 0 => limit,
        (request, _) => request,
    };
    LinuxContainerResources {
        cpu_period: if cpu_limit > 0 { PERIOD } else { 0 },
        cpu_quota: match cpu_limit {
            0 => 0,
            milli => milli.saturating_mul(PERIOD / 1000).max(QUOTA_MIN),
        },
        cpu_shares: match shares {
            0 => SHARES_MIN,
            milli => (milli.saturating_mul(1024) / 1000).clamp(SHARES_MIN, SHARES_MAX),
        },
        memory_limit_in_bytes: limit(container, "memory"),
        oom_score_adj: oom_score(pod, container, memory),
        ..Default::default()
    }
}

/// kubelet, `GetContainerOOMScoreAdjust`: the more of the node's memory it asks for, the later it is killed.
fn oom_score(pod: &Pod, container: &Container, memory: i64) -> i64 {
    match qos_class(pod) {
        "Guaranteed" => SCORE_GUARANTEED,
        "BestEffort" => SCORE_BEST_EFFORT,
        _ => {
            let asked = request(container, "memory");
            let score = 1000 - 1000_i64.saturating_mul(asked) / memory.max(1);
            // Below every best-effort container and above every guaranteed one.
            score.clamp(1000 + SCORE_GUARANTEED, SCORE_BEST_EFFORT - 1)
        }
    }
}

fn is_set(container: &Container, name: &str) -> bool {
    limit(container, name) > 0 || request(container, name) > 0
}

/// In thousandths of a processor, or in bytes; 0 if there is none.
fn limit(container: &Container, name: &str) -> i64 {
    amount(container, name, |resources| resources.limits.as_ref())
}

fn request(container: &Container, name: &str) -> i64 {
    amount(container, name, |resources| resources.requests.as_ref())
}

fn amount(
    container: &Container,
    name: &str,
    side: fn(&ResourceRequirements) -> Option<&BTreeMap<String, Quantity>>,
) -> i64 {
    let amount = container
        .resources
        .as_ref()
        .and_then(side)
        .and_then(|amounts| amounts.get(name));
    // Checked when the manifest was read.
    let amount = amount.and_then(|amount| amount.0.parse::<quantity::Quantity>().ok());
    amount.map_or(0, |amount| match name {
        "cpu" => amount.milli_value(),
        _ => amount.value(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(resources: &[Value]) -> Pod {
        let containers: Vec<Value> = resources
            .iter()
            .enumerate()
            .map(
                |(index, resources)| json!({ "name": format!("c{index}"), "resources": resources }),
            )
            .collect();
        serde_json::from_value(json!({ "metadata": {}, "spec": { "containers": containers } }))
            .unwrap()
    }

    fn told(resources: Value) -> LinuxContainerResources {
        let pod = pod(&[resources]);
        let container = &pod.spec.as_ref().unwrap().containers[0];
        linux(&pod, container, 1_000_000_000)
    }

    #[test]
    fn classes_follow_requests_and_limits() {
        let both = json!({ "requests": { "cpu": "1", "memory": "1Gi" }, "limits": { "cpu": "1000m", "memory": "1024Mi" } });
        let some = json!({ "requests": { "cpu": "1" } });
        assert_eq!(qos_class(&pod(&[json!({})])), "BestEffort");
        assert_eq!(qos_class(&pod(std::slice::from_ref(&both))), "Guaranteed");
        assert_eq!(qos_class(&pod(&[both, json!({})])), "Burstable");
        assert_eq!(qos_class(&pod(&[some])), "Burstable");
    }

    #[test]
    fn nothing_asked_is_the_least() {
        let told = told(json!({}));
        assert_eq!(
            (told.cpu_shares, told.cpu_quota, told.cpu_period),
            (2, 0, 0)
        );
        assert_eq!((told.memory_limit_in_bytes, told.oom_score_adj), (0, 1000));
    }

    #[test]
    fn a_limit_stands_for_a_missing_request() {
        let told = told(json!({ "limits": { "cpu": "500m", "memory": "100M" } }));
        assert_eq!(
            (told.cpu_shares, told.cpu_quota, told.cpu_period),
            (512, 50_000, 100_000)
        );
        assert_eq!(told.memory_limit_in_bytes, 100_000_000);
        assert_eq!(told.oom_score_adj, 999);
    }

    #[test]
    fn a_quota_has_a_least_value_and_the_score_bounds() {
        let tiny = told(json!({ "limits": { "cpu": "1m" }, "requests": { "memory": "2G" } }));
        assert_eq!((tiny.cpu_quota, tiny.oom_score_adj), (1000, 3));
        let half = told(json!({ "requests": { "memory": "500M" } }));
        assert_eq!(half.oom_score_adj, 500);
    }
}
