//! Whether a pod may begin on this node at all: what a kubelet asks before anything else (`canAdmitPod`). A pod that is
//! rejected has failed, for good.

use std::fs;

use k8s_openapi::api::core::v1::{AppArmorProfile, Pod};

use crate::status::Verdict;

/// apparmor(7): `Y` where the kernel enforces profiles.
const APP_ARMOR: &str = "/sys/module/apparmor/parameters/enabled";

/// Why the pod is rejected, if it is.
pub(super) fn reject(pod: &Pod) -> Option<Verdict> {
    (asks_for_app_armor(pod) && !has_app_armor()).then(|| Verdict {
        reason: "AppArmor".to_owned(),
        message: "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"
            .to_owned(),
    })
}

fn has_app_armor() -> bool {
    fs::read_to_string(APP_ARMOR).is_ok_and(|text| text.starts_with('Y'))
}

/// kubelet, `pkg/security/apparmor`, `isRequired`.
fn asks_for_app_armor(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let of_pod = spec.security_context.as_ref();
    let of_pod = of_pod.and_then(|context| context.app_armor_profile.as_ref());
    let init_containers = spec.init_containers.iter().flatten();
    let of_containers = init_containers
        .chain(&spec.containers)
        .filter_map(|container| {
            let context = container.security_context.as_ref()?;
            context.app_armor_profile.as_ref()
        });
    let confines = |profile: &AppArmorProfile| profile.type_ != "Unconfined";
    of_pod.into_iter().chain(of_containers).any(confines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn asks(of_pod: Value, of_container: Value) -> bool {
        let pod: Pod = serde_json::from_value(json!({ "metadata": {}, "spec": {
            "securityContext": { "appArmorProfile": of_pod },
            "containers": [{ "name": "a", "securityContext": { "appArmorProfile": of_container } }],
        } }))
        .unwrap();
        asks_for_app_armor(&pod)
    }

    #[test]
    fn whoever_is_to_be_confined_needs_app_armor() {
        let unconfined = json!({ "type": "Unconfined" });
        assert!(!asks(Value::Null, Value::Null));
        assert!(!asks(unconfined.clone(), unconfined.clone()));
        assert!(asks(json!({ "type": "RuntimeDefault" }), unconfined));
        let own = json!({ "type": "Localhost", "localhostProfile": "p" });
        assert!(asks(Value::Null, own));
    }
}
