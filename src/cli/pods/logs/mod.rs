//! `carpel logs`: what containers have written, from its log files, with those that have been put aside.
//!
//! The files are read here, not by the daemon: a log can be read, and followed, whatever becomes of that.

mod files;
mod follow;
mod line;
mod sources;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use self::follow::{Lines, Watch};
use self::line::{LineStyle, Printer};
use self::sources::{Source, Sources};
use crate::cli::arguments::LogsArguments;
use crate::cli::endpoint::Daemon;
use crate::cli::error::CliError;
use crate::cli::time;
use crate::cli::writer::{self, Writer};

/// Whether the container has ended is asked no more often.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// So much is collected before it is printed.
const COLLECTED: usize = 64 << 10;

/// A log that is being printed.
struct Reading {
    /// Whose end is waited for; none: it has ended.
    id: Option<String>,
    lines: Lines,
    printer: Printer,
    asked: Option<Instant>,
}

pub(in crate::cli) fn run<W: Write>(
    arguments: &LogsArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let daemon = Daemon::of(&arguments.daemon)?;
    let Sources { found, mut errors } = sources::of(&daemon, arguments)?;
    let is_only = found.len() + errors.len() == 1;
    if let (true, Some(limit)) = (arguments.follow, arguments.max_log_requests)
        && found.len() > limit
    {
        let count = found.len();
        return Err(CliError::TooManyLogs { count, limit });
    }
    // Before the first look, so that nothing that comes after it is missed.
    let paths = found.iter().map(|source| source.path.as_path());
    let watch = arguments.follow.then(|| Watch::of(paths));
    let mut readings = Vec::new();
    for source in found {
        match open(source, arguments) {
            Ok(reading) => readings.push(reading),
            Err(error) => errors.push(error),
        }
    }
    if is_only && let Some(error) = errors.pop() {
        return Err(error);
    }
    for error in &errors {
        writer::report(error);
    }
    while !readings.is_empty() {
        let mut left = Vec::new();
        for mut reading in readings {
            if !reading.read(&daemon, arguments.follow, output)? {
                left.push(reading);
            }
        }
        readings = left;
        if let Some(watch) = watch.as_ref().filter(|_| !readings.is_empty()) {
            watch.wait();
        }
    }
    match errors.len() {
        0 => Ok(()),
        count => Err(CliError::SomeLogs { count }),
    }
}

fn open(source: Source, arguments: &LogsArguments) -> Result<Reading, CliError> {
    let failed = |source_of_error| CliError::Path {
        path: source.path.clone(),
        source: source_of_error,
    };
    let lines = Lines::open(&source.path, arguments.tail()).map_err(failed)?;
    if !lines.has_begun() && !arguments.follow {
        return Err(failed(io::ErrorKind::NotFound.into()));
    }
    let since = arguments.since.or(arguments.since_time);
    let style = LineStyle {
        since: since.map(|since| since.nanoseconds(time::now())),
        timestamps: arguments.timestamps,
        prefix: match arguments.prefix {
            true => source.prefix(),
            false => String::new(),
        },
        limit: arguments.limit_bytes,
    };
    Ok(Reading {
        id: source.id,
        lines,
        printer: Printer::new(style),
        asked: None,
    })
}

impl Reading {
    /// Prints what is there now; true if there will be no more.
    fn read<W: Write>(
        &mut self,
        daemon: &Daemon,
        follow: bool,
        output: &mut Writer<W>,
    ) -> Result<bool, CliError> {
        // Asked before the files are read: what it wrote to its end is there then.
        let has_ended = match &self.id {
            Some(_) if follow && self.asked.is_some_and(|asked| asked.elapsed() < ASK_AGAIN) => {
                false
            }
            Some(id) if follow => {
                self.asked = Some(Instant::now());
                has_ended(daemon, id)?
            }
            _ => true,
        };
        let printer = &mut self.printer;
        self.lines.read(|line| take(printer, line, output))?;
        if has_ended {
            let mut last = |line: &[u8]| take(printer, line, output);
            self.lines.give_unfinished(&mut last)?;
        }
        print(printer, output)?;
        Ok(has_ended || printer.is_full())
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
