//! From the configured runtime handlers to those of the domain: what a runtime can do is asked of itself.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::config::{Handler, RuntimeSection};
use crate::pod::{OciHandler, RuntimeHandler, RuntimeHandlers};

/// A runtime says what it can do in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where runtimes look for cgroup2.
const CGROUP_MOUNT: &str = "/sys/fs/cgroup";

/// The handlers. One whose program is missing or does not answer is there all the same, with fewer features: it may be
/// installed later.
pub(super) async fn handlers(section: &RuntimeSection, cgroup_mount: &Path) -> RuntimeHandlers {
    let mut named = std::collections::BTreeMap::new();
    let elsewhere = (cgroup_mount != Path::new(CGROUP_MOUNT)).then(|| cgroup_mount.to_owned());
    for (name, handler) in &section.handlers {
        let name = name.as_str();
        let handler = match handler {
            Handler::BuiltIn {} => RuntimeHandler::BuiltIn,
            Handler::Oci { path, options } => RuntimeHandler::Oci(OciHandler {
                program: path.clone(),
                options: options.clone(),
                recursive_read_only: knows_recursive_read_only(name, path).await,
                cgroup_mount: elsewhere.clone(),
            }),
        };
        named.insert(name.to_owned(), handler);
    }
    RuntimeHandlers::new(section.default_handler.clone(), named)
}

/// `RUNTIME features` (features.md of the runtime specification); older ones have no such command.
async fn knows_recursive_read_only(name: &str, program: &PathBuf) -> bool {
    let asked = tokio::process::Command::new(program)
        .arg("features")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(output)) => has_option(&output.stdout, "rro"),
        Ok(Err(error)) => {
            tracing::warn!(handler = name, program = %program.display(), %error, "its runtime cannot be run");
            false
        }
        Err(_elapsed) => {
            tracing::warn!(handler = name, program = %program.display(), "its runtime does not say what it can do");
            false
        }
    }
}

fn has_option(features: &[u8], option: &str) -> bool {
    let features: serde_json::Value = serde_json::from_slice(features).unwrap_or_default();
    let options = features.get("mountOptions").and_then(|it| it.as_array());
    options.is_some_and(|options| options.iter().any(|one| one == option))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_knows_what_it_says() {
        let features = br#"{"ociVersionMin":"1.0.0","mountOptions":["ro","rro"]}"#;
        assert!(has_option(features, "rro"));
        assert!(!has_option(features, "idmap"));
        assert!(!has_option(b"No help topic for 'features'", "rro"));
        assert!(!has_option(b"{}", "rro"));
    }
}
