//! `carpel delete`: pods end in order, with their grace period; other objects go at once.

use std::io::Write;
use std::time::Instant;

use carpel_agent::manifest::Kind;

use super::api::{Agent, object_path, objects_path, text};
use super::manifests;
use super::resource::{Scope, fetch, wanted};
use crate::cli::arguments::{DeleteArguments, DryRun};
use crate::cli::error::CliError;
use crate::cli::writer::{self, Writer};

struct Target {
    kind: Kind,
    namespace: String,
    name: String,
    uid: String,
}

pub(in crate::cli) fn run<W: Write>(
    arguments: &DeleteArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let agent = Agent::of(&arguments.agent)?;
    let mut going = Vec::new();
    let mut missing = None;
    for mut target in targets(&agent, arguments)? {
        let Some(uid) = delete(&agent, &target, arguments)? else {
            if !arguments.ignore_not_found {
                let error = CliError::NotFound {
                    plural: target.kind.plural(),
                    name: target.name,
                };
                // The others go all the same.
                missing
                    .replace(error)
                    .iter()
                    .for_each(|it| writer::report(it));
            }
            continue;
        };
        say(&target, arguments, output)?;
        target.uid = uid;
        going.push(target);
    }
    if arguments.wait && arguments.dry_run == DryRun::None {
        wait(&agent, &going, arguments)?;
    }
    match missing {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// Its uid; `None` if it was not there.
fn delete(
    agent: &Agent,
    target: &Target,
    arguments: &DeleteArguments,
) -> Result<Option<String>, CliError> {
    let grace = match (arguments.grace_period, arguments.now, arguments.force) {
        (Some(seconds), _, _) => Some(seconds),
        (None, true, _) => Some(1),
        (None, false, true) => Some(0),
        (None, false, false) => None,
    };
    let path = object_path(target.kind, &target.namespace, &target.name);
    let deleted = match (arguments.dry_run, grace) {
        (DryRun::Client | DryRun::Server, _) => agent.find(&path)?,
        (DryRun::None, Some(seconds)) => {
            agent.delete(&format!("{path}?gracePeriodSeconds={seconds}"))?
        }
        (DryRun::None, None) => agent.delete(&path)?,
    };
    Ok(deleted.map(|object| text(&object, "/metadata/uid").to_owned()))
}

fn say<W: Write>(
    target: &Target,
    arguments: &DeleteArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let (kind, name) = (target.kind.singular(), &target.name);
    match arguments.output {
        Some(_) => output.line(format!("{kind}/{name}"))?,
        None => output.line(format!(
            "{kind} {name:?} deleted from {} namespace{}",
            target.namespace,
            arguments.dry_run.note()
        ))?,
    }
    output.flush().map_err(CliError::Print)
}

fn wait(agent: &Agent, going: &[Target], arguments: &DeleteArguments) -> Result<(), CliError> {
    let deadline = arguments.timeout.map(|timeout| Instant::now() + timeout);
    for target in going.iter().filter(|target| target.kind == Kind::Pod) {
        let pod = Pod {
            namespace: &target.namespace,
            name: &target.name,
            uid: &target.uid,
        };
        if !wait_until_gone(agent, &pod, deadline)? {
            return Err(CliError::TimedOut {
                name: target.name.clone(),
            });
        }
    }
    Ok(())
}

/// One pod; another one of the same name is not it.
pub(super) struct Pod<'a> {
    /// Its namespace.
    pub(super) namespace: &'a str,
    /// Its name.
    pub(super) name: &'a str,
    /// Its uid.
    pub(super) uid: &'a str,
}

/// False if the time is over.
pub(super) fn wait_until_gone(
    agent: &Agent,
    pod: &Pod<'_>,
    deadline: Option<Instant>,
) -> Result<bool, CliError> {
    let path = objects_path(Kind::Pod.plural(), Some(pod.namespace));
    let path = format!(
        "{path}?watch=true&sendInitialEvents=true&fieldSelector=metadata.name={}",
        pod.name
    );
    let is_it = |object: &serde_json::Value| text(object, "/metadata/uid") == pod.uid;
    let mut is_there = false;
    agent.watch(&path, deadline, |word, object| {
        is_there |= word != "BOOKMARK" && is_it(object);
        // After what is there comes a bookmark: what was not among it is gone already.
        Ok((word == "BOOKMARK" && !is_there) || (word == "DELETED" && is_it(object)))
    })
}

fn targets(agent: &Agent, arguments: &DeleteArguments) -> Result<Vec<Target>, CliError> {
    if !arguments.filename.is_empty() {
        let objects = manifests::read(&arguments.filename, &arguments.namespace)?;
        let target = |object: &carpel_agent::manifest::Object| Target {
            kind: object.kind(),
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            uid: String::new(),
        };
        return Ok(objects.iter().map(target).collect());
    }
    let scope = Scope {
        namespace: (!arguments.all_namespaces).then_some(arguments.namespace.name()),
        labels: arguments.selection.selector.as_ref(),
        fields: arguments.selection.field_selector.as_ref(),
    };
    let is_some_of_all = arguments.all || scope.labels.is_some() || scope.fields.is_some();
    let mut targets = Vec::new();
    for wanted in wanted(&arguments.words)? {
        let kind = wanted.resource.kind()?;
        let target = |namespace: &str, name: &str| Target {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: String::new(),
        };
        match (wanted.names.is_empty(), is_some_of_all) {
            (true, false) => return Err(CliError::NoName),
            (false, true) if arguments.all => return Err(CliError::NamesAndAll),
            (false, false) => {
                let namespace = scope.namespace.ok_or(CliError::NamesEverywhere)?;
                targets.extend(wanted.names.iter().map(|name| target(namespace, name)));
            }
            (_, true) => {
                let found = fetch(agent, &wanted, scope)?;
                targets.extend(found.objects.iter().map(|object| {
                    target(
                        text(object, "/metadata/namespace"),
                        text(object, "/metadata/name"),
                    )
                }));
            }
        }
    }
    if targets.is_empty() {
        writer::complain("No resources found");
    }
    Ok(targets)
}
