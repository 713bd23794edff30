//! Tables of objects with kubectl's columns.

use serde_json::Value;

use super::age;
use super::api::{list, text};
use super::pod_status::Summary;

/// Which columns are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns<'a> {
    /// The plural of the kind.
    pub(super) kind: &'a str,
    /// More of them.
    pub(super) wide: bool,
    /// With the namespace.
    pub(super) namespaces: bool,
}

impl Columns<'_> {
    /// Their names.
    pub(super) fn head(self) -> Vec<&'static str> {
        let mut head = match self.kind {
            "pods" => vec!["NAME", "READY", "STATUS", "RESTARTS", "AGE"],
            "secrets" => vec!["NAME", "TYPE", "DATA", "AGE"],
            "configmaps" => vec!["NAME", "DATA", "AGE"],
            "serviceaccounts" => vec!["NAME", "SECRETS", "AGE"],
            _ => vec!["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"],
        };
        if self.kind == "pods" && self.wide {
            head.extend(["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]);
        }
        if self.namespaces {
            head.insert(0, "NAMESPACE");
        }
        head
    }

    /// An object's cells.
    pub(super) fn row(self, object: &Value) -> Vec<String> {
        let name = || text(object, "/metadata/name").to_owned();
        let mut row = match self.kind {
            "pods" => self.pod(object),
            "secrets" => vec![
                name(),
                text(object, "/type").to_owned(),
                count(object, &["/data"]),
                age::of(object),
            ],
            "configmaps" => {
                let count = count(object, &["/data", "/binaryData"]);
                vec![name(), count, age::of(object)]
            }
            "serviceaccounts" => {
                let secrets = list(object, "/secrets").len().to_string();
                vec![name(), secrets, age::of(object)]
            }
            _ => event(object),
        };
        if self.namespaces {
            row.insert(0, text(object, "/metadata/namespace").to_owned());
        }
        row
    }

    fn pod(self, pod: &Value) -> Vec<String> {
        let summary = Summary::of(pod);
        let mut row = vec![
            text(pod, "/metadata/name").to_owned(),
            format!("{}/{}", summary.ready, summary.total),
            summary.status.clone(),
            summary.restarts(),
            age::of(pod),
        ];
        if self.wide {
            let or_none = |pointer| match text(pod, pointer) {
                "" => "<none>".to_owned(),
                text => text.to_owned(),
            };
            row.extend([
                or_none("/status/podIP"),
                or_none("/spec/nodeName"),
                or_none("/status/nominatedNodeName"),
                "<none>".to_owned(),
            ]);
        }
        row
    }
}

/// How many values an object has.
fn count(object: &Value, pointers: &[&str]) -> String {
    let count = |pointer: &&str| {
        let values = object.pointer(pointer).and_then(Value::as_object);
        values.map_or(0, serde_json::Map::len)
    };
    pointers.iter().map(count).sum::<usize>().to_string()
}

fn event(event: &Value) -> Vec<String> {
    vec![
        age::since(text(event, "/lastTimestamp")),
        text(event, "/type").to_owned(),
        text(event, "/reason").to_owned(),
        format!(
            "{}/{}",
            text(event, "/involvedObject/kind").to_lowercase(),
            text(event, "/involvedObject/name")
        ),
        text(event, "/message").trim_end().to_owned(),
    ]
}
