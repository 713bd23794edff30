//! A pod as a whole: what its parts say of each other.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::container::{self, Place, Role};
use super::found::Found;
use super::{context, environment, network, volume};
use crate::manifest::error::Problem;
use crate::manifest::names;

/// The most seconds that a pod may run.
const DEADLINE_MAX: i64 = i32::MAX as i64;

pub(super) fn validate(found: &mut Found, pod: &Pod) {
    let Some(spec) = &pod.spec else {
        found.required("spec", "");
        return;
    };
    let volumes = volume::validate(found, spec);
    containers(found, spec, &volumes);
    environment::validate_file_volumes(found, spec);
    restarts(found, spec);
    context::validate_pod(found, spec);
    network::validate(found, spec);
    references(found, spec);
}

fn containers(found: &mut Found, spec: &PodSpec, volumes: &BTreeSet<String>) {
    if spec.containers.is_empty() {
        found.required("spec.containers", "");
    }
    let mut names = BTreeSet::new();
    let init_containers = spec.init_containers.as_deref().unwrap_or_default();
    let all = [
        ("spec.containers", Role::Main, spec.containers.as_slice()),
        ("spec.initContainers", Role::Init, init_containers),
    ];
    for (list, role, containers) in all {
        for (index, container) in containers.iter().enumerate() {
            let path = format!("{list}[{index}]");
            found.unique(format!("{path}.name"), &mut names, &container.name);
            let place = Place {
                path: &path,
                role,
                spec,
                volumes,
            };
            container::validate(found, &place, container);
        }
    }
}

fn restarts(found: &mut Found, spec: &PodSpec) {
    found.one_of(
        "spec.restartPolicy",
        spec.restart_policy.as_deref(),
        &["Always", "OnFailure", "Never"],
    );
    found.at_least(
        "spec.terminationGracePeriodSeconds",
        spec.termination_grace_period_seconds,
        0,
    );
    found.between(
        "spec.activeDeadlineSeconds",
        spec.active_deadline_seconds,
        1,
        DEADLINE_MAX,
    );
}

fn references(found: &mut Found, spec: &PodSpec) {
    let subdomains = [
        ("spec.serviceAccountName", &spec.service_account_name),
        ("spec.nodeName", &spec.node_name),
        ("spec.runtimeClassName", &spec.runtime_class_name),
    ];
    for (path, name) in subdomains {
        if let Some(name) = name.as_deref().filter(|name| !name.is_empty()) {
            found.check(path, name, names::subdomain);
        }
    }
    for (index, reference) in spec.image_pull_secrets.iter().flatten().enumerate() {
        if reference.name.is_empty() {
            found.required(format!("spec.imagePullSecrets[{index}].name"), "");
        }
    }
    for (key, value) in spec.node_selector.iter().flatten() {
        found.check("spec.nodeSelector", key, names::qualified_name);
        found.check("spec.nodeSelector", value, names::label_value);
    }
    found.one_of(
        "spec.schedulerName",
        spec.scheduler_name.as_deref(),
        &["default-scheduler"],
    );
    found.one_of(
        "spec.os.name",
        spec.os.as_ref().map(|os| os.name.as_str()),
        &["linux"],
    );
    if spec.automount_service_account_token == Some(true) {
        let reason = "no token is mounted by itself: there is no API server to use it with; mount a projected serviceAccountToken";
        found.note(
            "spec.automountServiceAccountToken",
            Problem::Unsupported { reason },
        );
    }
}
