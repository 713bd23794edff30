//! Values of a pod's fields, as `fieldRef` names them (kubelet, `podFieldSelectorRuntimeValue`; `pkg/fieldpath`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;

use super::EnvironmentError;
use crate::facts::Facts;
use crate::manifest::{DEFAULT_NAMESPACE, quoted};

/// Fields that an environment may name, beside single labels and annotations.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields that a volume may name, beside single labels and annotations.
const VOLUME_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// Whether a variable may take its value from this field.
pub(crate) fn is_env_field(path: &str) -> bool {
    ENV_FIELDS.contains(&path) || subscript(path).is_some()
}

/// Whether a file may take its content from this field.
pub(crate) fn is_volume_field(path: &str) -> bool {
    VOLUME_FIELDS.contains(&path) || subscript(path).is_some()
}

/// The value of a field.
///
/// # Errors
/// `Field` for one that cannot be told; `NoAddress` for an address of a pod that has none yet.
pub(crate) fn field(pod: &Pod, path: &str, facts: &Facts) -> Result<String, EnvironmentError> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let or_empty = |text: Option<&String>| text.cloned().unwrap_or_default();
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            Map::Labels => &metadata.labels,
            Map::Annotations => &metadata.annotations,
        };
        return Ok(or_empty(map.as_ref().and_then(|map| map.get(key))));
    }
    let pod_address = |text: Option<String>| {
        text.filter(|text| !text.is_empty())
            .ok_or_else(|| EnvironmentError::NoAddress(path.to_owned()))
    };
    Ok(match path {
        "metadata.name" => or_empty(metadata.name.as_ref()),
        "metadata.namespace" => metadata
            .namespace
            .clone()
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
        "metadata.uid" => or_empty(metadata.uid.as_ref()),
        "metadata.labels" => lines(metadata.labels.as_ref()),
        "metadata.annotations" => lines(metadata.annotations.as_ref()),
        // The node that the pod runs on, whether or not its author named one.
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => {
            or_empty(spec.and_then(|spec| spec.service_account_name.as_ref()))
        }
        "status.hostIP" => facts
            .host_ips
            .first()
            .map(ToString::to_string)
            .unwrap_or_default(),
        "status.hostIPs" => joined(&facts.host_ips),
        "status.podIP" => pod_address(facts.pod_ips.first().map(ToString::to_string))?,
        "status.podIPs" => pod_address(Some(joined(&facts.pod_ips)))?,
        _ => return Err(EnvironmentError::Field(path.to_owned())),
    })
}

enum Map {
    Labels,
    Annotations,
}

/// `metadata.labels['key']` and `metadata.annotations['key']`.
fn subscript(path: &str) -> Option<(Map, &str)> {
    let (map, rest) = path.split_once("['")?;
    let key = rest.strip_suffix("']").filter(|key| !key.is_empty())?;
    match map {
        "metadata.labels" => Some((Map::Labels, key)),
        "metadata.annotations" => Some((Map::Annotations, key)),
        _ => None,
    }
}

/// A line for each entry, `key="value"`, without a line break at the end.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let entries = map.into_iter().flatten();
    let lines: Vec<String> = entries
        .map(|(key, value)| format!("{key}={}", quoted(value)))
        .collect();
    lines.join("\n")
}

fn joined(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(",")
}
