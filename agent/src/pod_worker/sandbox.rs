//! Makes a pod's sandbox, after its volumes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::files;
use super::node::Node;
use super::trouble::{Retry, Trouble};
use crate::runtime::wire::PodSandboxConfig;
use crate::runtime::{NodeResolver, SandboxInputs, UserRange, sandbox_config};
use crate::status::{Kind, Subject};
use crate::volume::Prepared;

/// The ids of the pod's user namespace, if it has one.
pub(super) fn user_range(node: &Node, pod: &Pod) -> Option<UserRange> {
    let spec = pod.spec.as_ref()?;
    match spec.host_users {
        Some(false) => node.user_ranges.of(pod.metadata.uid.as_deref()?),
        _ => None,
    }
}

/// The sandbox's configuration: the same one for each of its containers.
pub(super) fn config(node: &Node, pod: &Pod, attempt: u32) -> Result<PodSandboxConfig, Trouble> {
    let resolver = NodeResolver::read();
    let inputs = SandboxInputs {
        attempt,
        logs: &node.logs_directory,
        resolver: &resolver,
        cluster_domain: &node.cluster_domain,
        user_range: user_range(node, pod),
    };
    sandbox_config(pod, &inputs)
        .map_err(|error| Trouble::new("FailedCreatePodSandBox", error.to_string(), Retry::Soon))
}

/// Makes the volumes, or finds them made.
pub(super) async fn volumes(node: &Arc<Node>, pod: &Pod) -> Result<Prepared, Trouble> {
    let (node, pod) = (node.clone(), pod.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        let facts = node.facts(&[]);
        node.volumes.prepare(&pod, &facts)
    });
    match prepared.await {
        Ok(Ok(prepared)) => Ok(prepared),
        Ok(Err(error)) => Err(Trouble::new("FailedMount", said(&error), Retry::Soon)),
        Err(error) => Err(Trouble::new("FailedMount", error.to_string(), Retry::Soon)),
    }
}

/// An error with its causes.
pub(super) fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Makes the sandbox.
pub(super) async fn start(node: &Arc<Node>, pod: &Pod, attempt: u32) -> Result<(), Trouble> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let made = make(node, pod, attempt).await;
    if let Err(trouble) = &made {
        let message = match trouble.reason {
            "FailedMount" => trouble.message.clone(),
            _ => format!("Failed to create pod sandbox: {}", trouble.message),
        };
        let subject = Subject::pod(pod);
        node.events
            .record(&subject, Kind::Warning, trouble.reason, &message);
        tracing::warn!(
            pod = uid,
            reason = trouble.reason,
            message,
            "pod does not start"
        );
    }
    made
}

async fn make(node: &Arc<Node>, pod: &Pod, attempt: u32) -> Result<(), Trouble> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let failed = |error: std::io::Error| {
        Trouble::new("FailedCreatePodSandBox", error.to_string(), Retry::BackOff)
    };
    files::make_directory(&node.pod_directory(uid)).map_err(failed)?;
    volumes(node, pod).await?;
    let config = config(node, pod, attempt)?;
    let logs = std::path::Path::new(&config.log_directory);
    files::make_directory(logs).map_err(failed)?;
    let handler = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.runtime_class_name.clone());
    node.runtime
        .run_sandbox(config, &handler.unwrap_or_default())
        .await
        .map(drop)
        .map_err(|error| Trouble::runtime("FailedCreatePodSandBox", &error))
}
