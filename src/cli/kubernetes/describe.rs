//! `carpel describe`: what a person wants to know of an object, and what happened to it. Values of Secrets are not shown.

use std::fmt::Write as _;
use std::io::Write;

use carpel_agent::manifest::Kind;
use serde_json::Value;

use super::age;
use super::api::{Agent, list, objects_path, text};
use super::resource::{Resource, Scope, fetch, wanted};
use super::{describe_container, describe_node};
use crate::cli::arguments::DescribeArguments;
use crate::cli::error::CliError;
use crate::cli::table;
use crate::cli::writer::{self, Writer};
use crate::cli::yaml;

pub(in crate::cli) fn run<W: Write>(
    arguments: &DescribeArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let agent = Agent::of(&arguments.agent)?;
    let scope = Scope {
        namespace: (!arguments.all_namespaces).then_some(arguments.namespace.name()),
        labels: arguments.selection.selector.as_ref(),
        fields: arguments.selection.field_selector.as_ref(),
    };
    let events = agent.get(&objects_path("events", scope.namespace))?;
    let mut errors = Vec::new();
    let mut count = 0;
    for wanted in wanted(&arguments.words)? {
        let mut found = fetch(&agent, &wanted, scope)?;
        errors.append(&mut found.errors);
        for object in &found.objects {
            if count > 0 {
                output.line("\n")?;
            }
            count += 1;
            let text = match wanted.resource {
                Resource::Object(Kind::Pod) => pod(object),
                Resource::Nodes => describe_node::text_of(object, &pods(&agent)?),
                Resource::Events => yaml::text(object),
                Resource::Object(_) => other(object, wanted.resource.plural()),
            };
            output.bytes(text.as_bytes())?;
            if wanted.resource == Resource::Object(Kind::Pod) {
                output.bytes(events_of(object, list(&events, "/items")).as_bytes())?;
            }
        }
    }
    if count == 0 && errors.is_empty() {
        writer::complain("No resources found");
    }
    match errors.pop() {
        None => Ok(()),
        Some(last) => {
            errors.iter().for_each(|error| writer::report(error));
            Err(last)
        }
    }
}

fn pods(agent: &Agent) -> Result<Vec<Value>, CliError> {
    let answer = agent.get(&objects_path(Kind::Pod.plural(), None))?;
    Ok(list(&answer, "/items").to_vec())
}

/// Lines `Name:  value`, the values under each other.
pub(super) struct Lines(pub(super) String);

impl Lines {
    pub(super) fn line(&mut self, name: &str, value: &str) {
        // Text in memory takes any text.
        writeln!(self.0, "{:<18}{value}", format!("{name}:")).ok();
    }

    pub(super) fn map(&mut self, name: &str, values: &Value) {
        let values = values.as_object().filter(|values| !values.is_empty());
        let Some(values) = values else {
            self.line(name, "<none>");
            return;
        };
        for (index, (key, value)) in values.iter().enumerate() {
            let value = format!("{key}={}", value.as_str().unwrap_or_default());
            match index {
                0 => self.line(name, &value),
                _ => {
                    writeln!(self.0, "{:<18}{value}", "").ok();
                }
            }
        }
    }

    pub(super) fn raw(&mut self, text: &str) {
        self.0.push_str(text);
    }
}

fn pod(pod: &Value) -> String {
    let mut lines = Lines(String::new());
    head(&mut lines, pod);
    lines.line("Service Account", text(pod, "/spec/serviceAccountName"));
    lines.line("Node", text(pod, "/spec/nodeName"));
    lines.line("Start Time", text(pod, "/status/startTime"));
    lines.map("Labels", &pod["metadata"]["labels"]);
    lines.map("Annotations", &pod["metadata"]["annotations"]);
    let deletion = text(pod, "/metadata/deletionTimestamp");
    match deletion.is_empty() {
        true => lines.line("Status", text(pod, "/status/phase")),
        false => {
            lines.line("Status", &format!("Terminating (until {deletion})"));
            let grace = &pod["metadata"]["deletionGracePeriodSeconds"];
            lines.line("Grace Period", &format!("{grace}s"));
        }
    }
    for (name, pointer) in [("Reason", "/status/reason"), ("Message", "/status/message")] {
        if !text(pod, pointer).is_empty() {
            lines.line(name, text(pod, pointer));
        }
    }
    lines.line("IP", text(pod, "/status/podIP"));
    let ips = list(pod, "/status/podIPs").iter().map(|ip| text(ip, "/ip"));
    lines.line("IPs", &ips.collect::<Vec<_>>().join(" "));
    containers(
        &mut lines,
        pod,
        "Init Containers",
        ("initContainers", "initContainerStatuses"),
    );
    containers(
        &mut lines,
        pod,
        "Containers",
        ("containers", "containerStatuses"),
    );
    conditions(&mut lines, pod);
    volumes(&mut lines, pod);
    lines.line("QoS Class", text(pod, "/status/qosClass"));
    lines.map("Node-Selectors", &pod["spec"]["nodeSelector"]);
    lines.0
}

fn head(lines: &mut Lines, object: &Value) {
    lines.line("Name", text(object, "/metadata/name"));
    lines.line("Namespace", text(object, "/metadata/namespace"));
}

