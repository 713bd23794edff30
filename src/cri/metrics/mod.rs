//! ListMetricDescriptors, ListPodSandboxMetrics and StreamPodSandboxMetrics: the names that cAdvisor gives to a
//! kubelet's `/metrics/cadvisor`, for a kubelet that has no cAdvisor for this runtime.
//!
//! One table; each row is a descriptor and the function that takes its values from what the domain has read. The CRI
//! has whole numbers only, so seconds are rounded down.

mod disk;
mod memory;
mod network;
mod processes;
mod processor;
mod specification;
#[cfg(test)]
mod tests;

use super::pods::PodService;
use super::stream::{self, Answers};
use super::wire::runtime as wire;
use crate::pod::{
    CgroupDetails, ContainerFigures, InterfaceStatistics, SandboxFigures, SandboxView, Timestamp,
};

/// The labels of every metric: those that the kubelet gives to cAdvisor's.
const LABELS: [&str; 6] = ["id", "name", "image", "container", "pod", "namespace"];

/// The labels that the kubelet sets on every container and sandbox.
const POD_NAME: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const CONTAINER_NAME: &str = "io.kubernetes.container.name";

/// A row of the table.
struct Metric {
    name: &'static str,
    help: &'static str,
    kind: wire::MetricType,
    /// Labels beside [`LABELS`].
    labels: &'static [&'static str],
    values: fn(&Figures) -> Vec<Value>,
}

/// A value, with those of the row's own labels.
struct Value {
    labels: Vec<String>,
    value: u64,
}

/// What a row takes its values from: a container, or a whole pod.
struct Figures<'figures> {
    cgroup: &'figures CgroupDetails,
    container: Option<&'figures ContainerFigures>,
    interfaces: &'figures [InterfaceStatistics],
    seen_at: Timestamp,
    started_at: Timestamp,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    values: fn(&Figures) -> Vec<Value>,
) -> Metric {
    Metric {
        name,
        help,
        kind: wire::MetricType::Counter,
        labels,
        values,
    }
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    values: fn(&Figures) -> Vec<Value>,
) -> Metric {
    Metric {
        name,
        help,
        kind: wire::MetricType::Gauge,
        labels,
        values,
    }
}

/// The one value of a row without labels of its own.
fn one(value: u64) -> Vec<Value> {
    vec![Value {
        labels: Vec::new(),
        value,
    }]
}

/// One value, or none.
fn maybe(value: Option<u64>) -> Vec<Value> {
    value.map(one).unwrap_or_default()
}

fn labelled<const N: usize>(labels: [&str; N], value: u64) -> Value {
    Value {
        labels: labels.map(str::to_owned).to_vec(),
        value,
    }
}

fn seconds(microseconds: u64) -> u64 {
    microseconds / 1_000_000
}

fn all() -> impl Iterator<Item = &'static Metric> {
    [
        processor::METRICS,
        memory::METRICS,
        disk::METRICS,
        network::METRICS,
        processes::METRICS,
        specification::METRICS,
    ]
    .into_iter()
    .flatten()
}

/// ListMetricDescriptors.
pub(super) fn descriptors() -> wire::ListMetricDescriptorsResponse {
    let descriptors = all().map(|metric| wire::MetricDescriptor {
        name: metric.name.to_owned(),
        help: metric.help.to_owned(),
        label_keys: LABELS
            .iter()
            .chain(metric.labels)
            .map(|label| (*label).to_owned())
            .collect(),
    });
    wire::ListMetricDescriptorsResponse {
        descriptors: descriptors.collect(),
    }
}

/// ListPodSandboxMetrics.
pub(super) async fn list<P: PodService>(pods: &P) -> wire::ListPodSandboxMetricsResponse {
    wire::ListPodSandboxMetricsResponse {
        pod_metrics: of_all(pods).await,
    }
}

/// StreamPodSandboxMetrics.
pub(super) async fn stream<P: PodService>(
    pods: &P,
) -> Answers<wire::StreamPodSandboxMetricsResponse> {
    stream::answers(of_all(pods).await, |pod_sandbox_metrics| {
        wire::StreamPodSandboxMetricsResponse {
            pod_sandbox_metrics,
        }
    })
}

async fn of_all<P: PodService>(pods: &P) -> Vec<wire::PodSandboxMetrics> {
    let figures = pods.list_sandbox_figures().await;
    figures.iter().map(of_sandbox).collect()
}

fn of_sandbox(figures: &SandboxFigures) -> wire::PodSandboxMetrics {
    let sandbox = &figures.sandbox;
    let (pod, namespace) = pod_names(sandbox);
    let labels = [&figures.cgroup.path, &sandbox.id, "", "", pod, namespace];
    let of_pod = Figures {
        cgroup: &figures.cgroup,
        container: None,
        interfaces: &figures.interfaces,
        seen_at: figures.seen_at,
        started_at: sandbox.created_at,
    };
    let containers = figures.containers.iter();
    wire::PodSandboxMetrics {
        pod_sandbox_id: sandbox.id.clone(),
        metrics: metrics(&of_pod, labels),
        container_metrics: containers
            .map(|container| of_container(sandbox, container))
            .collect(),
    }
}

fn of_container(sandbox: &SandboxView, figures: &ContainerFigures) -> wire::ContainerMetrics {
    let view = &figures.container;
    let (pod, namespace) = pod_names(sandbox);
    let name = view.config.labels.get(CONTAINER_NAME);
    let name = name.unwrap_or(&view.config.metadata.name);
    let labels = [
        figures.cgroup.path.as_str(),
        &view.id,
        &view.image_name,
        name,
        pod,
        namespace,
    ];
    let of_container = Figures {
        cgroup: &figures.cgroup,
        container: Some(figures),
        interfaces: &[],
        seen_at: figures.seen_at,
        started_at: view.started_at,
    };
    wire::ContainerMetrics {
        container_id: view.id.clone(),
        metrics: metrics(&of_container, labels),
    }
}

/// The pod's name and namespace, by the kubelet's labels or else as the sandbox has them.
fn pod_names(sandbox: &SandboxView) -> (&str, &str) {
    let config = &sandbox.config;
    let label = |key| config.labels.get(key).map(String::as_str);
    (
        label(POD_NAME).unwrap_or(&config.metadata.name),
        label(POD_NAMESPACE).unwrap_or(&config.metadata.namespace),
    )
}

fn metrics(figures: &Figures, labels: [&str; LABELS.len()]) -> Vec<wire::Metric> {
    all()
        .flat_map(|metric| {
            let values = (metric.values)(figures);
            values.into_iter().map(|value| wire::Metric {
                name: metric.name.to_owned(),
                timestamp: figures.seen_at,
                metric_type: metric.kind as i32,
                label_values: labels
                    .map(str::to_owned)
                    .into_iter()
                    .chain(value.labels)
                    .collect(),
                value: Some(wire::UInt64Value { value: value.value }),
            })
        })
        .collect()
}
