//! `carpel delete`: pods end in order, with their grace period; other objects go at once.

use std::io::Write;
use std::time::Instant;

use carpel_agent::manifest::Kind;

use super::api::{Agent, object_path, objects_path, text};
use super::manifests;
use crate::cli::arguments::DeleteArguments;
use crate::cli::error::CliError;
use crate::cli::writer::Writer;

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
    let targets = targets(arguments)?;
    let agent = Agent::of(&arguments.agent)?;
    let grace = match (arguments.grace_period, arguments.now) {
        (Some(seconds), _) => Some(seconds),
        (None, true) => Some(1),
        (None, false) => None,
    };
    let mut going = Vec::new();
    for mut target in targets {
        let path = object_path(target.kind, &target.namespace, &target.name);
        let path = match grace {
            Some(seconds) => format!("{path}?gracePeriodSeconds={seconds}"),
            None => path,
        };
        match agent.delete(&path)? {
            Some(object) => {
                output.line(format!(
                    "{} {:?} deleted from {} namespace",
                    target.kind.singular(),
                    target.name,
                    target.namespace
                ))?;
                output.flush()?;
                target.uid = text(&object, "/metadata/uid").to_owned();
                going.push(target);
            }
            None if arguments.ignore_not_found => {}
            None => {
                return Err(CliError::NoSuchObject {
                    kind: target.kind.singular(),
                    word: target.name,
                });
            }
        }
    }
    if !arguments.wait {
        return Ok(());
    }
    let deadline = arguments.timeout.map(|timeout| Instant::now() + timeout);
    let pods = going.iter().filter(|target| target.kind == Kind::Pod);
    for target in pods {
        let pod = Pod {
            namespace: &target.namespace,
            name: &target.name,
            uid: &target.uid,
        };
        if !wait_until_gone(&agent, &pod, deadline)? {
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

fn targets(arguments: &DeleteArguments) -> Result<Vec<Target>, CliError> {
    if !arguments.filename.is_empty() {
        let objects = manifests::read(&arguments.filename)?;
        let target = |object: &carpel_agent::manifest::Object| Target {
            kind: object.kind(),
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            uid: String::new(),
        };
        return Ok(objects.iter().map(target).collect());
    }
    let target = |kind, name: &str| Target {
        kind,
        namespace: arguments.namespace.namespace.clone(),
        name: name.to_owned(),
        uid: String::new(),
    };
    let Some((first, rest)) = arguments.words.split_first() else {
        return Ok(Vec::new());
    };
    if !first.contains('/') {
        let kind: Kind = first.parse().map_err(CliError::Kind)?;
        return match rest.is_empty() {
            true => Err(CliError::NoName),
            false => Ok(rest.iter().map(|name| target(kind, name)).collect()),
        };
    }
    let split = |word: &String| {
        let (kind, name) = word.split_once('/').ok_or(CliError::NoName)?;
        Ok(target(kind.parse().map_err(CliError::Kind)?, name))
    };
    arguments.words.iter().map(split).collect()
}
