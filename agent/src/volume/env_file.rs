//! Files of variables in volumes (`fileKeyRef`): what a kubelet reads of them (`pkg/kubelet/util/env`, `ParseEnv`).
//!
//! A line is `NAME='value'`. The value is all between its quotes, over several lines too, and nothing in it means anything
//! else; `#` begins a comment, of a whole line or after a value. A blank after `=` is an empty value, whatever follows.
//!
//! Containers write such files: links in a path lead to places of the volume, nothing but a regular file is opened for long,
//! and no line is read without end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use k8s_openapi::api::core::v1::FileKeySelector;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};

use super::Prepared;
use super::prepared::Source;
use crate::environment::EnvironmentError;

/// The longest line, without its end (Go's `bufio.MaxScanTokenSize`, less one).
const LINE_MAX: u64 = 64 * 1024 - 1;
const BLANK: [char; 2] = [' ', '\t'];

/// Why a file tells no variable.
#[derive(Debug, thiserror::Error)]
enum EnvFileError {
    #[error("{step}")]
    System {
        step: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("it is no regular file")]
    Kind,
    #[error("line {0}: more than {LINE_MAX} bytes")]
    LongLine(usize),
    #[error("line {0}: no UTF-8 text")]
    NotText(usize),
    #[error("line {line}: {what}")]
    Format { line: usize, what: &'static str },
}

impl Prepared {
    /// The value that a file gives; nothing if it has none and need not have one.
    ///
    /// # Errors
    /// `File` if there is no such file or it is not written as they are, `NoFileKey` and `NoFileVolume`.
    pub fn file_value(
        &self,
        selector: &FileKeySelector,
    ) -> Result<Option<String>, EnvironmentError> {
        let Some(Source::Path { path: folder, .. }) = self.volumes.get(&selector.volume_name)
        else {
            return Err(EnvironmentError::NoFileVolume(selector.volume_name.clone()));
        };
        let file = folder.join(selector.path.trim_start_matches('/'));
        let value = read(folder, &selector.path, &selector.key).map_err(|error| {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(file = %file.display(), error, "env_file");
            EnvironmentError::File
        })?;
        match (value, selector.optional) {
            (Some(value), _) if !value.is_empty() => Ok(Some(value)),
            (_, Some(true)) => Ok(None),
            _ => Err(EnvironmentError::NoFileKey {
                key: selector.key.clone(),
                file: file.display().to_string(),
            }),
        }
    }
}

fn read(folder: &Path, path: &str, key: &str) -> Result<Option<String>, EnvFileError> {
    let system = |step| {
        move |source: rustix::io::Errno| EnvFileError::System {
            step,
            source: source.into(),
        }
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, folder, flags, Mode::empty()).map_err(system("open the volume"))?;
    // A pipe that nobody writes to is not waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(root, path, flags, Mode::empty(), resolve).map_err(system("open"))?;
    let stat = fstat(&file).map_err(system("stat"))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => value_of(BufReader::new(File::from(file)), key),
        _ => Err(EnvFileError::Kind),
    }
}

/// Lines without their ends, counted.
struct Lines<R> {
    reader: R,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<String>, EnvFileError> {
        let mut line = Vec::new();
        let mut some = self.reader.by_ref().take(LINE_MAX + 1);
        some.read_until(b'\n', &mut line)
            .map_err(|source| EnvFileError::System {
                step: "read",
                source,
            })?;
        if line.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if line.pop_if(|byte| *byte == b'\n').is_some() {
            line.pop_if(|byte| *byte == b'\r');
        } else if line.len() as u64 > LINE_MAX {
            return Err(EnvFileError::LongLine(self.number));
        }
        match String::from_utf8(line) {
            Ok(line) => Ok(Some(line)),
            Err(_invalid) => Err(EnvFileError::NotText(self.number)),
        }
    }

    fn wrong(&self, what: &'static str) -> EnvFileError {
        EnvFileError::Format {
            line: self.number,
            what,
        }
    }

    /// From behind the first quote to the next, wherever that is.
    fn quoted(&mut self, mut rest: String) -> Result<String, EnvFileError> {
        let first = self.number;
        let mut value = String::new();
        loop {
            if let Some((end, after)) = rest.split_once('\'') {
                value.push_str(end);
                let after = after.trim_start_matches(BLANK);
                return match after.is_empty() || after.starts_with('#') {
                    true => Ok(value),
                    false => Err(self.wrong("something follows the closing quote")),
                };
            }
            value.push_str(&rest);
            value.push('\n');
            rest = self.next()?.ok_or(EnvFileError::Format {
                line: first,
                what: "the quote is not closed",
            })?;
        }
    }
}

