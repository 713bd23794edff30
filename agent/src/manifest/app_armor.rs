//! The annotation that named a container's AppArmor profile before there was a field for it: where the field is silent, it
//! says what the annotation says (pkg/registry/core/pod, `applyAppArmorVersionSkew`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{AppArmorProfile, Container};

/// The name of the container follows.
const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
const RUNTIME_DEFAULT: &str = "runtime/default";
const UNCONFINED: &str = "unconfined";
const LOCALHOST: &str = "localhost/";

/// Copies the annotation of a container into its field. A value that means nothing stays an annotation.
pub(super) fn adopt_annotation(
    container: &mut Container,
    annotations: Option<&BTreeMap<String, String>>,
) {
    let key = format!("{ANNOTATION}{}", container.name);
    let Some(profile) = annotations
        .and_then(|annotations| annotations.get(&key))
        .and_then(|value| profile(value))
    else {
        return;
    };
    let context = container.security_context.get_or_insert_default();
    context.app_armor_profile.get_or_insert(profile);
}

fn profile(value: &str) -> Option<AppArmorProfile> {
    let (type_, localhost_profile) = match value {
        RUNTIME_DEFAULT => ("RuntimeDefault", None),
        UNCONFINED => ("Unconfined", None),
        _ => ("Localhost", Some(value.strip_prefix(LOCALHOST)?.to_owned())),
    };
    Some(AppArmorProfile {
        type_: type_.to_owned(),
        localhost_profile,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn adopted(value: &str, own: Value) -> Value {
        let mut container: Container = serde_json::from_value(json!({
            "name": "main", "securityContext": { "appArmorProfile": own },
        }))
        .unwrap();
        let annotations = [(format!("{ANNOTATION}main"), value.to_owned())];
        adopt_annotation(&mut container, Some(&annotations.into()));
        let container = serde_json::to_value(&container).unwrap();
        container["securityContext"]["appArmorProfile"].clone()
    }

    #[test]
    fn an_annotation_counts_where_the_field_is_silent() {
        assert_eq!(
            adopted("localhost/my-profile", Value::Null),
            json!({ "type": "Localhost", "localhostProfile": "my-profile" })
        );
        let default = json!({ "type": "RuntimeDefault" });
        assert_eq!(adopted("runtime/default", Value::Null), default);
        assert_eq!(adopted("unconfined", default.clone()), default);
        assert_eq!(adopted("docker/default", Value::Null), Value::Null);
    }
}
