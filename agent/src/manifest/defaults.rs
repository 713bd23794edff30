//! What the API server fills in where a manifest is silent (pkg/apis/core/v1/defaults.go, and its admission of service
//! accounts), and what it drops: fields that only it sets.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, DownwardAPIVolumeFile, EmptyDirVolumeSource, HTTPGetAction,
    Lifecycle, LifecycleHandler, ObjectFieldSelector, Pod, PodSpec, Probe, ProjectedVolumeSource,
    ResourceRequirements, Secret, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::app_armor;
use super::object::{DEFAULT_NAMESPACE, Object};

/// Mode 0644: of files whose volume says nothing else.
const MODE: i32 = 0o644;
/// How long a pod may take to end.
const GRACE_SECONDS: i64 = 30;
/// How long a token is valid.
const TOKEN_SECONDS: i64 = 3600;
/// The version that a field selector means.
const FIELD_API_VERSION: &str = "v1";

/// Fills in the defaults.
pub(crate) fn fill_in(object: &mut Object) {
    fill_in_metadata(object.metadata_mut());
    match object {
        Object::Pod(pod) => fill_in_pod(pod),
        Object::Secret(secret) => fill_in_secret(secret),
        Object::ConfigMap(_) | Object::ServiceAccount(_) => {}
    }
}

/// What only the server sets comes from `get -o yaml`, and is not the author's.
fn fill_in_metadata(metadata: &mut ObjectMeta) {
    let said = std::mem::take(metadata);
    *metadata = ObjectMeta {
        name: said.name,
        namespace: said.namespace.filter(|namespace| !namespace.is_empty()),
        labels: said.labels.filter(|labels| !labels.is_empty()),
        annotations: said
            .annotations
            .filter(|annotations| !annotations.is_empty()),
        ..ObjectMeta::default()
    };
    let namespace = &mut metadata.namespace;
    namespace.get_or_insert_with(|| DEFAULT_NAMESPACE.to_owned());
}

fn fill_in_secret(secret: &mut Secret) {
    set(&mut secret.type_, "Opaque");
    let added = secret.string_data.take().unwrap_or_default();
    if !added.is_empty() {
        let data = secret.data.get_or_insert_default();
        data.extend(
            added
                .into_iter()
                .map(|(key, text)| (key, ByteString(text.into_bytes()))),
        );
    }
}

