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

/// Chooses and prints lines.
#[derive(Debug, Default)]
pub(super) struct Printer {
    /// Nothing older, in nanoseconds since 1970.
    since: Option<i128>,
    timestamps: bool,
    /// Whether the last line of stdout, and of stderr, goes on.
    goes_on: [bool; 2],
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Printer {
    pub(super) fn new(since: Option<i128>, timestamps: bool) -> Self {
        Self {
            since,
            timestamps,
            ..Self::default()
        }
    }

    /// A line of the log. What is none is printed as it is: somebody else has written into the file.
    pub(super) fn line(&mut self, bytes: &[u8]) {
        let Some(line) = Line::parse(bytes) else {
            self.stdout.extend_from_slice(bytes);
            self.stdout.push(b'\n');
            return;
        };
        if self.is_too_old(line.time) {
            return;
        }
        let goes_on = &mut self.goes_on[usize::from(line.is_stderr)];
        let to = match line.is_stderr {
            false => &mut self.stdout,
            true => &mut self.stderr,
        };
        if self.timestamps && !*goes_on {
            to.extend_from_slice(line.time);
            to.push(b' ');
        }
        to.extend_from_slice(line.payload);
        if !line.is_partial {
            to.push(b'\n');
        }
        *goes_on = line.is_partial;
    }

    fn is_too_old(&mut self, time: &[u8]) -> bool {
        let Some(since) = self.since else {
            return false;
        };
        let time = std::str::from_utf8(time).ok().and_then(time::rfc3339);
        let is_too_old = time.is_some_and(|time| time < since);
        if !is_too_old {
            // Times only rise: from here on none need be read.
            self.since = None;
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
        let mut printer = Printer::new(None, true);
        let (stdout, stderr) = printed(&mut printer, &lines);
        assert_eq!(stdout, format!("{HEAD} one two\n"));
        assert_eq!(stderr, format!("{HEAD} aside\n"));
        let (stdout, _) = printed(&mut Printer::new(None, false), &lines);
        assert_eq!(stdout, "one two\n");
    }

    #[test]
    fn what_is_too_old_is_left_out() {
        let old = "2016-10-06T00:17:08.9Z stdout F old";
        let new = format!("{HEAD} stdout F new");
        let since = time::rfc3339("2016-10-06T00:17:09Z");
        let (stdout, _) = printed(
            &mut Printer::new(since, false),
            &[old.as_bytes(), new.as_bytes()],
        );
        assert_eq!(stdout, "new\n");
    }
}
