//! What Carpel has set itself on its two-core reference machine, and whether an endpoint keeps it.
//!
//! Figures of another machine, or of one that does something else meanwhile, are no verdict on Carpel.

use super::crowd::Crowd;
use super::life::Call;
use super::measurement::Measured;
use super::specification::Network;

/// A figure and the most that it may be.
struct Budget {
    name: &'static str,
    unit: &'static str,
    most: f64,
    /// None if it was not measured.
    figure: fn(&Measured) -> Option<f64>,
}

const BUDGETS: [Budget; 13] = [
    Budget {
        name: "pod ready, host network",
        unit: "ms",
        most: 6.0,
        figure: |measured| median(measured, Some(Network::Host), Call::PodReady),
    },
    Budget {
        name: "pod ready, host network, p99",
        unit: "ms",
        most: 12.0,
        figure: |measured| p99(measured, Some(Network::Host), Call::PodReady),
    },
    Budget {
        name: "pod ready, pod network",
        unit: "ms",
        most: 8.0,
        figure: |measured| median(measured, Some(Network::Pod), Call::PodReady),
    },
    Budget {
        name: "pod ready, pod network, p99",
        unit: "ms",
        most: 15.0,
        figure: |measured| p99(measured, Some(Network::Pod), Call::PodReady),
    },
    Budget {
        name: "ExecSync(true)",
        unit: "ms",
        most: 2.0,
        figure: |measured| median(measured, Some(Network::Host), Call::ExecSync),
    },
    Budget {
        name: "ExecSync(true), p99",
        unit: "ms",
        most: 4.0,
        figure: |measured| p99(measured, Some(Network::Host), Call::ExecSync),
    },
    Budget {
        name: "StopPodSandbox, pod network",
        unit: "ms",
        most: 25.0,
        figure: |measured| median(measured, Some(Network::Pod), Call::StopPodSandbox),
    },
    Budget {
        name: "ListContainerStats of the listed pods",
        unit: "ms",
        most: 5.0,
        figure: |measured| median(measured, None, Call::ListContainerStats),
    },
    Budget {
        name: "the crowd up, host network",
        unit: "ms",
        most: 200.0,
        figure: |measured| of_crowd(measured, |crowd| Some(crowd.up.as_secs_f64() * 1000.0)),
    },
    Budget {
        name: "machine CPU per pod of the crowd",
        unit: "ms",
        most: 7.0,
        figure: |measured| {
            of_crowd(measured, |crowd| {
                Some(crowd.processor_time_per_pod.as_secs_f64() * 1000.0)
            })
        },
    },
    Budget {
        name: "daemon PSS, idle",
        unit: "MiB",
        most: 10.0,
        figure: |measured| of_crowd(measured, |crowd| crowd.daemon_idle_kib.map(mebibytes)),
    },
    Budget {
        name: "daemon PSS with the containers of the listed pods",
        unit: "MiB",
        most: 16.0,
        figure: |measured| measured.daemon_listed_kib.map(mebibytes),
    },
    Budget {
        name: "helpers PSS per pod of the crowd",
        unit: "KiB",
        most: 150.0,
        figure: |measured| {
            of_crowd(measured, |crowd| {
                Some(kibibytes(crowd.helpers_kib) / pods(crowd))
            })
        },
    },
];

fn median(measured: &Measured, network: Option<Network>, call: Call) -> Option<f64> {
    let samples = measured.samples.get(&(network, call))?;
    Some(samples.median().as_secs_f64() * 1000.0)
}

fn p99(measured: &Measured, network: Option<Network>, call: Call) -> Option<f64> {
    let samples = measured.samples.get(&(network, call))?;
    Some(samples.p99().as_secs_f64() * 1000.0)
}

/// Of the crowd with the host's network.
fn of_crowd(measured: &Measured, figure: fn(&Crowd) -> Option<f64>) -> Option<f64> {
    let mut crowds = measured.crowds.iter();
    figure(crowds.find(|crowd| crowd.network == Network::Host)?)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn pods(crowd: &Crowd) -> f64 {
    crowd.pods.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn kibibytes(count: u64) -> f64 {
    count as f64
}

fn mebibytes(count: u64) -> f64 {
    kibibytes(count) / 1024.0
}

/// A line for each budget that there is a figure for.
pub(super) fn text(measured: &Measured) -> String {
    let mut text = format!(
        "\n{:48}{:>12}{:>12}  verdict\n",
        format!("budgets, {}", measured.name),
        "budget",
        "figure"
    );
    for budget in &BUDGETS {
        if let Some(figure) = (budget.figure)(measured) {
            text.push_str(&line(budget, figure));
        }
    }
    text
}

fn line(budget: &Budget, figure: f64) -> String {
    let verdict = if figure <= budget.most {
        "kept".to_owned()
    } else {
        format!("MISSED by {:.0} %", (figure / budget.most - 1.0) * 100.0)
    };
    format!(
        "{:52}{:>12}{figure:>12.2}  {verdict}\n",
        budget.name,
        format!("{:.0} {}", budget.most, budget.unit)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_by_the_figure() {
        let budget = &BUDGETS[0];
        let words = |figure| {
            let line = line(budget, figure);
            line.split_whitespace()
                .skip(4)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(6.0), ["6", "ms", "6.00", "kept"]);
        assert_eq!(words(7.5), ["6", "ms", "7.50", "MISSED", "by", "25", "%"]);
    }
}
