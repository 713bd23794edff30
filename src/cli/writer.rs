//! The one place that prints: results to stdout, errors to stderr.

use std::error::Error;
use std::io::{self, IsTerminal, Write};

use super::yaml;

/// How a piece of text is set off on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

/// Prints to stdout. Colours only on a terminal, and not if NO_COLOR is set (no-color.org).
pub(super) struct Writer<W> {
    output: W,
    coloured: bool,
}

impl Writer<io::Stdout> {
    /// The process's stdout.
    pub(super) fn stdout() -> Self {
        let output = io::stdout();
        let coloured = output.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { output, coloured }
    }
}

impl<W: Write> Writer<W> {
    /// Prints to `output`, without colours.
    #[cfg(test)]
    pub(super) fn plain(output: W) -> Self {
        Self {
            output,
            coloured: false,
        }
    }

    /// One line.
    pub(super) fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.output, "{}", text.as_ref())
    }

    /// One line of pieces.
    pub(super) fn styled(&mut self, pieces: &[(Style, &str)]) -> io::Result<()> {
        for (style, text) in pieces {
            match style.code().filter(|_| self.coloured) {
                Some(code) => write!(self.output, "\x1b[{code}m{text}\x1b[0m")?,
                None => self.output.write_all(text.as_bytes())?,
            }
        }
        writeln!(self.output)
    }

    /// A value as indented JSON.
    pub(super) fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.output, value)?;
        writeln!(self.output)
    }

    /// Prints a value as one line of JSON.
    pub(super) fn json_line(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.output, value)?;
        writeln!(self.output)
    }

    /// A value as YAML.
    pub(super) fn yaml(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        let value = serde_json::to_value(value)?;
        self.output.write_all(yaml::text(&value).as_bytes())
    }

    /// Bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)
    }

    /// Hands over what is buffered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

impl Style {
    /// SGR parameters, ECMA-48 §8.3.117.
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Dim => Some("2"),
            Self::Green => Some("32"),
            Self::Yellow => Some("33"),
            Self::Red => Some("1;31"),
        }
    }
}

/// `error: outermost: …: innermost` to stderr.
pub(super) fn report(error: &dyn Error) {
    // With stderr closed there is nobody left to tell.
    writeln!(io::stderr(), "error: {}", chain(error)).ok();
}

/// A line to stderr that is no error of this program's.
pub(super) fn complain(text: &str) {
    writeln!(io::stderr(), "{}", text.trim_end()).ok();
}

/// Bytes to stderr, as a command in a container wrote them.
pub(super) fn complain_bytes(bytes: &[u8]) {
    io::stderr().write_all(bytes).ok();
}

/// An error and its causes on one line. A cause that its parent's message ends with already is not repeated.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Step(&'static str, #[source] Option<Box<Step>>);

    #[test]
    fn the_chain_names_every_cause_once() {
        let error = Step(
            "import",
            Some(Box::new(Step("open /x", Some(Box::new(Step("/x", None)))))),
        );
        assert_eq!(chain(&error), "import: open /x");
        let error = Step("import", Some(Box::new(Step("no such file", None))));
        assert_eq!(chain(&error), "import: no such file");
    }

    #[test]
    fn colours_are_left_out_where_nobody_sees_them() {
        let mut bytes = Vec::new();
        let mut writer = Writer::plain(&mut bytes);
        writer
            .styled(&[(Style::Red, "bad"), (Style::Plain, " news")])
            .unwrap();
        assert_eq!(bytes, b"bad news\n");
    }
}
