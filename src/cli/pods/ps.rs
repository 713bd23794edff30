//! `carpel ps`: the containers of this node.

use std::io::Write;

use serde::Serialize;

use super::find::{Object, Objects};
use super::style::{self, has_labels, shown};
use crate::cli::arguments::{ContainerStateName, ObjectKind, PsArguments};
use crate::cli::endpoint::Daemon;
use crate::cli::error::CliError;
use crate::cli::time;
use crate::cli::writer::Writer;
use crate::cri::ContainerSummary;

const HEAD: [&str; 11] = [
    "CONTAINER",
    "IMAGE",
    "CREATED",
    "STATE",
    "NAME",
    "ATTEMPT",
    "POD ID",
    "POD",
    "NAMESPACE",
    "IMAGE ID",
    "POD UID",
];

/// Columns that are shown without being asked for.
const NARROW: usize = 9;

/// A container as `--output json` shows it.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    container: &'a ContainerSummary,
    /// When it was made, in words for people.
    created: String,
    pod_name: &'a str,
    pod_namespace: &'a str,
    pod_uid: &'a str,
}

pub(in crate::cli) fn run<W: Write>(
    arguments: &PsArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let daemon = Daemon::of(&arguments.daemon)?;
    let objects = Objects::of(&daemon)?;
    let pod = match &arguments.pod {
        None => None,
        Some(word) => match objects.find(word, ObjectKind::Pod)? {
            Object::Pod(pod) => Some(pod.id),
            Object::Container(_) => None,
        },
    };
    let mut wanted: Vec<&ContainerSummary> = objects
        .containers()
        .iter()
        .filter(|container| is_wanted(container, arguments))
        .filter(|container| pod.as_ref().is_none_or(|id| *id == container.pod_id))
        .collect();
    wanted.sort_by(|a, b| b.created_at.cmp(&a.created_at).then(a.id.cmp(&b.id)));
    let listed: Vec<Listed<'_>> = wanted.iter().map(|it| listed(it, &objects)).collect();
    let (now, style) = (time::now(), &arguments.style);
    let row = |listed: &Listed<'_>| {
        let container = listed.container;
        [
            shown(&container.id, style),
            style::image(&container.image, style),
            time::ago(container.created_at, now),
            container.state.clone(),
            container.name.clone(),
            container.attempt.to_string(),
            shown(&container.pod_id, style),
            listed.pod_name.to_owned(),
            listed.pod_namespace.to_owned(),
            shown(&container.image_id, style),
            listed.pod_uid.to_owned(),
        ]
    };
    let id = |listed: &Listed<'_>| listed.container.id.clone();
    style::print(output, style, &listed, (HEAD, NARROW), (row, id))?;
    Ok(())
}

fn listed<'a>(container: &'a ContainerSummary, objects: &'a Objects) -> Listed<'a> {
    let pod = objects.pod_of(&container.pod_id);
    Listed {
        container,
        created: time::utc(container.created_at),
        pod_name: pod.map_or("", |pod| &pod.name),
        pod_namespace: pod.map_or("", |pod| &pod.namespace),
        pod_uid: pod.map_or("", |pod| &pod.uid),
    }
}

/// A state that is asked for is shown with and without `--all`.
fn is_wanted(container: &ContainerSummary, arguments: &PsArguments) -> bool {
    let state = match arguments.state {
        None if arguments.all => None,
        None | Some(ContainerStateName::Running) => Some("running"),
        Some(ContainerStateName::Created) => Some("created"),
        Some(ContainerStateName::Exited) => Some("exited"),
        Some(ContainerStateName::Unknown) => Some("unknown"),
    };
    let name = arguments.name.as_deref().unwrap_or_default();
    state.is_none_or(|state| state == container.state)
        && container.name.starts_with(name)
        && has_labels(&container.labels, &arguments.label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::{Arguments, Command};
    use clap::Parser;

    fn is_shown(options: &str, state: &str) -> bool {
        let line = format!("carpel ps {options}");
        let arguments = Arguments::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Ps(arguments) = arguments.command else {
            panic!("{arguments:?}");
        };
        let container = ContainerSummary {
            name: "web".to_owned(),
            state: state.to_owned(),
            labels: [("app".to_owned(), "x".to_owned())].into(),
            ..ContainerSummary::default()
        };
        is_wanted(&container, &arguments)
    }

    #[test]
    fn what_runs_is_shown_and_the_rest_when_it_is_asked_for() {
        assert!(is_shown("", "running"));
        assert!(!is_shown("", "exited"));
        assert!(is_shown("-a", "exited"));
        assert!(is_shown("--state exited", "exited"));
        assert!(!is_shown("--state EXITED -a", "running"));
        assert!(is_shown("--name we", "running"));
        assert!(!is_shown("--name eb", "running"));
        assert!(is_shown("-l app -l app=x", "running"));
        assert!(!is_shown("-l app=y", "running"));
    }
}
