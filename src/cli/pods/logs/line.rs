//! A line of a log file: `2016-10-06T00:17:09.669794202Z stdout F what the container wrote`.

use crate::cli::time;

/// A line without its newline, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) time: &'a [u8],
    pub(super) is_stderr: bool,
    /// What follows belongs to the same line of the container.
    pub(super) is_partial: bool,
    pub(super) payload: &'a [u8],
}

impl<'a> Line<'a> {
    /// None if it is no line of a log.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let time = parts.next()?;
        let is_stderr = match parts.next()? {
            b"stdout" => false,
            b"stderr" => true,
            _ => return None,
        };
        // Tags are separated by colons; the first says whether the line is whole.
        let is_partial = match parts.next()?.split(|byte| *byte == b':').next()? {
            b"P" => true,
            b"F" => false,
            _ => return None,
        };
        Some(Self {
            time,
            is_stderr,
            is_partial,
            payload: parts.next()?,
        })
    }
}

/// How lines are chosen and printed.
#[derive(Debug, Clone, Default)]
pub(super) struct LineStyle {
    /// Nothing older, in nanoseconds since 1970.
    pub(super) since: Option<i128>,
    /// The time before each line.
    pub(super) timestamps: bool,
    /// What each line begins with.
    pub(super) prefix: String,
    /// No more bytes than this, prefixes apart.
    pub(super) limit: Option<usize>,
}

/// Chooses and prints lines.
#[derive(Debug, Default)]
pub(super) struct Printer {
    style: LineStyle,
    /// Whether the last line of stdout, and of stderr, goes on.
    goes_on: [bool; 2],
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Printer {
    pub(super) fn new(style: LineStyle) -> Self {
        Self {
            style,
            ..Self::default()
        }
    }

    /// Whether nothing more is printed, whatever comes.
    pub(super) fn is_full(&self) -> bool {
        self.style.limit == Some(0)
    }

    /// A line of the log. What is none is printed as it is: somebody else has written into the file.
    pub(super) fn line(&mut self, bytes: &[u8]) {
        let Some(line) = Line::parse(bytes) else {
            self.put(false, true, &[bytes, b"\n"]);
            return;
        };
        if self.is_too_old(line.time) {
            return;
        }
        let begins = !self.goes_on[usize::from(line.is_stderr)];
        let head: [&[u8]; 2] = match self.style.timestamps && begins {
            true => [line.time, b" "],
            false => [b"", b""],
        };
        let end: &[u8] = match line.is_partial {
            true => b"",
            false => b"\n",
        };
        let pieces = [head[0], head[1], line.payload, end];
        self.put(line.is_stderr, begins, &pieces);
        self.goes_on[usize::from(line.is_stderr)] = line.is_partial;
    }

    /// Adds to what is to be printed, as far as the limit goes.
    fn put(&mut self, is_stderr: bool, begins: bool, pieces: &[&[u8]]) {
        if self.is_full() {
            return;
        }
        let to = match is_stderr {
            false => &mut self.stdout,
            true => &mut self.stderr,
        };
        if begins {
            to.extend_from_slice(self.style.prefix.as_bytes());
        }
        for piece in pieces {
            let length = self
                .style
                .limit
                .map_or(piece.len(), |left| left.min(piece.len()));
            to.extend_from_slice(&piece[..length]);
            if let Some(left) = &mut self.style.limit {
                *left -= length;
            }
        }
    }

    fn is_too_old(&mut self, time: &[u8]) -> bool {
        let Some(since) = self.style.since else {
            return false;
        };
        let time = std::str::from_utf8(time).ok().and_then(time::rfc3339);
        let is_too_old = time.is_some_and(|time| time < since);
        if !is_too_old {
            // Times only rise: from here on none need be read.
            self.style.since = None;
        }
        is_too_old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "2016-10-06T00:17:09.669794202Z";

    fn printed(printer: &mut Printer, lines: &[&[u8]]) -> (String, String) {
        for line in lines {
            printer.line(line);
        }
        let text = |bytes: &mut Vec<u8>| String::from_utf8_lossy(&std::mem::take(bytes)).into();
        (text(&mut printer.stdout), text(&mut printer.stderr))
    }

    #[test]
    fn a_line_is_taken_apart_whatever_bytes_it_has() {
        let bytes = [HEAD.as_bytes(), b" stderr P:x \0\xff two  spaces"].concat();
        let line = Line::parse(&bytes).unwrap();
        assert_eq!(line.time, HEAD.as_bytes());
        assert!(line.is_stderr && line.is_partial);
        assert_eq!(line.payload, b"\0\xff two  spaces");
        let empty = format!("{HEAD} stdout F ");
        assert_eq!(Line::parse(empty.as_bytes()).unwrap().payload, b"");
        for other in ["", "x", "a b c d", &format!("{HEAD} stdout X y")] {
            assert_eq!(Line::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn parts_are_joined_and_have_one_time() {
        let (part, other, last) = (
            format!("{HEAD} stdout P one "),
            format!("{HEAD} stderr F aside"),
            format!("{HEAD} stdout F two"),
        );
        let lines = [part.as_bytes(), other.as_bytes(), last.as_bytes()];
        let mut printer = Printer::new(LineStyle {
            timestamps: true,
            ..LineStyle::default()
        });
        let (stdout, stderr) = printed(&mut printer, &lines);
        assert_eq!(stdout, format!("{HEAD} one two\n"));
        assert_eq!(stderr, format!("{HEAD} aside\n"));
        let (stdout, _) = printed(&mut Printer::default(), &lines);
        assert_eq!(stdout, "one two\n");
    }

    #[test]
    fn what_is_too_old_is_left_out() {
        let old = "2016-10-06T00:17:08.9Z stdout F old";
        let new = format!("{HEAD} stdout F new");
        let since = time::rfc3339("2016-10-06T00:17:09Z");
        let (stdout, _) = printed(
            &mut Printer::new(LineStyle {
                since,
                ..LineStyle::default()
            }),
            &[old.as_bytes(), new.as_bytes()],
        );
        assert_eq!(stdout, "new\n");
    }

    #[test]
    fn a_prefix_stands_before_each_line_and_a_limit_counts_the_rest() {
        let lines: [&[u8]; 3] = [
            b"2016-10-06T00:17:09Z stdout P one ",
            b"2016-10-06T00:17:09Z stdout F two",
            b"2016-10-06T00:17:09Z stdout F three",
        ];
        let mut style = LineStyle {
            prefix: "[pod/a/b] ".to_owned(),
            ..LineStyle::default()
        };
        let (stdout, _) = printed(&mut Printer::new(style.clone()), &lines);
        assert_eq!(stdout, "[pod/a/b] one two\n[pod/a/b] three\n");
        style.limit = Some(10);
        let mut printer = Printer::new(style);
        let (stdout, _) = printed(&mut printer, &lines);
        assert_eq!(stdout, "[pod/a/b] one two\n[pod/a/b] th");
        assert!(printer.is_full());
    }
}
