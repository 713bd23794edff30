//! `carpel get`: objects as a table, or as they are.

use std::io::Write;

use carpel_agent::manifest::Kind;
use serde_json::{Value, json};

use super::api::{Agent, list, object_path, objects_path, text};
use super::columns::Columns;
use crate::cli::arguments::{GetArguments, GetFormat};
use crate::cli::error::CliError;
use crate::cli::table;
use crate::cli::writer::Writer;

/// What is asked for.
pub(super) struct Wanted {
    /// The plural of the kind.
    pub(super) plural: &'static str,
    /// The kind; `None` for events.
    pub(super) kind: Option<Kind>,
    /// Which ones; none: all.
    pub(super) names: Vec<String>,
}

/// `TYPE NAME…` or `TYPE/NAME`.
pub(super) fn wanted(word: &str, names: &[String]) -> Result<Wanted, CliError> {
    let (kind, name) = match word.split_once('/') {
        Some((kind, name)) => (kind, Some(name.to_owned())),
        None => (word, None),
    };
    let names = name.into_iter().chain(names.iter().cloned()).collect();
    if matches!(kind, "events" | "event" | "ev") {
        return Ok(Wanted {
            plural: "events",
            kind: None,
            names,
        });
    }
    let kind: Kind = kind.parse().map_err(CliError::Kind)?;
    Ok(Wanted {
        plural: kind.plural(),
        kind: Some(kind),
        names,
    })
}

/// The objects that are asked for.
pub(super) fn fetch(
    agent: &Agent,
    wanted: &Wanted,
    namespace: Option<&str>,
) -> Result<Vec<Value>, CliError> {
    let all = |agent: &Agent| {
        let answer = agent.get(&objects_path(wanted.plural, namespace))?;
        Ok::<_, CliError>(list(&answer, "/items").to_vec())
    };
    match (wanted.kind, wanted.names.is_empty()) {
        (_, true) => all(agent),
        (None, false) => {
            let mut events = all(agent)?;
            events.retain(|event| {
                wanted
                    .names
                    .iter()
                    .any(|it| it == text(event, "/metadata/name"))
            });
            Ok(events)
        }
        (Some(kind), false) => {
            let namespace = namespace.unwrap_or("default");
            let names = wanted.names.iter();
            names
                .map(|name| agent.get(&object_path(kind, namespace, name)))
                .collect()
        }
    }
}

pub(in crate::cli) fn run<W: Write>(
    arguments: &GetArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let agent = Agent::of(&arguments.agent)?;
    let wanted = wanted(&arguments.kind, &arguments.names)?;
    let namespace = (!arguments.all_namespaces).then_some(&*arguments.namespace.namespace);
    let columns = Columns {
        kind: wanted.plural,
        wide: arguments.output == Some(GetFormat::Wide),
        namespaces: arguments.all_namespaces,
    };
    if arguments.watch {
        return watch(&agent, &wanted, namespace, (columns, arguments), output);
    }
    let objects = fetch(&agent, &wanted, namespace)?;
    match arguments.output {
        Some(GetFormat::Json) => output.json(&shown(&wanted, objects))?,
        Some(GetFormat::Yaml) => output.yaml(&shown(&wanted, objects))?,
        Some(GetFormat::Name) => {
            for object in &objects {
                output.line(format!(
                    "{}/{}",
                    singular(&wanted),
                    text(object, "/metadata/name")
                ))?;
            }
        }
        None | Some(GetFormat::Wide) => {
            if objects.is_empty() {
                let place = match namespace {
                    Some(namespace) => format!(" in {namespace} namespace"),
                    None => String::new(),
                };
                crate::cli::writer::complain(&format!("No resources found{place}."));
                return Ok(());
            }
            let rows: Vec<Vec<String>> = objects.iter().map(|it| columns.row(it)).collect();
            let lines = table::any_lines(&columns.head(), &rows);
            for line in lines.iter().skip(usize::from(arguments.no_headers)) {
                output.line(line)?;
            }
        }
    }
    Ok(())
}

fn singular(wanted: &Wanted) -> &'static str {
    wanted.kind.map_or("event", Kind::singular)
}

/// One object that was named stands alone.
fn shown(wanted: &Wanted, mut objects: Vec<Value>) -> Value {
    match (wanted.names.len(), objects.pop()) {
        (1, Some(object)) if objects.is_empty() => object,
        (_, last) => {
            objects.extend(last);
            json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": objects })
        }
    }
}

/// Line by line as things change: the widths of columns are those of the first lines, then at least a name's.
fn watch<W: Write>(
    agent: &Agent,
    wanted: &Wanted,
    namespace: Option<&str>,
    (columns, arguments): (Columns<'_>, &GetArguments),
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let path = format!("{}?watch=true", objects_path(wanted.plural, namespace));
    let head = columns.head();
    let mut widths: Vec<usize> = head.iter().map(|name| name.len().max(12)).collect();
    let mut print = |cells: &[String], output: &mut Writer<W>| {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        output.line(padded.join("  ").trim_end())?;
        output.flush()
    };
    if !arguments.no_headers && !is_whole(arguments) {
        let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
        print(&head, output)?;
    }
    let mut last: Vec<Vec<String>> = Vec::new();
    agent.watch(&path, None, |_, object| {
        let name = text(object, "/metadata/name");
        if !wanted.names.is_empty() && !wanted.names.iter().any(|it| it == name) {
            return Ok(false);
        }
        if is_whole(arguments) {
            match arguments.output {
                Some(GetFormat::Yaml) => output.yaml(object)?,
                Some(GetFormat::Name) => output.line(format!("{}/{name}", singular(wanted)))?,
                _ => output.json_line(object)?,
            }
            output.flush()?;
            return Ok(false);
        }
        let row = columns.row(object);
        // A change that no column shows is none.
        if !last.contains(&row) {
            last.retain(|known| known.first() != row.first());
            print(&row, output)?;
            last.push(row);
        }
        Ok(false)
    })?;
    Ok(())
}

fn is_whole(arguments: &GetArguments) -> bool {
    !matches!(arguments.output, None | Some(GetFormat::Wide))
}
