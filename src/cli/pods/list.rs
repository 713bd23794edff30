//! `carpel pods`: the pods of this node.

use std::io::Write;

use serde::Serialize;

use super::style::{self, has_labels, shown};
use crate::cli::arguments::{PodStateName, PodsArguments};
use crate::cli::endpoint::Daemon;
use crate::cli::error::CliError;
use crate::cli::time;
use crate::cli::writer::Writer;
use crate::cri::PodSummary;

const HEAD: [&str; 8] = [
    "POD ID",
    "CREATED",
    "STATE",
    "NAME",
    "NAMESPACE",
    "ATTEMPT",
    "RUNTIME",
    "UID",
];

/// Columns that are shown without being asked for.
const NARROW: usize = 6;

/// A pod as `--output json` shows it.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    pod: &'a PodSummary,
    /// When it was made, in words for people.
    created: String,
}

pub(in crate::cli) fn run<W: Write>(
    arguments: &PodsArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let daemon = Daemon::of(&arguments.daemon)?;
    let mut pods = daemon.wait(daemon.client().pods())?;
    pods.retain(|pod| is_wanted(pod, arguments));
    pods.sort_by(|a, b| b.created_at.cmp(&a.created_at).then(a.id.cmp(&b.id)));
    let listed: Vec<Listed<'_>> = pods
        .iter()
        .map(|pod| Listed {
            pod,
            created: time::utc(pod.created_at),
        })
        .collect();
    let (now, style) = (time::now(), &arguments.style);
    let row = |listed: &Listed<'_>| {
        let pod = listed.pod;
        [
            shown(&pod.id, style),
            time::ago(pod.created_at, now),
            pod.state.clone(),
            pod.name.clone(),
            pod.namespace.clone(),
            pod.attempt.to_string(),
            match &*pod.runtime_handler {
                "" => "(default)".to_owned(),
                handler => handler.to_owned(),
            },
            pod.uid.clone(),
        ]
    };
    let id = |listed: &Listed<'_>| listed.pod.id.clone();
    style::print(output, style, &listed, (HEAD, NARROW), (row, id))?;
    Ok(())
}

fn is_wanted(pod: &PodSummary, arguments: &PodsArguments) -> bool {
    let state = arguments.state.map(|state| match state {
        PodStateName::Ready => "ready",
        PodStateName::NotReady => "notready",
    });
    let name = arguments.name.as_deref().unwrap_or_default();
    let namespace = arguments.namespace.as_ref();
    state.is_none_or(|state| state == pod.state)
        && pod.name.starts_with(name)
        && namespace.is_none_or(|namespace| *namespace == pod.namespace)
        && has_labels(&pod.labels, &arguments.label)
}
