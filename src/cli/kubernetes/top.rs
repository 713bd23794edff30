//! `carpel top`: what pods use.

use std::io::Write;

use serde_json::Value;

use super::api::{Agent, list, text};
use crate::cli::arguments::TopCommand;
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
        namespace,
        agent,
    } = command;
    let agent = Agent::of(agent)?;
    let path = match all_namespaces {
        true => "/apis/metrics.k8s.io/v1beta1/pods".to_owned(),
        false => format!(
            "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods",
            namespace.namespace
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
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        let mut start = Vec::new();
        if *all_namespaces {
            start.push(text(pod, "/metadata/namespace").to_owned());
        }
        start.push(name.to_owned());
        let all: Vec<(String, u64, u64)> = list(pod, "/containers").iter().map(usage).collect();
        if *containers {
            for (container, cpu, memory) in all {
                let mut row = start.clone();
                row.extend([container, shown_cpu(cpu), shown_memory(memory)]);
                rows.push(row);
            }
        } else {
            let cpu = all.iter().map(|(_, cpu, _)| cpu).sum();
            let memory = all.iter().map(|(_, _, memory)| memory).sum();
            start.extend([shown_cpu(cpu), shown_memory(memory)]);
            rows.push(start);
        }
    }
    for line in table::any_lines(&head, &rows) {
        output.line(line)?;
    }
    Ok(())
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
