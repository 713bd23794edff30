//! `carpel wait`: until pods are as they shall be.

use std::io::Write;
use std::time::Instant;

use carpel_agent::manifest::Kind;
use serde_json::Value;

use super::api::{Agent, list, object_path, objects_path, text};
use super::delete;
use crate::cli::arguments::{WaitArguments, WaitFor};
use crate::cli::error::CliError;
use crate::cli::writer::Writer;

pub(in crate::cli) fn run<W: Write>(
    arguments: &WaitArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let agent = Agent::of(&arguments.agent)?;
    let namespace = &*arguments.namespace.namespace;
    let deadline = Instant::now() + arguments.timeout;
    for word in &arguments.pods {
        let (kind, name) = word.split_once('/').unwrap_or(("pod", word));
        let kind: Kind = kind.parse().map_err(CliError::Kind)?;
        if kind != Kind::Pod {
            return Err(CliError::NoSuchObject {
                kind: "pod",
                word: word.clone(),
            });
        }
        let pod = agent.find(&object_path(kind, namespace, name))?;
        let is_met = match (&arguments.what, pod) {
            (WaitFor::Delete, None) => true,
            (_, None) => {
                return Err(CliError::NoSuchObject {
                    kind: "pod",
                    word: name.to_owned(),
                });
            }
            (WaitFor::Delete, Some(pod)) => {
                let pod = delete::Pod {
                    namespace,
                    name,
                    uid: text(&pod, "/metadata/uid"),
                };
                delete::wait_until_gone(&agent, &pod, Some(deadline))?
            }
            (what, Some(_)) => {
                let path = objects_path(kind.plural(), Some(namespace));
                let path = format!("{path}?watch=true&fieldSelector=metadata.name={name}");
                agent.watch(&path, Some(deadline), |word, pod| {
                    Ok(word != "DELETED" && is_met(what, pod))
                })?
            }
        };
        if !is_met {
            return Err(CliError::TimedOut {
                name: name.to_owned(),
            });
        }
        output.line(format!("pod/{name} condition met"))?;
        output.flush()?;
    }
    Ok(())
}

fn is_met(what: &WaitFor, pod: &Value) -> bool {
    match what {
        WaitFor::Condition { name, status } => list(pod, "/status/conditions").iter().any(|it| {
            text(it, "/type").eq_ignore_ascii_case(name)
                && text(it, "/status").eq_ignore_ascii_case(status)
        }),
        WaitFor::Phase(phase) => text(pod, "/status/phase") == phase,
        WaitFor::Delete => false,
    }
}
