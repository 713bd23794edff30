//! The end of a container's log, for termination messages with the policy FallbackToLogsOnError.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// kubelet, `MaxContainerTerminationMessageLogLines` and `…LogLength`.
const LINES_MAX: usize = 80;
const BYTES_MAX: usize = 2048;

/// So much of the file's end is read: lines have time stamps.
const READ_MAX: u64 = 64 * 1024;

/// The last lines of a log in the CRI's form (`TIME STREAM TAG TEXT`); nothing if there is none.
pub(crate) fn last_words(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(READ_MAX)))?;
        file.take(READ_MAX).read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => text(&String::from_utf8_lossy(&bytes)),
        Err(_) => String::new(),
    }
}

fn text(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LINES_MAX)..);
    let mut text = String::new();
    for line in last.unwrap_or_default() {
        let mut fields = line.splitn(4, ' ').skip(2);
        let (Some(tag), Some(said)) = (fields.next(), fields.next()) else {
            continue;
        };
        text.push_str(said);
        // P: the line goes on in the next one.
        if !tag.starts_with('P') {
            text.push('\n');
        }
    }
    let start = text.len().saturating_sub(BYTES_MAX);
    let start = (start..=text.len()).find(|&at| text.is_char_boundary(at));
    text.split_off(start.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_put_together_without_their_stamps() {
        let log = "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stderr P tw\n2026-01-01T00:00:01Z stderr F o\n";
        assert_eq!(text(log), "one\ntwo\n");
    }

    #[test]
    fn only_the_end_is_kept() {
        let line = format!("t stdout F {}\n", "x".repeat(99));
        let log = line.repeat(200) + "t stdout F end\n";
        let text = text(&log);
        assert_eq!(text.len(), BYTES_MAX);
        assert!(text.ends_with("end\n"));
    }
}
