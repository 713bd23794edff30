//! What the listener of a container's seccomp profile is told: the container process state of the OCI runtime specification
//! (config-linux.md, "The Container Process State"), as far as it is known before the process is there. Pure.

use std::path::Path;

use carpel_shim_protocol::message;
use oci_spec::runtime::Spec;
use serde_json::json;

/// For a container whose filter notifies; its shim adds the numbers of processes and the status.
pub(super) fn listener(
    specification: &Spec,
    container_id: &str,
    bundle: &Path,
) -> Option<message::SeccompListener> {
    let linux = specification.linux().as_ref()?;
    let profile = linux.seccomp().as_ref()?;
    let path = profile.listener_path().as_ref()?;
    let metadata = profile.listener_metadata().as_deref().unwrap_or_default();
    let mut state = vec![
        ("id", json!(container_id)),
        ("bundle", json!(bundle.display().to_string())),
    ];
    if let Some(annotations) = specification.annotations() {
        state.push(("annotations", json!(annotations)));
    }
    let members = state
        .iter()
        .map(|(name, value)| format!(",{}:{value}", json!(name)));
    Some(message::SeccompListener {
        path: path.display().to_string(),
        metadata: json!(metadata).to_string(),
        state: members.collect(),
        oci_version: json!(specification.version()).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_json() {
        let specification: Spec = serde_json::from_value(json!({
            "ociVersion": "1.2.0",
            "annotations": {"a": "b\"c"},
            "linux": {"seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": "/run/l.sock",
                "listenerMetadata": "x \"y\"",
            }},
        }))
        .unwrap();
        let told = listener(&specification, "c1", Path::new("/run/carpel/c1")).unwrap();
        assert_eq!(told.path, "/run/l.sock");
        assert_eq!(told.metadata, r#""x \"y\"""#);
        assert_eq!(told.oci_version, r#""1.2.0""#);
        assert_eq!(
            told.state,
            r#","id":"c1","bundle":"/run/carpel/c1","annotations":{"a":"b\"c"}"#
        );
        assert_eq!(listener(&Spec::default(), "c1", Path::new("/")), None);
    }
}
