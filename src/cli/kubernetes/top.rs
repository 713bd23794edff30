//! `carpel top`: what pods use.

use std::io::Write;

use carpel_agent::manifest::Kind;
use serde_json::Value;

use super::api::{Agent, list, text};
use super::resource::{Resource, Scope, Wanted, fetch};
use crate::cli::arguments::{TopCommand, TopOrder};
use crate::cli::error::CliError;
use crate::cli::table;
use crate::cli::writer::Writer;

pub(in crate::cli) fn run<W: Write>(
    command: &TopCommand,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let TopCommand::Pod {
        names,
        containers,
        all_namespaces,
        selection,
        sort_by,
        no_headers,
        namespace,
        agent,
    } = command;
    let agent = Agent::of(agent)?;
    let scope = Scope {
        namespace: (!all_namespaces).then_some(namespace.name()),
        labels: selection.selector.as_ref(),
        fields: selection.field_selector.as_ref(),
    };
    let chosen = chosen(&agent, names, scope)?;
    let path = match all_namespaces {
        true => "/apis/metrics.k8s.io/v1beta1/pods".to_owned(),
        false => format!(
            "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods",
            namespace.name()
        ),
    };
    let answer = agent.get(&path)?;
    let mut head = vec!["CPU(cores)", "MEMORY(bytes)"];
    if *containers {
        head.splice(0..0, ["POD", "NAME"]);
    } else {
        head.insert(0, "NAME");
    }
    if *all_namespaces {
        head.insert(0, "NAMESPACE");
    }
    let mut rows = Vec::new();
    for pod in list(&answer, "/items") {
        let name = text(pod, "/metadata/name");
        let key = (text(pod, "/metadata/namespace"), name);
        let is_chosen =
            |it: &Value| key == (text(it, "/metadata/namespace"), text(it, "/metadata/name"));
        if !chosen.iter().any(is_chosen) {
            continue;
        }
        rows.extend(rows_of(pod, *all_namespaces, *containers));
    }
    match sort_by {
        Some(TopOrder::Cpu) => rows.sort_by_key(|row| std::cmp::Reverse(row.cpu)),
        Some(TopOrder::Memory) => rows.sort_by_key(|row| std::cmp::Reverse(row.memory)),
        None => {}
    }
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.cells).collect();
    for line in table::any_lines(&head, &rows)
        .iter()
        .skip(usize::from(*no_headers))
    {
        output.line(line)?;
    }
    Ok(())
}

/// A line of the table, and what it is ordered by.
struct Row {
    /// Billionths of a processor.
    cpu: u64,
    /// Bytes.
    memory: u64,
    cells: Vec<String>,
}

/// One of a pod, or one of each of its containers.
fn rows_of(pod: &Value, with_namespace: bool, of_containers: bool) -> Vec<Row> {
    let namespace = with_namespace.then(|| text(pod, "/metadata/namespace").to_owned());
    let name = text(pod, "/metadata/name").to_owned();
    let start: Vec<String> = namespace.into_iter().chain([name]).collect();
    let row = |container: Option<String>, cpu, memory| {
        let mut cells = start.clone();
        cells.extend(container);
        cells.extend([shown_cpu(cpu), shown_memory(memory)]);
        Row { cpu, memory, cells }
    };
    let all = list(pod, "/containers").iter().map(usage);
    if of_containers {
        return all
            .map(|(container, cpu, memory)| row(Some(container), cpu, memory))
            .collect();
    }
    let (cpu, memory) = all.fold((0, 0), |(cpu, memory), (_, more_cpu, more_memory)| {
        (cpu + more_cpu, memory + more_memory)
    });
    vec![row(None, cpu, memory)]
}

/// The pods that are meant.
fn chosen(agent: &Agent, names: &[String], scope: Scope<'_>) -> Result<Vec<Value>, CliError> {
    let wanted = Wanted {
        resource: Resource::Object(Kind::Pod),
        names: names.to_vec(),
    };
    let mut found = fetch(agent, &wanted, scope)?;
    match found.errors.pop() {
        None => Ok(found.objects),
        Some(error) => Err(error),
    }
}

/// Of a container: its name, billionths of a processor, bytes.
fn usage(container: &Value) -> (String, u64, u64) {
    let number = |pointer| {
        let text = text(container, pointer).trim_end_matches('n');
        text.parse().unwrap_or(0)
    };
    (
        text(container, "/name").to_owned(),
        number("/usage/cpu"),
        number("/usage/memory"),
    )
}

/// In thousandths, rounded up.
fn shown_cpu(nano: u64) -> String {
    format!("{}m", nano.div_ceil(1_000_000))
}

fn shown_memory(bytes: u64) -> String {
    format!("{}Mi", bytes / (1024 * 1024))
}
