//! Runtime handlers: what the RuntimeClass of a pod chooses. The sandbox is Carpel's own with each; a handler says who makes
//! its containers.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The handler that is always there.
const BUILT_IN: &str = "carpel";

/// Who makes the containers of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeHandler {
    /// Carpel's shim itself.
    BuiltIn,
    /// Another OCI runtime, run by the shim.
    Oci(OciHandler),
}

/// Another OCI runtime.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OciHandler {
    /// Its program.
    pub program: PathBuf,
    /// Its options, before the command.
    pub options: Vec<String>,
    /// It says of itself that it knows recursive read-only mounts.
    pub recursive_read_only: bool,
    /// Where cgroup2 is mounted, if not at /sys/fs/cgroup, where runtimes look for it.
    pub cgroup_mount: Option<PathBuf>,
}

/// All handlers of the node.
#[derive(Debug, Clone)]
pub struct RuntimeHandlers {
    named: BTreeMap<String, RuntimeHandler>,
    default: String,
}

impl Default for RuntimeHandlers {
    fn default() -> Self {
        Self::new(BUILT_IN.to_owned(), BTreeMap::new())
    }
}

/// What a handler can do, for CRI Status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerReport {
    /// Its name; empty for the default one, which has its own name too.
    pub name: String,
    /// Recursive read-only mounts.
    pub recursive_read_only: bool,
    /// Pods with user namespaces of their own.
    pub user_namespaces: bool,
}

impl RuntimeHandlers {
    /// These, and the built-in one. `default` is what a pod gets that asks for none.
    pub fn new(default: String, mut named: BTreeMap<String, RuntimeHandler>) -> Self {
        named.insert(BUILT_IN.to_owned(), RuntimeHandler::BuiltIn);
        Self { named, default }
    }

    /// The handler of that name; the empty name is the default one.
    pub fn get(&self, name: &str) -> Option<&RuntimeHandler> {
        match name {
            "" => self.named.get(&self.default),
            name => self.named.get(name),
        }
    }

    /// All of them, the default one under the empty name too, sorted by name. `user_namespaces`: can the host make them?
    pub(super) fn report(&self, user_namespaces: bool) -> Vec<HandlerReport> {
        let default = self.get("").map(|handler| ("", handler));
        let named = self.named.iter();
        let named = named.map(|(name, handler)| (name.as_str(), handler));
        let report = |(name, handler): (&str, &RuntimeHandler)| {
            let (recursive_read_only, mapped) = match handler {
                RuntimeHandler::BuiltIn => (true, user_namespaces),
                RuntimeHandler::Oci(handler) => (handler.recursive_read_only, false),
            };
            HandlerReport {
                name: name.to_owned(),
                recursive_read_only,
                user_namespaces: mapped,
            }
        };
        default.into_iter().chain(named).map(report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_crun(default: &str) -> RuntimeHandlers {
        let crun = OciHandler {
            program: "/usr/bin/crun".into(),
            recursive_read_only: true,
            ..OciHandler::default()
        };
        let named = BTreeMap::from([("crun".to_owned(), RuntimeHandler::Oci(crun))]);
        RuntimeHandlers::new(default.to_owned(), named)
    }

    #[test]
    fn the_empty_name_is_the_default_handler() {
        let handlers = with_crun("carpel");
        assert_eq!(handlers.get(""), Some(&RuntimeHandler::BuiltIn));
        assert!(matches!(handlers.get("crun"), Some(RuntimeHandler::Oci(_))));
        assert_eq!(handlers.get("kata"), None);
        let handlers = with_crun("crun");
        assert!(matches!(handlers.get(""), Some(RuntimeHandler::Oci(_))));
        assert_eq!(handlers.get("carpel"), Some(&RuntimeHandler::BuiltIn));
    }

    #[test]
    fn only_what_works_is_reported() {
        let reported = |default: &str| -> Vec<(String, bool, bool)> {
            let report = with_crun(default).report(true);
            let features = report.into_iter();
            features
                .map(|one| (one.name, one.recursive_read_only, one.user_namespaces))
                .collect()
        };
        let named = |name: &str, recursive, users| (name.to_owned(), recursive, users);
        assert_eq!(
            reported("carpel"),
            [
                named("", true, true),
                named("carpel", true, true),
                named("crun", true, false)
            ]
        );
        assert_eq!(reported("crun").first(), Some(&named("", true, false)));
        let without = RuntimeHandlers::default().report(false);
        assert!(without.iter().all(|handler| !handler.user_namespaces));
    }
}
