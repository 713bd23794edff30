//! `carpel stats`: what containers use; a live table on a terminal, one answer in a pipe.

use std::io::{IsTerminal, Write};

use crate::cli::arguments::{StatsArguments, TableOrJson};
use crate::cli::endpoint::Daemon;
use crate::cli::error::CliError;
use crate::cli::table;
use crate::cli::writer::Writer;
use crate::cri::ContainerUsage;

const HEAD: [&str; 8] = [
    "CONTAINER",
    "NAME",
    "POD",
    "CPU %",
    "MEMORY",
    "SWAP",
    "DISK",
    "INODES",
];

/// As much of an id as people need.
const SHORT: usize = 13;

/// Cursor to the upper left corner, and nothing below it: ECMA-48, CUP and ED.
const CLEAR: &str = "\x1b[H\x1b[J";

pub(in crate::cli) fn run<W: Write>(
    arguments: &StatsArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let daemon = Daemon::of(&arguments.daemon)?;
    let is_live = std::io::stdout().is_terminal()
        && !arguments.no_stream
        && matches!(arguments.output, TableOrJson::Table);
    loop {
        let mut all = daemon.wait(daemon.client().container_usage())?;
        all.retain(|usage| is_wanted(usage, &arguments.containers));
        all.sort_by(|one, other| {
            let busy = other.cpu_nano_cores.cmp(&one.cpu_nano_cores);
            busy.then_with(|| one.id.cmp(&other.id))
        });
        match arguments.output {
            TableOrJson::Json => output.json(&all).map_err(CliError::Print)?,
            TableOrJson::Table => print(&all, is_live, output).map_err(CliError::Print)?,
        }
        if !is_live {
            return Ok(());
        }
        daemon.wait(async {
            tokio::time::sleep(arguments.interval).await;
            Ok::<(), CliError>(())
        })?;
    }
}

fn print<W: Write>(
    all: &[ContainerUsage],
    is_live: bool,
    output: &mut Writer<W>,
) -> std::io::Result<()> {
    let rows: Vec<_> = all.iter().map(row).collect();
    let mut lines = table::lines(HEAD, &rows);
    if is_live {
        // In one write, so that nothing flickers.
        lines.insert(0, String::new());
        let text = lines.join("\n");
        output.line(format!("{CLEAR}{}", text.trim_start()))?;
    } else {
        for line in lines {
            output.line(line)?;
        }
    }
    output.flush()
}

fn row(usage: &ContainerUsage) -> [String; HEAD.len()] {
    let bytes = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), table::bytes);
    [
        usage.id.get(..SHORT).unwrap_or(&usage.id).to_owned(),
        usage.name.clone(),
        match &*usage.namespace {
            "" => usage.pod.clone(),
            namespace => format!("{namespace}/{}", usage.pod),
        },
        percent(usage.cpu_nano_cores),
        table::bytes(usage.memory_working_set_bytes),
        bytes(usage.swap_bytes),
        bytes(usage.writable_layer_bytes),
        usage
            .writable_layer_inodes
            .map_or_else(|| "-".to_owned(), |inodes| inodes.to_string()),
    ]
}

/// 100 is one whole processor.
fn percent(nano_cores: u64) -> String {
    let hundredths = nano_cores / 100_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// By a name, or the beginning of an id; all if nothing is named.
fn is_wanted(usage: &ContainerUsage, wanted: &[String]) -> bool {
    wanted.is_empty()
        || wanted
            .iter()
            .any(|wanted| usage.name == *wanted || usage.id.starts_with(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage() -> ContainerUsage {
        ContainerUsage {
            id: "0123456789abcdef".to_owned(),
            name: "nginx".to_owned(),
            pod: "web-0".to_owned(),
            namespace: "shop".to_owned(),
            timestamp: 1,
            cpu_nanoseconds: 2,
            cpu_nano_cores: 1_255_000_000,
            memory_working_set_bytes: 4_512_345,
            memory_usage_bytes: 5_000_000,
            memory_available_bytes: None,
            swap_bytes: None,
            writable_layer_bytes: Some(1000),
            writable_layer_inodes: Some(12),
            cpu_pressure_percent: None,
            memory_pressure_percent: None,
            io_pressure_percent: None,
        }
    }

    #[test]
    fn a_row_has_units_and_a_dash_for_what_is_not_known() {
        let row = row(&usage());
        assert_eq!(
            row,
            [
                "0123456789abc",
                "nginx",
                "shop/web-0",
                "125.50",
                "4.51MB",
                "-",
                "1.00kB",
                "12"
            ]
        );
    }

    #[test]
    fn a_live_table_begins_in_the_corner_and_one_in_a_pipe_does_not() {
        for (is_live, begin) in [(true, "\x1b[H\x1b[JCONTAINER"), (false, "CONTAINER")] {
            let mut bytes = Vec::new();
            print(&[usage()], is_live, &mut Writer::plain(&mut bytes)).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.starts_with(begin), "{text:?}");
            assert_eq!(text.lines().count(), 2, "{text:?}");
        }
    }

    #[test]
    fn containers_are_named_by_name_or_by_the_beginning_of_their_id() {
        for (wanted, is_meant) in [("nginx", true), ("0123", true), ("ngin", false)] {
            assert_eq!(
                is_wanted(&usage(), &[wanted.to_owned()]),
                is_meant,
                "{wanted}"
            );
        }
        assert!(is_wanted(&usage(), &[]));
    }
}
