//! How the progress of a pull is shown: bars on a terminal, lines in a pipe.

use std::collections::HashMap;
use std::io::{self, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::cli::table;
use crate::cli::writer::Writer;
use crate::cri::{PulledLayer, PulledLayerState};

/// While bytes come in: their number and rate. The name is as wide as the longest state.
const MOVING: &str = "{prefix}  {msg:11}  {bar:30}  {bytes:>10}/{total_bytes:10}  {bytes_per_sec}";

/// Before and after that.
const RESTING: &str = "{prefix}  {msg:11}  {bar:30}  {total_bytes:>10}";

/// Somewhere to show progress.
pub(super) trait View {
    /// All layers, bottom first.
    fn show(&mut self, layers: &[PulledLayer]);
}

/// A bar per layer on stderr.
pub(super) struct Bars {
    all: MultiProgress,
    bars: Vec<(ProgressBar, PulledLayerState)>,
}

impl Bars {
    pub(super) fn new() -> Self {
        Self {
            all: MultiProgress::new(),
            bars: Vec::new(),
        }
    }

    /// Leaves the bars as they are now.
    pub(super) fn finish(&self) {
        for (bar, _) in &self.bars {
            bar.abandon();
        }
    }
}

impl View for Bars {
    fn show(&mut self, layers: &[PulledLayer]) {
        for layer in layers.iter().skip(self.bars.len()) {
            let bar = self.all.add(ProgressBar::new(layer.size_bytes));
            bar.set_prefix(short(&layer.digest));
            bar.set_message(word(PulledLayerState::Waiting));
            dress(&bar, PulledLayerState::Waiting);
            self.bars.push((bar, PulledLayerState::Waiting));
        }
        for (layer, (bar, shown)) in layers.iter().zip(&mut self.bars) {
            if layer.state != *shown {
                *shown = layer.state;
                bar.set_message(word(layer.state));
                dress(bar, layer.state);
            }
            bar.set_position(layer.received_bytes);
            // A bar that does not move is drawn all the same when its words have changed.
            bar.tick();
        }
    }
}

fn dress(bar: &ProgressBar, state: PulledLayerState) {
    let template = match state {
        PulledLayerState::Downloading => MOVING,
        _ => RESTING,
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}

/// A line whenever the state of a layer changes.
pub(super) struct Lines<'a, W> {
    output: &'a mut Writer<W>,
    shown: HashMap<String, PulledLayerState>,
    outcome: io::Result<()>,
}

impl<'a, W: Write> Lines<'a, W> {
    pub(super) fn new(output: &'a mut Writer<W>) -> Self {
        Self {
            output,
            shown: HashMap::new(),
            outcome: Ok(()),
        }
    }

    /// The first error of printing, if there was one.
    pub(super) fn finish(self) -> io::Result<()> {
        self.outcome
    }
}

impl<W: Write> View for Lines<'_, W> {
    fn show(&mut self, layers: &[PulledLayer]) {
        for layer in layers {
            let before = self.shown.insert(layer.digest.clone(), layer.state);
            if before == Some(layer.state) || self.outcome.is_err() {
                continue;
            }
            let (name, state) = (short(&layer.digest), word(layer.state));
            let size = table::bytes(layer.size_bytes);
            self.outcome = self
                .output
                .line(format!("{name}  {state:11}  {size}"))
                .and_then(|()| self.output.flush());
        }
    }
}

fn word(state: PulledLayerState) -> &'static str {
    match state {
        PulledLayerState::Waiting => "waiting",
        PulledLayerState::Downloading => "downloading",
        PulledLayerState::Unpacking => "unpacking",
        PulledLayerState::Done => "done",
    }
}

/// The first 12 digits, as Docker's users know them.
fn short(digest: &str) -> String {
    digest
        .trim_start_matches("sha256:")
        .chars()
        .take(12)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_printed_for_each_change_and_no_other() {
        let layer = |digit: &str, state, received_bytes| PulledLayer {
            digest: format!("sha256:{}", digit.repeat(64)),
            state,
            received_bytes,
            size_bytes: 2000,
        };
        let mut printed = Vec::new();
        let mut output = Writer::plain(&mut printed);
        let mut lines = Lines::new(&mut output);
        use PulledLayerState::{Done, Downloading, Waiting};
        lines.show(&[layer("a", Downloading, 1), layer("b", Waiting, 0)]);
        lines.show(&[layer("a", Downloading, 900), layer("b", Waiting, 0)]);
        lines.show(&[layer("a", Done, 2000), layer("b", Downloading, 5)]);
        lines.finish().unwrap();
        assert_eq!(
            String::from_utf8(printed)
                .unwrap()
                .lines()
                .collect::<Vec<_>>(),
            [
                "aaaaaaaaaaaa  downloading  2.00kB",
                "bbbbbbbbbbbb  waiting      2.00kB",
                "aaaaaaaaaaaa  done         2.00kB",
                "bbbbbbbbbbbb  downloading  2.00kB",
            ]
        );
    }
}
