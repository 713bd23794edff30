//! From a container of a pod to its configuration: kubelet, `generateContainerConfig`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::labels::{self, ANNOTATION_HASH};
use super::namespaces::UserRange;
use super::security::{self, ImageUser};
use super::wire::{
    ContainerConfig, ContainerMetadata, ImageSpec, KeyValue, LinuxContainerConfig, Mount, Signal,
};
use super::{resources, sandbox, signal};

/// What a container is made from, beside the pod.
#[derive(Debug)]
pub(crate) struct ContainerInputs<'a> {
    /// How often it was restarted.
    pub(crate) attempt: u32,
    /// The image's id, as the runtime has it.
    pub(crate) image: &'a str,
    /// As whom the image wants to run.
    pub(crate) image_user: &'a ImageUser,
    /// Its command, with variables put in.
    pub(crate) command: Vec<String>,
    /// Its arguments, with variables put in.
    pub(crate) args: Vec<String>,
    /// Its environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Its volumes and files.
    pub(crate) mounts: Vec<Mount>,
    /// The ids of the pod's user namespace.
    pub(crate) user_range: Option<UserRange>,
    /// The node's memory in bytes.
    pub(crate) memory: i64,
}

/// The container's configuration.
pub(crate) fn container_config(
    pod: &Pod,
    container: &Container,
    inputs: ContainerInputs<'_>,
) -> ContainerConfig {
    let mut mounts = inputs.mounts;
    if let Some(range) = inputs.user_range {
        // The files of volumes belong to ids of the pod, whatever these are on the host.
        for mount in mounts.iter_mut().filter(|mount| mount.image.is_none()) {
            mount.uid_mappings = vec![range.mapping()];
            mount.gid_mappings = vec![range.mapping()];
        }
    }
    let lifecycle = container.lifecycle.as_ref();
    let stop_signal = lifecycle
        .and_then(|lifecycle| lifecycle.stop_signal.as_deref())
        .and_then(signal::named)
        .unwrap_or(Signal::RuntimeDefault);
    ContainerConfig {
        metadata: Some(ContainerMetadata {
            name: container.name.clone(),
            attempt: inputs.attempt,
        }),
        image: Some(ImageSpec {
            image: inputs.image.to_owned(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        command: inputs.command,
        args: inputs.args,
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: inputs
            .environment
            .into_iter()
            .map(|(key, value)| KeyValue {
                key,
                value: value.into_bytes(),
            })
            .collect(),
        mounts,
        labels: labels::of_container(pod, &container.name),
        annotations: BTreeMap::from([(ANNOTATION_HASH.to_owned(), container_hash(container))]),
        log_path: format!("{}/{}.log", container.name, inputs.attempt),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        linux: Some(LinuxContainerConfig {
            resources: Some(resources::linux(pod, container, inputs.memory)),
            security_context: Some(security::container(
                pod,
                container,
                inputs.image_user,
                inputs.user_range,
            )),
        }),
        stop_signal: stop_signal.into(),
        ..Default::default()
    }
}

/// Of everything that the manifest says of a container: another hash is another container.
pub(crate) fn container_hash(container: &Container) -> String {
    sandbox::hash(&serde_json::to_vec(container).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_says_what_the_manifest_says() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "default", "uid": "u-1", "labels": { "app": "x" } },
            "spec": { "containers": [{
                "name": "main", "image": "busybox:1", "workingDir": "/srv", "tty": true,
                "lifecycle": { "stopSignal": "SIGINT" },
            }] },
        }))
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let config = container_config(
            &pod,
            container,
            ContainerInputs {
                attempt: 3,
                image: "sha256:1",
                image_user: &ImageUser::default(),
                command: vec!["sleep".to_owned()],
                args: vec!["1".to_owned()],
                environment: vec![("A".to_owned(), "b".to_owned())],
                mounts: vec![Mount::default()],
                user_range: Some(UserRange(65536)),
                memory: 1,
            },
        );
        assert_eq!(config.log_path, "main/3.log");
        assert_eq!(config.stop_signal(), Signal::Sigint);
        assert_eq!(config.labels["io.carpel.agent.container.name"], "main");
        assert!(!config.labels.contains_key("app"));
        assert_eq!(config.mounts[0].uid_mappings[0].host_id, 65536);
        assert_eq!(config.envs[0].value, b"b");
        let image = config.image.unwrap();
        assert_eq!(
            (&*image.image, &*image.user_specified_image),
            ("sha256:1", "busybox:1")
        );
    }
}
