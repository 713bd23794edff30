//! The result, for people side by side with ratios, or as JSON.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use super::arguments::Output;
use super::error::BenchError;
use super::life::Call;
use super::measurement::Measured;
use super::samples::Samples;
use super::specification::Network;

/// Prints to stdout.
pub(crate) fn print(measured: &[Measured], output: Output) -> Result<(), BenchError> {
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
            let samples: Vec<&Samples> = measured
                .iter()
                .filter_map(|endpoint| endpoint.samples.get(&(network, call)))
                .collect();
            let cells = samples.iter().map(|samples| {
                format!(
                    "{} ({})",
                    milliseconds(samples.median()),
                    milliseconds(samples.p99())
                )
            });
            let medians: Vec<f64> = samples
                .iter()
                .map(|samples| samples.median().as_secs_f64())
                .collect();
            text.push_str(&row(call.name(), cells, &medians));
        }
        if let Some(network) = network {
            text.push_str(&costs(measured, network));
        }
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
    let mut text = String::new();
    let times: Vec<Duration> = measured
        .iter()
        .filter_map(|endpoint| endpoint.processor_time.get(&network).copied())
        .collect();
    text.push_str(&duration_row("machine CPU for a whole life", &times));
    let crowds: Vec<_> = measured
        .iter()
        .filter_map(|endpoint| {
            endpoint
                .crowds
                .iter()
                .find(|crowd| crowd.network == network)
        })
        .collect();
    let Some(first) = crowds.first() else {
        return text;
    };
    let (pods, workers) = (first.pods, first.workers);
    let durations = |of: fn(&super::crowd::Crowd) -> Duration| -> Vec<Duration> {
        crowds.iter().map(|crowd| of(crowd)).collect()
    };
    text.push_str(&duration_row(
        &format!("{pods} pods up by {workers} workers"),
        &durations(|crowd| crowd.up),
    ));
    text.push_str(&duration_row(
        &format!("{pods} pods down by {workers}"),
        &durations(|crowd| crowd.down),
    ));
    text.push_str(&duration_row(
        "machine CPU per pod of these",
        &durations(|crowd| crowd.processor_time_per_pod),
    ));
    let memory = |of: fn(&super::crowd::Crowd) -> u64| -> Vec<u64> {
        crowds.iter().map(|crowd| of(crowd)).collect()
    };
    let rows = [
        (
            "daemon PSS before, KiB",
            memory(|crowd| crowd.daemon_idle_kib.unwrap_or(0)),
        ),
        (
            "daemon PSS with them, KiB",
            memory(|crowd| crowd.daemon_kib.unwrap_or(0)),
        ),
        (
            "helper processes per pod",
            memory(|crowd| (crowd.helpers / crowd.pods.max(1)) as u64),
        ),
        (
            "helpers PSS per pod, KiB",
            memory(|crowd| crowd.helpers_kib / crowd.pods.max(1) as u64),
        ),
    ];
    for (name, values) in rows {
        #[expect(clippy::cast_precision_loss, reason = "a ratio of KiB")]
        let floats: Vec<f64> = values.iter().map(|value| *value as f64).collect();
        text.push_str(&row(name, values.iter().map(u64::to_string), &floats));
    }
    text
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

fn duration_row(name: &str, durations: &[Duration]) -> String {
    let seconds: Vec<f64> = durations.iter().map(Duration::as_secs_f64).collect();
    let cells = durations.iter().map(|duration| milliseconds(*duration));
    row(name, cells, &seconds)
}

/// A line of cells, and the ratio of each later value to the first.
fn row(name: &str, cells: impl Iterator<Item = String>, values: &[f64]) -> String {
    let mut line = format!("{name:31}");
    for cell in cells {
        line.push_str(&format!("{cell:>20}"));
    }
    let first = values.first().copied().unwrap_or(0.0);
    for value in values.iter().skip(1) {
        let ratio = if first > 0.0 {
            format!("{:.1}", value / first)
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
    fn a_row_has_the_ratio_to_the_first() {
        let line = row(
            "x",
            ["1".to_owned(), "3".to_owned()].into_iter(),
            &[1.0, 3.0],
        );
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>(),
            ["x", "1", "3", "3.0"]
        );
        let line = row(
            "x",
            ["0".to_owned(), "3".to_owned()].into_iter(),
            &[0.0, 3.0],
        );
        assert!(line.trim_end().ends_with('-'));
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