/// The value of the first line of that name. What is wrong before it is an error, what is wrong after it is not seen.
fn value_of(reader: impl BufRead, key: &str) -> Result<Option<String>, EnvFileError> {
    let mut lines = Lines { reader, number: 0 };
    while let Some(line) = lines.next()? {
        let line = line.trim_start_matches(BLANK);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(lines.wrong("no '='"));
        };
        if name.is_empty() {
            return Err(lines.wrong("no name before '='"));
        }
        if name.ends_with(BLANK) {
            return Err(lines.wrong("a blank before '='"));
        }
        let value = match value.strip_prefix('\'') {
            Some(rest) => lines.quoted(rest.to_owned())?,
            None if value.starts_with(BLANK) => String::new(),
            None => return Err(lines.wrong("the value is not in single quotes")),
        };
        if name == key {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;

    fn value(text: &str, key: &str) -> Result<Option<String>, String> {
        value_of(text.as_bytes(), key).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_is_what_is_between_quotes() {
        let text = "# a comment\n\n  A='one' # more\r\nB='$x \\n \"two\"'\nC='three\n  lines\n#'\nD= 'four'\nA='again'\n";
        for (key, said) in [
            ("A", Some("one")),
            ("B", Some("$x \\n \"two\"")),
            ("C", Some("three\n  lines\n#")),
            ("D", Some("")),
            ("E", None),
        ] {
            assert_eq!(value(text, key), Ok(said.map(str::to_owned)), "{key}");
        }
    }

    #[test]
    fn what_is_wrong_before_the_name_is_an_error() {
        for (text, why) in [
            ("A", "line 1: no '='"),
            ("\n='x'", "line 2: no name before '='"),
            ("A ='x'", "line 1: a blank before '='"),
            ("A=x", "line 1: the value is not in single quotes"),
            ("A=", "line 1: the value is not in single quotes"),
            ("A='x' y", "line 1: something follows the closing quote"),
            ("Z='z'\nA='x\n\n", "line 2: the quote is not closed"),
        ] {
            assert_eq!(value(text, "B"), Err(why.to_owned()), "{text:?}");
        }
        assert_eq!(value("B='x'\nnot a line", "B"), Ok(Some("x".to_owned())));
    }

    #[test]
    fn lines_are_as_long_as_a_kubelet_takes_them() {
        let line = |length: usize| format!("A='{}'", "x".repeat(length - 4));
        assert!(value(&line(65_535), "A").is_ok());
        assert!(value(&format!("{}\nB='b'\n", line(65_535)), "B").is_ok());
        assert_eq!(
            value(&line(65_536), "A"),
            Err("line 1: more than 65535 bytes".to_owned())
        );
        assert_eq!(
            value_of(&b"A='\xff'\n"[..], "A").map_err(|error| error.to_string()),
            Err("line 1: no UTF-8 text".to_owned())
        );
    }

    fn prepared(folder: &Path) -> Prepared {
        let source = Source::Path {
            path: folder.to_owned(),
            is_read_only: false,
        };
        Prepared {
            volumes: BTreeMap::from([("v".to_owned(), source)]),
            sub_paths: folder.to_owned(),
            next_refresh: None,
        }
    }

    fn selector(path: &str, key: &str, optional: bool) -> FileKeySelector {
        FileKeySelector {
            key: key.to_owned(),
            optional: Some(optional),
            path: path.to_owned(),
            volume_name: "v".to_owned(),
        }
    }

    #[test]
    fn only_a_key_may_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        crate::file::replace(
            &folder.path().join("d/env"),
            b"A='a'\nEMPTY=''\n",
            crate::file::Durability::Rename,
        )
        .unwrap();
        let prepared = prepared(folder.path());
        let ask = |path: &str, key: &str, optional| {
            prepared
                .file_value(&selector(path, key, optional))
                .map_err(|error| error.to_string())
        };
        assert_eq!(ask("d/env", "A", false), Ok(Some("a".to_owned())));
        assert_eq!(ask("/d/env", "A", false), Ok(Some("a".to_owned())));
        for key in ["B", "EMPTY"] {
            assert_eq!(ask("d/env", key, true), Ok(None));
            let file = folder.path().join("d/env");
            assert_eq!(
                ask("d/env", key, false),
                Err(format!(
                    "environment variable key {key:?} not found in file {file:?}"
                ))
            );
        }
        for path in ["none", "d"] {
            assert_eq!(
                ask(path, "A", true),
                Err("couldn't parse env file".to_owned())
            );
        }
        let elsewhere = FileKeySelector {
            volume_name: "w".to_owned(),
            ..selector("d/env", "A", true)
        };
        assert_eq!(
            prepared.file_value(&elsewhere).unwrap_err().to_string(),
            r#"cannot find the volume "w" referenced by FileKeyRef"#
        );
    }

    #[test]
    fn links_stay_in_the_volume_and_pipes_are_not_waited_for() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = outside.path().join("env");
        for (path, text) in [
            (&secret, &b"A='host'"[..]),
            (&folder.path().join("real"), b"A='own'"),
        ] {
            crate::file::replace(path, text, crate::file::Durability::Rename).unwrap();
        }
        symlink("/real", folder.path().join("absolute")).unwrap();
        symlink(&secret, folder.path().join("out")).unwrap();
        rustix::fs::mknodat(
            CWD,
            folder.path().join("pipe"),
            FileType::Fifo,
            Mode::RWXU,
            0,
        )
        .unwrap();
        let prepared = prepared(folder.path());
        let ask = |path: &str| prepared.file_value(&selector(path, "A", false));
        assert_eq!(ask("absolute"), Ok(Some("own".to_owned())));
        assert_eq!(ask("out"), Err(EnvironmentError::File));
        assert_eq!(ask("pipe"), Err(EnvironmentError::File));
    }
}
