//! What a runtime says of its own failure: the last error of its log, which is a JSON object a line. Pure but for reading.

use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;

/// The end of a log that is looked at.
const BYTES: u64 = 16 << 10;

/// The last error in the log at `path`.
pub(super) fn read(path: &str) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))
        .ok()?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes).ok()?;
    last_error(&String::from_utf8_lossy(&bytes))
}

/// The message of the last error, else of the last line that is a message at all.
fn last_error(log: &str) -> Option<String> {
    let lines = || log.lines().rev();
    let is_error = |line: &&str| {
        field(line, "level").is_some_and(|level| matches!(level.as_str(), "error" | "fatal"))
    };
    let error = lines().filter(is_error).find_map(|line| field(line, "msg"));
    error.or_else(|| lines().find_map(|line| field(line, "msg")))
}

/// The text at a key. A quote inside a text is escaped, so a key is found nowhere else.
fn field(line: &str, name: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!("\"{name}\""))?;
    let rest = rest.trim_start().strip_prefix(':')?;
    unquoted(rest.trim_start().strip_prefix('"')?)
}

/// A JSON text up to its closing quote.
fn unquoted(rest: &str) -> Option<String> {
    let mut text = String::new();
    let mut characters = rest.chars();
    loop {
        let character = match characters.next()? {
            '"' => return Some(text),
            '\\' => match characters.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' | 'f' => ' ',
                'u' => {
                    let digits: String = characters.by_ref().take(4).collect();
                    let number = u32::from_str_radix(&digits, 16).ok()?;
                    char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                other => other,
            },
            other => other,
        };
        text.push(character);
    }
}

/// Whether it says that the program cannot be executed, rather than that the container cannot be made.
pub(super) fn is_about_the_program(message: &str) -> bool {
    let message = message.to_lowercase();
    let of_a_program = ["exec:", "exec ", "executable file", "execve"];
    let reasons = [
        "executable file not found",
        "no such file or directory",
        "permission denied",
        "exec format error",
        "is a directory",
    ];
    of_a_program.iter().any(|part| message.contains(part))
        && reasons.iter().any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_error_is_what_counts() {
        let runc = "{\"level\":\"warning\",\"msg\":\"no\",\"time\":\"t\"}\n\
            {\"level\":\"error\",\"msg\":\"runc create failed: exec: \\\"x\\\": not found\",\"time\":\"t\"}\n\
            {\"level\":\"info\",\"msg\":\"bye\"}\n";
        let expected = "runc create failed: exec: \"x\": not found";
        assert_eq!(last_error(runc).as_deref(), Some(expected));
        let crun = "{\"msg\":\"executable file `x` not found in $PATH\", \"level\": \"error\", \"time\": \"t\"}\n";
        let expected = "executable file `x` not found in $PATH";
        assert_eq!(last_error(crun).as_deref(), Some(expected));
        assert_eq!(
            last_error("{\"msg\":\"plain\\u0021\"}").as_deref(),
            Some("plain!")
        );
        assert_eq!(last_error("no object"), None);
        assert_eq!(last_error("{\"msg\":\"torn"), None);
    }

    #[test]
    fn a_program_that_cannot_run_is_told_from_a_container_that_cannot_be_made() {
        for (message, is) in [
            (
                "exec: \"nope\": executable file not found in $PATH: unknown",
                true,
            ),
            (
                "executable file `nope` not found: No such file or directory",
                true,
            ),
            ("exec /bin/x: exec format error", true),
            ("exec: \"/etc/passwd\": permission denied", true),
            ("mount `/nope`: No such file or directory", false),
            ("open /sys/fs/cgroup/x/memory.max: permission denied", false),
        ] {
            assert_eq!(is_about_the_program(message), is, "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_message_comes_back(message in "[^\u{8}\u{c}\u{0}-\u{1f}]*") {
            let quoted = message.replace('\\', "\\\\").replace('"', "\\\"");
            let line = format!("{{\"level\":\"error\",\"msg\":\"{quoted}\"}}");
            // A line ends at more than what JSON escapes.
            prop_assume!(line.lines().count() == 1);
            prop_assert_eq!(last_error(&line), Some(message));
        }

        #[test]
        fn nothing_is_too_odd(log in ".*") {
            let _found = last_error(&log);
        }
    }
}