fn fill_in_pod(pod: &mut Pod) {
    pod.status = None;
    let Some(spec) = &mut pod.spec else { return };
    set(&mut spec.restart_policy, "Always");
    set(&mut spec.dns_policy, "ClusterFirst");
    set(&mut spec.scheduler_name, "default-scheduler");
    spec.termination_grace_period_seconds
        .get_or_insert(GRACE_SECONDS);
    spec.enable_service_links.get_or_insert(true);
    spec.security_context.get_or_insert_default();
    fill_in_account(spec);
    let is_host_network = spec.host_network == Some(true);
    let annotations = pod.metadata.annotations.as_ref();
    for volume in spec.volumes.iter_mut().flatten() {
        fill_in_volume(volume);
    }
    let init_containers = spec.init_containers.iter_mut().flatten();
    for container in init_containers.chain(&mut spec.containers) {
        fill_in_container(container);
        app_armor::adopt_annotation(container, annotations);
        for port in container.ports.iter_mut().flatten() {
            fill_in_port(port, is_host_network);
        }
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both say the same afterwards.
fn fill_in_account(spec: &mut PodSpec) {
    let said = [&mut spec.service_account_name, &mut spec.service_account];
    let account = said
        .into_iter()
        .filter_map(Option::take)
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "default".to_owned());
    spec.service_account = Some(account.clone());
    spec.service_account_name = Some(account);
}

fn fill_in_port(port: &mut ContainerPort, is_host_network: bool) {
    set(&mut port.protocol, "TCP");
    if is_host_network {
        port.host_port.get_or_insert(port.container_port);
    }
}

fn fill_in_container(container: &mut Container) {
    set(
        &mut container.termination_message_path,
        "/dev/termination-log",
    );
    set(&mut container.termination_message_policy, "File");
    let policy = pull_policy(container.image.as_deref().unwrap_or_default());
    set(&mut container.image_pull_policy, policy);
    fill_in_resources(container.resources.get_or_insert_default());
    for variable in container.env.iter_mut().flatten() {
        let source = variable.value_from.as_mut();
        if let Some(file) = source.and_then(|source| {
            fill_in_selector(source.field_ref.as_mut());
            source.file_key_ref.as_mut()
        }) {
            file.optional.get_or_insert(false);
        }
    }
    for probe in [
        &mut container.liveness_probe,
        &mut container.readiness_probe,
        &mut container.startup_probe,
    ] {
        probe.iter_mut().for_each(fill_in_probe);
    }
    if let Some(Lifecycle {
        post_start,
        pre_stop,
        ..
    }) = &mut container.lifecycle
    {
        let handlers = post_start.iter_mut().chain(pre_stop);
        handlers.for_each(|LifecycleHandler { http_get, .. }| fill_in_http(http_get.as_mut()));
    }
}

/// Requests are what the limits are, where only limits are set.
fn fill_in_resources(resources: &mut ResourceRequirements) {
    let Some(limits) = &resources.limits else {
        return;
    };
    let requests = resources.requests.get_or_insert_with(BTreeMap::new);
    for (name, limit) in limits {
        requests
            .entry(name.clone())
            .or_insert_with(|| limit.clone());
    }
}

fn fill_in_probe(probe: &mut Probe) {
    for (field, value) in [
        (&mut probe.timeout_seconds, 1),
        (&mut probe.period_seconds, 10),
        (&mut probe.success_threshold, 1),
        (&mut probe.failure_threshold, 3),
    ] {
        // Zero is how the wire says that nothing was said.
        if field.unwrap_or_default() == 0 {
            *field = Some(value);
        }
    }
    fill_in_http(probe.http_get.as_mut());
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn fill_in_http(action: Option<&mut HTTPGetAction>) {
    if let Some(action) = action {
        set(&mut action.path, "/");
        set(&mut action.scheme, "HTTP");
    }
}

fn fill_in_volume(volume: &mut Volume) {
    if let Some(host_path) = &mut volume.host_path {
        host_path.type_.get_or_insert_default();
    }
    if let Some(secret) = &mut volume.secret {
        secret.default_mode.get_or_insert(MODE);
    }
    if let Some(config_map) = &mut volume.config_map {
        config_map.default_mode.get_or_insert(MODE);
    }
    if let Some(downward) = &mut volume.downward_api {
        downward.default_mode.get_or_insert(MODE);
        fill_in_items(downward.items.as_deref_mut());
    }
    if let Some(projected) = &mut volume.projected {
        fill_in_projected(projected);
    }
    if let Some(image) = &mut volume.image {
        let policy = pull_policy(image.reference.as_deref().unwrap_or_default());
        set(&mut image.pull_policy, policy);
    }
    let bare = Volume {
        name: volume.name.clone(),
        ..Volume::default()
    };
    if *volume == bare {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
}

fn fill_in_projected(projected: &mut ProjectedVolumeSource) {
    projected.default_mode.get_or_insert(MODE);
    for source in projected.sources.iter_mut().flatten() {
        if let Some(token) = &mut source.service_account_token {
            token.expiration_seconds.get_or_insert(TOKEN_SECONDS);
        }
        if let Some(downward) = &mut source.downward_api {
            fill_in_items(downward.items.as_deref_mut());
        }
    }
}

fn fill_in_items(items: Option<&mut [DownwardAPIVolumeFile]>) {
    for item in items.into_iter().flatten() {
        fill_in_selector(item.field_ref.as_mut());
    }
}

fn fill_in_selector(selector: Option<&mut ObjectFieldSelector>) {
    if let Some(selector) = selector {
        set(&mut selector.api_version, FIELD_API_VERSION);
    }
}

/// `Always` for `latest`, said or meant; a digest without a tag means no tag.
fn pull_policy(image: &str) -> &'static str {
    let (name, is_by_digest) = match image.split_once('@') {
        Some((name, _digest)) => (name, true),
        None => (image, false),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, "latest")) => "Always",
        None if !is_by_digest => "Always",
        _ => "IfNotPresent",
    }
}

