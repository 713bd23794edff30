//! Which fields the agent acts on. One table says it for the check of manifests and for `docs/pod-spec-coverage.md`: every field
//! of `PodSpec` is in it, and a test holds that against the types of Kubernetes and the document against the table.

mod container;
mod pod;
mod volume;

use super::error::{Field, Problem};
use super::object::Kind;
use super::tree::Node;

/// What the agent does with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Support {
    /// What a kubelet and an API server do.
    Supported,
    /// Nothing, and nothing is all there is to do on one node: why.
    NoEffect(&'static str),
    /// It refuses the manifest: why, or what to write instead.
    Refused(&'static str),
}

/// A field with what is below it, unless that has a row of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// As `spec.containers[].image`; what holds for `containers` holds for `initContainers`.
    pub(crate) path: &'static str,
    /// What the agent does with it.
    pub(crate) support: Support,
    /// Where its tests are: a file of `agent/src`, without its ending, or a folder. Empty where the table itself is tested.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the document is made by a test")
    )]
    pub(crate) tests: &'static str,
}

/// Fields of every kind's metadata. What only a server sets is dropped, as it comes from `get -o yaml`.
const METADATA: &[Row] = &[
    supported("metadata", "manifest/validation"),
    supported("metadata.name", "manifest/validation"),
    supported("metadata.namespace", "manifest/defaults"),
    supported("metadata.labels", "manifest/validation"),
    supported("metadata.annotations", "manifest/validation"),
    idle("metadata.uid", "set by the agent"),
    idle("metadata.resourceVersion", "set by the agent"),
    idle("metadata.generation", "set by the agent"),
    idle("metadata.creationTimestamp", "set by the agent"),
    idle("metadata.deletionTimestamp", "set by the agent"),
    idle("metadata.deletionGracePeriodSeconds", "set by the agent"),
    idle("metadata.managedFields", "set by servers"),
    idle("metadata.selfLink", "set by servers"),
    refused("metadata.generateName", "applying needs a name"),
    refused(
        "metadata.ownerReferences",
        "there is no garbage collection of owned objects",
    ),
    refused(
        "metadata.finalizers",
        "there are no controllers to remove them",
    ),
];

const POD_ROOT: &[Row] = &[
    supported("spec", "manifest/parse"),
    idle("status", "the agent says it"),
];

const SERVICE_ACCOUNT: &[Row] = &[
    supported("imagePullSecrets", "manifest/validation"),
    idle("secrets", "pods may mount any Secret of their namespace"),
    refused(
        "automountServiceAccountToken",
        "no token is mounted by itself: there is no API server to use it with; mount a projected serviceAccountToken",
    ),
];

const SECRET: &[Row] = &[
    supported("data", "manifest/validation"),
    supported("immutable", "store/tests"),
    supported("stringData", "manifest/defaults"),
    supported("type", "manifest/validation"),
];

const CONFIG_MAP: &[Row] = &[
    supported("binaryData", "manifest/validation"),
    supported("data", "manifest/validation"),
    supported("immutable", "store/tests"),
];

/// Fields that are known and not supported, as they are used in a document.
pub(crate) fn unsupported(kind: Kind, document: &Node) -> Vec<Field> {
    let mut found = Vec::new();
    walk(kind, document, "", "", &mut found);
    found
}

/// The rows of a kind.
pub(crate) fn rows(kind: Kind) -> impl Iterator<Item = &'static Row> {
    let own: &[&[Row]] = match kind {
        Kind::Pod => &[METADATA, POD_ROOT, pod::ROWS, container::ROWS, volume::ROWS],
        Kind::ServiceAccount => &[METADATA, SERVICE_ACCOUNT],
        Kind::Secret => &[METADATA, SECRET],
        Kind::ConfigMap => &[METADATA, CONFIG_MAP],
    };
    own.iter().flat_map(|rows| rows.iter())
}

/// The row of a pattern.
pub(crate) fn row(kind: Kind, pattern: &str) -> Option<&'static Row> {
    rows(kind).find(|row| row.path == pattern)
}

fn walk(kind: Kind, node: &Node, path: &str, pattern: &str, found: &mut Vec<Field>) {
    for (key, child) in node.entries() {
        let (path, pattern) = (joined(path, key), joined(pattern, folded(key)));
        // What has no row is below a row that speaks for all of it, or is unknown and reported as that.
        let Some(row) = row(kind, &pattern) else {
            continue;
        };
        match row.support {
            // Nothing is said there: `affinity: {}` asks for nothing. False is a wish like any other.
            Support::Refused(_) if child.is_empty() => {}
            Support::Refused(reason) => found.push(Field {
                path,
                line: child.line,
                problem: Problem::Unsupported { reason },
            }),
            Support::NoEffect(_) => {}
            Support::Supported => {
                for (index, item) in child.items().iter().enumerate() {
                    let (path, pattern) = (format!("{path}[{index}]"), format!("{pattern}[]"));
                    walk(kind, item, &path, &pattern, found);
                }
                walk(kind, child, &path, &pattern, found);
            }
        }
    }
}

/// Init containers are containers: one row speaks for both.
pub(crate) fn folded(key: &str) -> &str {
    match key {
        "initContainers" => "containers",
        _ => key,
    }
}

fn joined(path: &str, key: &str) -> String {
    match path.is_empty() {
        true => key.to_owned(),
        false => format!("{path}.{key}"),
    }
}

const fn supported(path: &'static str, tests: &'static str) -> Row {
    Row {
        path,
        support: Support::Supported,
        tests,
    }
}

const fn idle(path: &'static str, why: &'static str) -> Row {
    Row {
        path,
        support: Support::NoEffect(why),
        tests: "",
    }
}

const fn refused(path: &'static str, why: &'static str) -> Row {
    Row {
        path,
        support: Support::Refused(why),
        tests: "",
    }
}
