//! Status.

use std::collections::BTreeMap;

use crate::cri::pods::PodService;
use crate::cri::wire::runtime::{
    RuntimeCondition, RuntimeFeatures, RuntimeHandler, RuntimeHandlerFeatures, RuntimeStatus,
    StatusRequest, StatusResponse,
};
use crate::pod::{HandlerReport, RuntimeReport};

pub(in crate::cri) async fn status<P: PodService>(
    pods: &P,
    request: StatusRequest,
) -> StatusResponse {
    let report = pods.report().await;
    StatusResponse {
        status: Some(RuntimeStatus {
            conditions: vec![
                condition("RuntimeReady", &report.runtime_trouble),
                condition("NetworkReady", &report.network_trouble),
            ],
        }),
        runtime_handlers: report.handlers.iter().map(handler).collect(),
        info: match request.verbose {
            true => info(report),
            false => BTreeMap::new(),
        },
        features: Some(RuntimeFeatures {
            supplemental_groups_policy: true,
            user_namespaces_host_network: false,
            mount_options: true,
        }),
    }
}

/// A condition that holds, or one that does not with reason and message.
fn condition(name: &str, trouble: &Option<(String, String)>) -> RuntimeCondition {
    let (reason, message) = trouble.clone().unwrap_or_default();
    RuntimeCondition {
        r#type: name.to_owned(),
        status: trouble.is_none(),
        reason,
        message,
    }
}

/// Only what works is said: the kubelet refuses pods that need more, instead of running them with less.
fn handler(report: &HandlerReport) -> RuntimeHandler {
    RuntimeHandler {
        name: report.name.clone(),
        features: Some(RuntimeHandlerFeatures {
            recursive_read_only_mounts: report.recursive_read_only,
            user_namespaces: report.user_namespaces,
        }),
    }
}

/// The configuration under the key where critest looks for `stateDir`, and the facts about the host beside it.
fn info(report: RuntimeReport) -> BTreeMap<String, String> {
    let mut info = report.facts;
    info.insert("config".to_owned(), report.config_json);
    info
}