fn containers(lines: &mut Lines, pod: &Value, title: &str, fields: (&str, &str)) {
    let containers = list(&pod["spec"], &format!("/{}", fields.0));
    if containers.is_empty() {
        return;
    }
    lines.raw(&format!("{title}:\n"));
    let statuses = list(&pod["status"], &format!("/{}", fields.1));
    for container in containers {
        lines.raw(&format!("  {}:\n", text(container, "/name")));
        let status = statuses.iter().find(|it| it["name"] == container["name"]);
        lines.raw(&describe_container::lines(
            container,
            status.unwrap_or(&Value::Null),
        ));
    }
}

fn conditions(lines: &mut Lines, pod: &Value) {
    lines.raw("Conditions:\n");
    let rows: Vec<[String; 4]> = list(pod, "/status/conditions")
        .iter()
        .map(|condition| {
            let of = |pointer| text(condition, pointer).to_owned();
            [of("/type"), of("/status"), of("/reason"), of("/message")]
        })
        .collect();
    for line in table::lines(["Type", "Status", "Reason", "Message"], &rows) {
        lines.raw(&format!("  {line}\n"));
    }
}

fn volumes(lines: &mut Lines, pod: &Value) {
    let volumes = list(pod, "/spec/volumes");
    lines.raw(if volumes.is_empty() {
        "Volumes:          <none>\n"
    } else {
        "Volumes:\n"
    });
    for volume in volumes {
        lines.raw(&format!("  {}:\n", text(volume, "/name")));
        let sources = volume.as_object().into_iter().flatten();
        for (kind, source) in sources.filter(|(kind, _)| *kind != "name") {
            lines.raw(&format!("    Type:         {kind}\n"));
            for (field, value) in source.as_object().into_iter().flatten() {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                lines.raw(&format!("    {:<14}{value}\n", format!("{field}:")));
            }
        }
    }
}

fn events_of(object: &Value, events: &[Value]) -> String {
    let own = events
        .iter()
        .filter(|event| event["involvedObject"]["uid"] == object["metadata"]["uid"]);
    let rows: Vec<[String; 5]> = own
        .map(|event| {
            let age = age::since(text(event, "/lastTimestamp"));
            let count = event["count"].as_i64().unwrap_or(1);
            let first = age::since(text(event, "/firstTimestamp"));
            [
                text(event, "/type").to_owned(),
                text(event, "/reason").to_owned(),
                match count {
                    1 => age,
                    count => format!("{age} (x{count} over {first})"),
                },
                text(event, "/source/component").to_owned(),
                text(event, "/message").trim_end().to_owned(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "Events:           <none>\n".to_owned();
    }
    let lines = table::lines(["Type", "Reason", "Age", "From", "Message"], &rows);
    let lines = lines.iter().map(|line| format!("  {line}\n"));
    std::iter::once("Events:\n".to_owned())
        .chain(lines)
        .collect()
}

/// Secrets, ConfigMaps and service accounts.
fn other(object: &Value, plural: &str) -> String {
    let mut lines = Lines(String::new());
    head(&mut lines, object);
    lines.map("Labels", &object["metadata"]["labels"]);
    lines.map("Annotations", &object["metadata"]["annotations"]);
    if plural == "secrets" {
        lines.line("Type", text(object, "/type"));
    }
    if plural == "serviceaccounts" {
        let names = list(object, "/imagePullSecrets")
            .iter()
            .map(|it| text(it, "/name"));
        let names: Vec<&str> = names.collect();
        let shown = if names.is_empty() {
            "<none>".to_owned()
        } else {
            names.join(" ")
        };
        lines.line("Image pull secrets", &format!(" {shown}"));
        return lines.0;
    }
    lines.raw("\nData\n====\n");
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        match plural {
            "secrets" => {
                // In base64, four characters are three bytes.
                let padding = value.bytes().rev().take_while(|&byte| byte == b'=').count();
                let bytes = (value.len() / 4 * 3).saturating_sub(padding);
                lines.raw(&format!("{key}:  {bytes} bytes\n"));
            }
            _ => lines.raw(&format!("{key}:\n----\n{value}\n\n")),
        }
    }
    lines.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_keeps_its_values_to_itself() {
        let secret = json!({
            "metadata": { "name": "s", "namespace": "default" },
            "type": "Opaque",
            "data": { "password": "c2VjcmV0" },
        });
        let text = other(&secret, "secrets");
        assert!(text.contains("password:  6 bytes"), "{text}");
        assert!(!text.contains("c2VjcmV0"), "{text}");
    }

    #[test]
    fn a_pod_says_why_it_waits() {
        let object = json!({
            "metadata": { "name": "web", "namespace": "default", "uid": "u" },
            "spec": { "containers": [{ "name": "main", "image": "nope",
                "env": [{ "name": "P", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }] }] },
            "status": { "phase": "Pending",
                "containerStatuses": [{ "name": "main", "state": { "waiting": {
                    "reason": "ErrImagePull", "message": "no such image" } } }],
                "conditions": [{ "type": "Ready", "status": "False", "reason": "ContainersNotReady" }] },
        });
        let said = pod(&object);
        for wanted in [
            "Reason:       ErrImagePull",
            "Message:      no such image",
            "<set to the key 'k' in secret 's'>",
            "Ready  False   ContainersNotReady",
        ] {
            assert!(said.contains(wanted), "{wanted} in\n{said}");
        }
        let events = [
            json!({ "involvedObject": { "uid": "u" }, "type": "Warning", "reason": "Failed",
            "message": "Error: ErrImagePull", "count": 1 }),
        ];
        assert!(events_of(&object, &events).contains("Error: ErrImagePull"));
    }
}
