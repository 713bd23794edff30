//! What the demo prints: headings, facts, tables. Coloured on a terminal, plain elsewhere.

use std::error::Error;
use std::io::{self, IsTerminal, Write};

pub(crate) struct Screen {
    output: io::Stdout,
    coloured: bool,
}

impl Screen {
    pub(crate) fn stdout() -> Self {
        let output = io::stdout();
        let coloured = output.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { output, coloured }
    }

    /// What comes next.
    pub(crate) fn heading(&mut self, text: &str) {
        self.put(&format!("\n{}\n", self.paint("1;36", text)));
    }

    /// A line of prose.
    pub(crate) fn say(&mut self, text: &str) {
        self.put(&format!("{text}\n"));
    }

    /// A command as it would be typed.
    pub(crate) fn command(&mut self, text: &str) {
        self.put(&format!(
            "{} {}\n",
            self.paint("32", "$"),
            self.paint("1", text)
        ));
    }

    /// Output of something else, set off by an indent.
    pub(crate) fn quote(&mut self, text: &str) {
        for line in text.lines() {
            self.put(&format!("    {line}\n"));
        }
    }

    /// Something that holds.
    pub(crate) fn check(&mut self, text: &str) {
        self.put(&format!("{} {text}\n", self.paint("32", "ok")));
    }

    /// Columns as wide as their widest cell.
    pub(crate) fn table<const N: usize>(&mut self, head: [&str; N], rows: &[[String; N]]) {
        let head = head.map(str::to_owned);
        let widths: [usize; N] = std::array::from_fn(|column| {
            let cells = rows
                .iter()
                .chain([&head])
                .map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        });
        for (number, row) in [&head].into_iter().chain(rows).enumerate() {
            let cells: Vec<String> = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            let line = cells.join("  ");
            let line = line.trim_end();
            let line = if number == 0 {
                self.paint("2", line)
            } else {
                line.to_owned()
            };
            self.put(&format!("    {line}\n"));
        }
    }

    /// An error and its causes, on stderr.
    pub(crate) fn error(&mut self, error: &dyn Error) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        // With stderr closed there is nobody left to tell.
        writeln!(io::stderr(), "{} {text}", self.paint("1;31", "error:")).ok();
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.coloured {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A reader that left (`make demo | head`) must not keep the demo from cleaning up: its errors are ignored.
    fn put(&mut self, text: &str) {
        self.output
            .write_all(text.as_bytes())
            .and_then(|()| self.output.flush())
            .ok();
    }
}
