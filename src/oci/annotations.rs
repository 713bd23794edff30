//! The annotations of a specification by which tools tell what it belongs to.

use std::collections::HashMap;

use super::input::Input;

/// Annotations under the CRI's own keys, as sandboxing runtimes (runsc, kata) and tracing tools read them.
///
/// The request's annotations are not copied: they belong to the client, and PodSandboxStatus echoes them.
pub(super) fn annotations(input: &Input<'_>) -> HashMap<String, String> {
    let sandbox = &input.sandbox.metadata;
    let container = input.container;
    let image = if container.image.user_specified_image.is_empty() {
        &container.image.image
    } else {
        &container.image.user_specified_image
    };
    [
        ("container-type", "container"),
        ("sandbox-id", input.sandbox_id),
        ("sandbox-name", &sandbox.name),
        ("sandbox-namespace", &sandbox.namespace),
        ("sandbox-uid", &sandbox.uid),
        ("container-name", &container.metadata.name),
        ("image-name", image),
    ]
    .into_iter()
    .map(|(key, value)| (format!("io.kubernetes.cri.{key}"), value.to_owned()))
    .collect()
}
