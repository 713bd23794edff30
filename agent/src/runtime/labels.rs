//! What marks the agent's sandboxes and containers in the runtime. The names are Carpel's own: a kubelet kills pods that
//! carry the kubelet's labels and that it does not know.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

/// Every sandbox and container of an agent has it; whatever has it not is never touched.
pub(crate) const LABEL_MANAGED: &str = "io.carpel.agent.managed";
/// The value of [`LABEL_MANAGED`].
pub(crate) const MANAGED: &str = "true";
/// Name of the pod.
pub(crate) const LABEL_NAME: &str = "io.carpel.agent.pod.name";
/// Namespace of the pod.
pub(crate) const LABEL_NAMESPACE: &str = "io.carpel.agent.pod.namespace";
/// Uid of the pod.
pub(crate) const LABEL_UID: &str = "io.carpel.agent.pod.uid";
/// Name of the container.
pub(crate) const LABEL_CONTAINER: &str = "io.carpel.agent.container.name";
/// Of a sandbox or a container: the hash of what it was made from.
pub(crate) const ANNOTATION_HASH: &str = "io.carpel.agent.hash";
/// Of a sandbox with a user namespace: the first id of its range on the host.
pub(crate) const ANNOTATION_USER_RANGE: &str = "io.carpel.agent.userRange";

/// The labels of a pod's sandbox.
pub(super) fn of_pod(pod: &Pod) -> BTreeMap<String, String> {
    let metadata = &pod.metadata;
    let mut labels = metadata.labels.clone().unwrap_or_default();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    labels.insert(LABEL_MANAGED.to_owned(), MANAGED.to_owned());
    labels.insert(LABEL_NAME.to_owned(), text(&metadata.name));
    labels.insert(LABEL_NAMESPACE.to_owned(), text(&metadata.namespace));
    labels.insert(LABEL_UID.to_owned(), text(&metadata.uid));
    labels
}

/// The labels of one of its containers: without the pod's own, as the kubelet has it.
pub(super) fn of_container(pod: &Pod, container: &str) -> BTreeMap<String, String> {
    let mut labels = of_pod(pod);
    labels.retain(|name, _| name.starts_with("io.carpel.agent."));
    labels.insert(LABEL_CONTAINER.to_owned(), container.to_owned());
    labels
}
