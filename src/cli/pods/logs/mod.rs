//! `carpel logs`: what a container has written, from its log files, with those that have been put aside.
//!
//! The files are read here, not by the daemon: a log can be read, and followed, whatever becomes of that.

mod files;
mod follow;
mod line;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::follow::{Lines, Watch};
use self::line::Printer;
use super::find::Objects;
use crate::cli::arguments::LogsArguments;
use crate::cli::endpoint::Daemon;
use crate::cli::error::CliError;
use crate::cli::time;
use crate::cli::writer::{self, Writer};
use crate::cri::ContainerSummary;

/// Whether the container has ended is asked no more often.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// So much is collected before it is printed.
const COLLECTED: usize = 64 << 10;

pub(in crate::cli) fn run<W: Write>(
    arguments: &LogsArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let daemon = Daemon::of(&arguments.daemon)?;
    let objects = Objects::of(&daemon)?;
    let container = objects.find_container(&arguments.container, arguments.of_pod.as_deref())?;
    let (id, path) = match arguments.previous {
        true => previous(&daemon, &objects, &container)?,
        false => {
            let path = log_path(&daemon, &container.id)?;
            (Some(container.id), path)
        }
    };
    let failed = |source| CliError::Path {
        path: path.clone(),
        source,
    };
    // Before the first look, so that nothing that comes after it is missed.
    let watch = arguments.follow.then(|| Watch::of(&path));
    let mut lines = Lines::open(&path, arguments.tail).map_err(failed)?;
    if !lines.has_begun() && !arguments.follow {
        return Err(failed(io::ErrorKind::NotFound.into()));
    }
    let since = arguments.since.map(|since| since.nanoseconds(time::now()));
    let mut printer = Printer::new(since, arguments.timestamps);
    let mut asked: Option<Instant> = None;
    loop {
        // Asked before the files are read: what it wrote to its end is there then.
        let has_ended = match (&watch, &id) {
            (Some(_), Some(_)) if asked.is_some_and(|asked| asked.elapsed() < ASK_AGAIN) => false,
            (Some(_), Some(id)) => {
                asked = Some(Instant::now());
                has_ended(&daemon, id)?
            }
            _ => true,
        };
        lines.read(|line| take(&mut printer, line, output))?;
        if has_ended {
            lines.give_unfinished(&mut |line: &[u8]| take(&mut printer, line, output))?;
            return print(&mut printer, output);
        }
        print(&mut printer, output)?;
        if let Some(watch) = &watch {
            watch.wait();
        }
    }
}

fn take<W: Write>(
    printer: &mut Printer,
    line: &[u8],
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    printer.line(line);
    match printer.stdout.len() + printer.stderr.len() > COLLECTED {
        true => print(printer, output),
        false => Ok(()),
    }
}

fn print<W: Write>(printer: &mut Printer, output: &mut Writer<W>) -> Result<(), CliError> {
    if !printer.stdout.is_empty() {
        output.bytes(&printer.stdout)?;
        output.flush()?;
        printer.stdout.clear();
    }
    if !printer.stderr.is_empty() {
        writer::complain_bytes(&printer.stderr);
        printer.stderr.clear();
    }
    Ok(())
}

/// One that has been removed has ended.
fn has_ended(daemon: &Daemon, id: &str) -> Result<bool, CliError> {
    let state = daemon.wait(daemon.client().container_state(id))?;
    Ok(state.is_none_or(|state| state == "exited"))
}

fn log_path(daemon: &Daemon, id: &str) -> Result<PathBuf, CliError> {
    let details = daemon.wait(daemon.client().container_details(id))?;
    match details.log_path.is_empty() {
        true => Err(CliError::NoLog { id: id.to_owned() }),
        false => Ok(details.log_path.into()),
    }
}

/// The container that ran before under this name, if it is still there, and its log.
fn previous(
    daemon: &Daemon,
    objects: &Objects,
    container: &ContainerSummary,
) -> Result<(Option<String>, PathBuf), CliError> {
    let before = objects
        .containers()
        .iter()
        .filter(|other| other.pod_id == container.pod_id && other.name == container.name)
        .filter(|other| other.attempt < container.attempt)
        .max_by_key(|other| other.attempt);
    if let Some(before) = before {
        return Ok((Some(before.id.clone()), log_path(daemon, &before.id)?));
    }
    // The kubelet keeps logs of containers that it has removed: NAME/0.log, NAME/1.log …
    let path = log_path(daemon, &container.id)?;
    let path = container
        .attempt
        .checked_sub(1)
        .and_then(|attempt| sibling(&path, container.attempt, attempt))
        .filter(|path| path.exists());
    match path {
        Some(path) => Ok((None, path)),
        None => Err(CliError::NoSuchObject {
            kind: "previous container of",
            word: container.name.clone(),
        }),
    }
}

fn sibling(path: &Path, attempt: u32, other: u32) -> Option<PathBuf> {
    let is_of_attempt = path.file_name()?.to_str()? == format!("{attempt}.log");
    is_of_attempt.then(|| path.with_file_name(format!("{other}.log")))
}
