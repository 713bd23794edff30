//! `carpel wait`: until pods are as they shall be.

use std::io::Write;
use std::time::Instant;

use carpel_agent::manifest::Kind;
use serde_json::Value;

use super::api::{Agent, list, object_path, objects_path, text};
use super::delete;
use super::json_path::shown;
use super::resource::{Scope, fetch, wanted};
use super::wait_for::WaitFor;
use crate::cli::arguments::WaitArguments;
use crate::cli::error::CliError;
use crate::cli::writer::Writer;

pub(in crate::cli) fn run<W: Write>(
    arguments: &WaitArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let agent = Agent::of(&arguments.agent)?;
    let deadline = Instant::now() + arguments.timeout;
    for (namespace, name) in pods(&agent, arguments)? {
        if !wait(&agent, (&namespace, &name), &arguments.what, deadline)? {
            return Err(CliError::TimedOut { name });
        }
        output.line(format!("pod/{name} condition met"))?;
        output.flush()?;
    }
    Ok(())
}

/// Namespaces and names of the pods that are meant.
fn pods(agent: &Agent, arguments: &WaitArguments) -> Result<Vec<(String, String)>, CliError> {
    let namespace = arguments.namespace.name();
    let scope = Scope {
        namespace: (!arguments.all_namespaces).then_some(namespace),
        labels: arguments.selection.selector.as_ref(),
        fields: arguments.selection.field_selector.as_ref(),
    };
    let mut pods = Vec::new();
    for wanted in wanted(&arguments.pods)? {
        if wanted.resource.kind()? != Kind::Pod {
            return Err(CliError::NoSuchObject {
                kind: "pod",
                word: arguments.pods.join(" "),
            });
        }
        if !wanted.names.is_empty() {
            let names = wanted.names.into_iter();
            pods.extend(names.map(|name| (namespace.to_owned(), name)));
            continue;
        }
        if !arguments.all && scope.labels.is_none() && scope.fields.is_none() {
            return Err(CliError::NoName);
        }
        let found = fetch(agent, &wanted, scope)?;
        pods.extend(found.objects.iter().map(|object| {
            let of = |pointer| text(object, pointer).to_owned();
            (of("/metadata/namespace"), of("/metadata/name"))
        }));
    }
    match pods.is_empty() && arguments.what != WaitFor::Delete {
        true => Err(CliError::NoneMatches),
        false => Ok(pods),
    }
}

/// False if the time is over.
fn wait(
    agent: &Agent,
    (namespace, name): (&str, &str),
    what: &WaitFor,
    deadline: Instant,
) -> Result<bool, CliError> {
    let pod = agent.find(&object_path(Kind::Pod, namespace, name))?;
    let path = objects_path(Kind::Pod.plural(), Some(namespace));
    let path = format!("{path}?watch=true&fieldSelector=metadata.name={name}");
    match (what, pod) {
        (WaitFor::Delete, None) => Ok(true),
        (WaitFor::Create, _) => agent.watch(&path, Some(deadline), |word, _| Ok(word != "DELETED")),
        (_, None) => Err(CliError::NotFound {
            plural: Kind::Pod.plural(),
            name: name.to_owned(),
        }),
        (WaitFor::Delete, Some(pod)) => {
            let pod = delete::Pod {
                namespace,
                name,
                uid: text(&pod, "/metadata/uid"),
            };
            delete::wait_until_gone(agent, &pod, Some(deadline))
        }
        (what, Some(_)) => agent.watch(&path, Some(deadline), |word, pod| {
            Ok(word != "DELETED" && is_met(what, pod))
        }),
    }
}

fn is_met(what: &WaitFor, pod: &Value) -> bool {
    match what {
        WaitFor::Condition { name, status } => list(pod, "/status/conditions").iter().any(|it| {
            text(it, "/type").eq_ignore_ascii_case(name)
                && text(it, "/status").eq_ignore_ascii_case(status)
        }),
        WaitFor::JsonPath { path, value } => {
            let found = path.values(pod);
            match value {
                Some(value) => found.iter().any(|it| shown(it) == *value),
                None => !found.is_empty(),
            }
        }
        WaitFor::Delete | WaitFor::Create => false,
    }
}
