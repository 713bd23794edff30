//! Tables of objects with kubectl's columns.

use serde_json::Value;

use super::age;
use super::api::{list, text};
use super::pod_status::Summary;
use super::resource::Resource;

/// Which columns are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns {
    /// Of which kind.
    pub(super) resource: Resource,
    /// More of them.
    pub(super) wide: bool,
    /// With the namespace.
    pub(super) namespaces: bool,
    /// With the labels.
    pub(super) labels: bool,
    /// The kind is before the name: there are others.
    pub(super) kinds: bool,
}

impl Columns {
    /// Their names.
    pub(super) fn head(self) -> Vec<&'static str> {
        let mut head = match self.resource.plural() {
            "nodes" => vec!["NAME", "STATUS", "ROLES", "AGE", "VERSION"],
            "pods" => vec!["NAME", "READY", "STATUS", "RESTARTS", "AGE"],
            "secrets" => vec!["NAME", "TYPE", "DATA", "AGE"],
            "configmaps" => vec!["NAME", "DATA", "AGE"],
            "serviceaccounts" => vec!["NAME", "SECRETS", "AGE"],
            _ => vec!["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"],
        };
        match (self.wide, self.resource.plural()) {
            (true, "pods") => head.extend(["IP", "NODE", "NOMINATED NODE", "READINESS GATES"]),
            (true, "nodes") => head.extend([
                "INTERNAL-IP",
                "EXTERNAL-IP",
                "OS-IMAGE",
                "KERNEL-VERSION",
                "CONTAINER-RUNTIME",
            ]),
            _ => {}
        }
        if self.labels {
            head.push("LABELS");
        }
        if self.namespaces && self.resource != Resource::Nodes {
            head.insert(0, "NAMESPACE");
        }
        head
    }

    /// An object's cells.
    pub(super) fn row(self, object: &Value) -> Vec<String> {
        let name = || self.name(object);
        let mut row = match self.resource.plural() {
            "nodes" => self.node(object),
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
        if self.labels {
            row.push(labels(object));
        }
        if self.namespaces && self.resource != Resource::Nodes {
            row.insert(0, text(object, "/metadata/namespace").to_owned());
        }
        row
    }

    fn name(self, object: &Value) -> String {
        let name = text(object, "/metadata/name");
        match self.kinds {
            true => format!("{}/{name}", self.resource.singular()),
            false => name.to_owned(),
        }
    }

    fn node(self, node: &Value) -> Vec<String> {
        let ready = list(node, "/status/conditions").iter();
        let mut ready = ready.filter(|it| it["type"] == "Ready");
        let is_ready = ready.any(|it| it["status"] == "True");
        let of = |pointer| text(node, pointer).to_owned();
        let mut row = vec![
            self.name(node),
            if is_ready { "Ready" } else { "NotReady" }.to_owned(),
            "<none>".to_owned(),
            age::of(node),
            of("/status/nodeInfo/kubeletVersion"),
        ];
        if self.wide {
            let addresses = list(node, "/status/addresses").iter();
            let mut internal = addresses.filter(|it| it["type"] == "InternalIP");
            let internal = internal.next().map_or("<none>", |it| text(it, "/address"));
            row.extend([
                internal.to_owned(),
                "<none>".to_owned(),
                of("/status/nodeInfo/osImage"),
                of("/status/nodeInfo/kernelVersion"),
                of("/status/nodeInfo/containerRuntimeVersion"),
            ]);
        }
        row
    }

    fn pod(self, pod: &Value) -> Vec<String> {
        let summary = Summary::of(pod);
        let mut row = vec![
            self.name(pod),
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

/// `app=web,tier=front`
fn labels(object: &Value) -> String {
    let labels = object["metadata"]["labels"].as_object();
    let all = labels.into_iter().flatten();
    let all: Vec<String> = all
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    match all.is_empty() {
        true => "<none>".to_owned(),
        false => all.join(","),
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
