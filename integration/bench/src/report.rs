//! The result, for people side by side with ratios, or as JSON.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use carpel_bench_endpoint::Output;

use super::budget;
use super::crowd::Crowd;
use super::error::BenchError;
use super::execs;
use super::life::Call;
use super::logs;
use super::measurement::{Measured, Report};
use super::samples::Samples;
use super::specification::Network;

/// Prints whatever was measured to stdout.
pub(crate) fn print_all(report: &Report, output: Output) -> Result<(), BenchError> {
    let text = match report {
        Report::Calls(measured) => return print(measured, output),
        Report::Logs(results, megabytes) => logs::text(results, *megabytes),
        Report::Execs(soaks) => execs::text(soaks),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    let Report::Execs(soaks) = report else {
        return Ok(());
    };
    for soak in soaks {
        let left = soak.left();
        if !left.is_empty() {
            return Err(BenchError::Left {
                endpoint: soak.name.clone(),
                left: left.join("; "),
            });
        }
    }
    Ok(())
}

/// Prints to stdout.
fn print(measured: &[Measured], output: Output) -> Result<(), BenchError> {
    let mut stdout = std::io::stdout().lock();
    match output {
        Output::Text => stdout.write_all(text(measured).as_bytes())?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut stdout, &json(measured))?;
            writeln!(stdout)?;
        }
    }
    Ok(())
}

fn text(measured: &[Measured]) -> String {
    let mut text = String::new();
    for endpoint in measured {
        text.push_str(&format!("{}: {}\n", endpoint.name, endpoint.runtime));
    }
    for network in [Some(Network::Host), Some(Network::Pod), None] {
        let calls: BTreeSet<Call> = measured
            .iter()
            .flat_map(|endpoint| endpoint.samples.keys())
            .filter(|(of, _)| *of == network)
            .map(|(_, call)| *call)
            .collect();
        if calls.is_empty() {
            continue;
        }
        let title = network.map_or("lists", Network::name);
        text.push_str(&heading(&format!("{title}: median (p99) in ms"), measured));
        for call in calls {
            let cells = measured.iter().map(|endpoint| {
                let samples = endpoint.samples.get(&(network, call))?;
                Some(Cell::times(samples))
            });
            text.push_str(&row(call.name(), &cells.collect::<Vec<_>>()));
        }
        if let Some(network) = network {
            text.push_str(&costs(measured, network));
        }
    }
    let listed = measured.iter().map(|endpoint| endpoint.daemon_listed_kib);
    let listed: Vec<Option<Cell>> = listed.map(|kib| kib.map(Cell::count)).collect();
    if listed.iter().any(Option::is_some) {
        text.push_str(&row("daemon PSS with these, KiB", &listed));
    }
    if let Some(first) = measured.first() {
        text.push_str(&budget::text(first));
    }
    for endpoint in measured {
        let controllers: Vec<&str> = endpoint.controllers.iter().map(String::as_str).collect();
        text.push_str(&format!(
            "\ncgroups of a container of {}: {}\n",
            endpoint.name,
            if controllers.is_empty() {
                "none".to_owned()
            } else {
                controllers.join(", ")
            }
        ));
    }
    text
}

/// Processor time and crowds of one network.
fn costs(measured: &[Measured], network: Network) -> String {
    let lives = measured.iter().map(|endpoint| {
        let time = endpoint.processor_time.get(&network)?;
        Some(Cell::time(*time))
    });
    let mut text = row("machine CPU for a whole life", &lives.collect::<Vec<_>>());
    let crowds: Vec<Option<&Crowd>> = measured
        .iter()
        .map(|endpoint| {
            let mut crowds = endpoint.crowds.iter();
            crowds.find(|crowd| crowd.network == network)
        })
        .collect();
    let Some(first) = crowds.iter().flatten().next() else {
        return text;
    };
    let up = format!("{} pods up by {} workers", first.pods, first.workers);
    let down = format!("{} pods down by {}", first.pods, first.workers);
    let rows: [(&str, FigureOf); 8] = [
        (&up, |crowd| Some(Cell::time(crowd.up))),
        (&down, |crowd| Some(Cell::time(crowd.down))),
        ("machine CPU per pod of these", |crowd| {
            Some(Cell::time(crowd.processor_time_per_pod))
        }),
        ("daemon PSS, idle before, KiB", |crowd| {
            crowd.daemon_idle_kib.map(Cell::count)
        }),
        ("daemon PSS with them, KiB", |crowd| {
            crowd.daemon_kib.map(Cell::count)
        }),
        ("helper processes", |crowd| {
            Some(Cell::count(crowd.helpers as u64))
        }),
        ("helpers PSS, KiB", |crowd| {
            Some(Cell::count(crowd.helpers_kib))
        }),
        ("helpers PSS per pod, KiB", |crowd| {
            Some(Cell::count(crowd.helpers_kib / crowd.pods.max(1) as u64))
        }),
    ];
    for (name, of) in rows {
        let cells: Vec<Option<Cell>> = crowds.iter().map(|crowd| crowd.and_then(of)).collect();
        text.push_str(&row(name, &cells));
    }
    text
}

