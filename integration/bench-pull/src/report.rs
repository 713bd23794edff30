//! The result, for people or as JSON.

use std::io::Write;
use std::time::Duration;

use carpel_bench_endpoint::Output;

use super::error::BenchError;
use super::rounds::Turn;
use super::samples::Samples;

/// Everything that a run has found out.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Report {
    /// Name and version of each endpoint.
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) tables: Vec<Table>,
}

/// One image.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Table {
    pub(crate) image: &'static str,
    pub(crate) layers: usize,
    pub(crate) compressed_bytes: u64,
    pub(crate) floor: Contender,
    pub(crate) endpoints: Vec<Contender>,
}

/// One endpoint, or the bare program, with one image.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Contender {
    name: String,
    wall_seconds: Samples,
    processor_seconds: Samples,
    peak_mib: Samples,
    /// Wall time divided by that of the bare program in the same round.
    wall_to_floor: Samples,
    processor_to_floor: Samples,
}

impl Contender {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            wall_seconds: Samples::default(),
            processor_seconds: Samples::default(),
            peak_mib: Samples::default(),
            wall_to_floor: Samples::default(),
            processor_to_floor: Samples::default(),
        }
    }

    pub(crate) fn add(&mut self, turn: &Turn, floor: &Turn) {
        self.wall_seconds.add(turn.wall.as_secs_f64());
        self.processor_seconds.add(turn.processor.as_secs_f64());
        self.wall_to_floor.add(ratio(turn.wall, floor.wall));
        self.processor_to_floor
            .add(ratio(turn.processor, floor.processor));
        if let Some(kib) = turn.peak_kib {
            self.peak_mib
                .add(Duration::from_micros(kib).as_secs_f64() * 1e6 / 1024.0);
        }
    }
}

fn ratio(duration: Duration, floor: Duration) -> f64 {
    duration.as_secs_f64() / floor.as_secs_f64().max(1e-6)
}

impl Report {
    /// Prints to stdout.
    pub(crate) fn print(&self, output: Output) -> Result<(), BenchError> {
        let mut stdout = std::io::stdout().lock();
        match output {
            Output::Text => stdout.write_all(self.text().as_bytes())?,
            Output::Json => {
                serde_json::to_writer_pretty(&mut stdout, self)?;
                writeln!(stdout)?;
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, version) in &self.versions {
            text.push_str(&format!("{name}: {version}\n"));
        }
        for table in &self.tables {
            text.push_str(&format!(
                "\n{}: {} layers, {} MB compressed\n{:<14}{:>24}{:>10}{:>12}{:>14}{:>14}{:>10}\n",
                table.image,
                table.layers,
                table.compressed_bytes / 1_000_000,
                "medians",
                "wall s (min–max)",
                "CPU s",
                "peak MiB",
                "wall / floor",
                "CPU / floor",
                "of first",
            ));
            let first = table.endpoints.first();
            let first = first.map_or(0.0, |first| first.wall_seconds.median());
            for contender in std::iter::once(&table.floor).chain(&table.endpoints) {
                text.push_str(&row(contender, first));
            }
        }
        text
    }
}

/// The peak is the largest one: it is a limit, not a cost.
fn row(contender: &Contender, first: f64) -> String {
    let wall = &contender.wall_seconds;
    let peak = match contender.peak_mib.largest() {
        0.0 => "-".to_owned(),
        peak => format!("{peak:.1}"),
    };
    let range = format!(
        "{:.2} ({:.2}–{:.2})",
        wall.median(),
        wall.smallest(),
        wall.largest()
    );
    format!(
        "{:<14}{range:>24}{:>10.2}{peak:>12}{:>14.2}{:>14.2}{:>10.2}\n",
        contender.name,
        contender.processor_seconds.median(),
        contender.wall_to_floor.median(),
        contender.processor_to_floor.median(),
        wall.median() / first.max(1e-6),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_medians_and_ratios_to_the_same_round() {
        let turn = |seconds, peak_kib| Turn {
            wall: Duration::from_secs(seconds),
            processor: Duration::from_secs(2 * seconds),
            peak_kib,
        };
        let mut contender = Contender::new("x");
        contender.add(&turn(4, Some(2048)), &turn(2, None));
        contender.add(&turn(9, Some(1024)), &turn(3, None));
        contender.add(&turn(6, Some(1024)), &turn(2, None));
        let row = row(&contender, 3.0);
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(
            words,
            [
                "x",
                "6.00",
                "(4.00–9.00)",
                "12.00",
                "2.0",
                "3.00",
                "3.00",
                "2.00"
            ]
        );
    }
}