/// An empty text is how the wire says that nothing was said.
fn set(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;
    use serde_json::{Value, json};

    fn filled(text: &str) -> Value {
        let objects = parse(text, "x").unwrap_or_else(|error| panic!("{error}"));
        serde_json::to_value(&objects[0]).unwrap()
    }

    /// Golden: what `kubectl get -o yaml` shows of such a pod in a cluster of v1.36, less what schedulers and admission add.
    #[test]
    fn a_pod_is_filled_in_as_the_api_server_does() {
        let pod = filled(
            r#"{"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "web", "uid": "x", "resourceVersion": "1", "creationTimestamp": "2020-01-01T00:00:00Z"},
                "spec": {"containers": [{"name": "a", "image": "nginx", "ports": [{"containerPort": 80}],
                   "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}},
                   "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 0},
                   "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
                   "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]},
                "status": {"phase": "Running"}}"#,
        );
        assert_eq!(
            pod,
            json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
                "terminationGracePeriodSeconds": 30, "enableServiceLinks": true, "securityContext": {},
                "serviceAccount": "default", "serviceAccountName": "default",
                "containers": [{"name": "a", "image": "nginx", "imagePullPolicy": "Always",
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"}},
                    "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
                        "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                    "lifecycle": {"preStop": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}}},
                    "env": [{"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}]}]}})
        );
    }

    #[test]
    fn volumes_are_filled_in() {
        let pod = filled(
            r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
                "spec": {"containers": [{"name": "a", "image": "x:1"}], "volumes": [
                  {"name": "bare"}, {"name": "host", "hostPath": {"path": "/x"}}, {"name": "secret", "secret": {"secretName": "s"}},
                  {"name": "map", "configMap": {"name": "c", "defaultMode": 256}},
                  {"name": "down", "downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                  {"name": "image", "image": {"reference": "x@sha256:00"}},
                  {"name": "all", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]}}"#,
        );
        assert_eq!(
            pod["spec"]["volumes"],
            json!([
                {"name": "bare", "emptyDir": {}}, {"name": "host", "hostPath": {"path": "/x", "type": ""}},
                {"name": "secret", "secret": {"secretName": "s", "defaultMode": 420}},
                {"name": "map", "configMap": {"name": "c", "defaultMode": 256}},
                {"name": "down", "downwardAPI": {"defaultMode": 420,
                    "items": [{"path": "a", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels"}}]}},
                {"name": "image", "image": {"reference": "x@sha256:00", "pullPolicy": "IfNotPresent"}},
                {"name": "all", "projected": {"defaultMode": 420,
                    "sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]}}
            ])
        );
    }

    #[test]
    fn an_image_is_always_pulled_if_its_tag_is_latest() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("host:5000/nginx", "Always"),
            ("host:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:00", "IfNotPresent"),
            ("nginx:latest@sha256:00", "Always"),
            ("nginx:1.27", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn ports_of_the_host_network_are_ports_of_the_host() {
        let pod = filled(
            r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"hostNetwork": true,
                "serviceAccount": "robot", "containers": [{"name": "a", "image": "x:1", "ports": [{"containerPort": 80}]}]}}"#,
        );
        assert_eq!(pod["spec"]["containers"][0]["ports"][0]["hostPort"], 80);
        assert_eq!(pod["spec"]["serviceAccountName"], "robot");
    }

    #[test]
    fn filling_in_twice_changes_nothing() {
        let text = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
            "spec": {"containers": [{"name": "a", "image": "x"}], "volumes": [{"name": "v"}]}}"#;
        let once = filled(text);
        assert_eq!(filled(&once.to_string()), once);
    }
}