/// Picks one figure of a crowd; `None` if it was not to be had.
type FigureOf = fn(&Crowd) -> Option<Cell>;

/// What is printed for one endpoint, and the number that its ratio is made of.
struct Cell {
    text: String,
    value: f64,
}

impl Cell {
    fn times(samples: &Samples) -> Self {
        Self {
            text: format!(
                "{} ({})",
                milliseconds(samples.median()),
                milliseconds(samples.p99())
            ),
            value: samples.median().as_secs_f64(),
        }
    }

    fn time(duration: Duration) -> Self {
        Self {
            text: milliseconds(duration),
            value: duration.as_secs_f64(),
        }
    }

    fn count(count: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "for a ratio")]
        let value = count as f64;
        Self {
            text: count.to_string(),
            value,
        }
    }
}

fn heading(title: &str, measured: &[Measured]) -> String {
    let mut line = format!("\n{title:32}");
    for endpoint in measured {
        line.push_str(&format!("{:>20}", endpoint.name));
    }
    for endpoint in measured.iter().skip(1) {
        line.push_str(&format!("{:>18}", format!("{} ÷ first", endpoint.name)));
    }
    line.push('\n');
    line
}

/// A line of cells, and the ratio of each later one to the first. An endpoint without a figure has a dash.
fn row(name: &str, cells: &[Option<Cell>]) -> String {
    let mut line = format!("{name:31}");
    for cell in cells {
        let text = cell.as_ref().map_or("-", |cell| cell.text.as_str());
        line.push_str(&format!("{text:>20}"));
    }
    let value = |cell: &Option<Cell>| cell.as_ref().map_or(0.0, |cell| cell.value);
    let first = cells.first().map_or(0.0, value);
    for cell in cells.iter().skip(1) {
        let ratio = if first > 0.0 && cell.is_some() {
            format!("{:.1}", value(cell) / first)
        } else {
            "-".to_owned()
        };
        line.push_str(&format!("{ratio:>18}"));
    }
    line.push('\n');
    line
}

/// Three significant digits, as the machine's noise allows.
fn milliseconds(duration: Duration) -> String {
    let value = duration.as_secs_f64() * 1000.0;
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn json(measured: &[Measured]) -> serde_json::Value {
    let endpoints: Vec<serde_json::Value> = measured
        .iter()
        .map(|endpoint| {
            let calls: Vec<serde_json::Value> = endpoint
                .samples
                .iter()
                .map(|((network, call), samples)| {
                    serde_json::json!({
                        "network": network,
                        "call": call,
                        "count": samples.count(),
                        "median_ms": samples.median().as_secs_f64() * 1000.0,
                        "p99_ms": samples.p99().as_secs_f64() * 1000.0,
                    })
                })
                .collect();
            let processor_time: serde_json::Map<String, serde_json::Value> = endpoint
                .processor_time
                .iter()
                .map(|(network, time)| {
                    let key = network.name().replace(' ', "_");
                    (key, (time.as_secs_f64() * 1000.0).into())
                })
                .collect();
            serde_json::json!({
                "name": endpoint.name,
                "runtime": endpoint.runtime,
                "calls": calls,
                "machine_cpu_ms_per_life": processor_time,
                "crowds": endpoint.crowds,
                "daemon_listed_kib": endpoint.daemon_listed_kib,
                "cgroup_controllers": endpoint.controllers,
            })
        })
        .collect();
    serde_json::json!({ "endpoints": endpoints })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_ratio_to_the_first_and_dashes_for_what_is_missing() {
        let cells = |first: u64, second: Option<u64>| {
            let line = row("x", &[Some(Cell::count(first)), second.map(Cell::count)]);
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(cells(1, Some(3)), ["x", "1", "3", "3.0"]);
        assert_eq!(cells(0, Some(3)), ["x", "0", "3", "-"]);
        assert_eq!(cells(1, None), ["x", "1", "-", "-"]);
    }

    #[test]
    fn milliseconds_have_three_digits() {
        let text = |micros| milliseconds(Duration::from_micros(micros));
        assert_eq!(
            [text(1_234), text(12_345), text(123_456)],
            ["1.23", "12.3", "123"]
        );
    }
}
