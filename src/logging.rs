//! Where the log goes and how it looks: to stderr, as text for people or as JSON for machines.
//!
//! Only `carpel serve` logs. The other commands print through `cli/writer.rs`.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::{LogFormat, LogSection};
use crate::metrics::Traces;

/// Why logging was not started.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not in `EnvFilter`'s syntax.
    #[error("log level {filter:?}")]
    Filter {
        /// What was given.
        filter: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// A second start in one process.
    #[error("install the logger")]
    Install(#[source] TryInitError),
}

/// Starts logging, for the rest of the process's life; spans of calls go to `traces`, if there is one.
///
/// # Errors
///
/// `Filter` if the level is not one, `Install` if logging runs already.
pub fn start(section: &LogSection, traces: Option<&Traces>) -> Result<(), LoggingError> {
    use tracing_subscriber::util::SubscriberInitExt;

    let filter = EnvFilter::builder()
        .parse(section.level.as_str())
        .map_err(|source| LoggingError::Filter {
            filter: section.level.as_str().to_owned(),
            source,
        })?;
    let traces = traces.map(Traces::layer);
    tracing_subscriber::registry()
        .with(lines(section).with_filter(filter))
        .with(traces)
        .try_init()
        .map_err(LoggingError::Install)
}

fn lines(section: &LogSection) -> Box<dyn Layer<Registry> + Send + Sync> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match section.format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .boxed(),
        LogFormat::Auto | LogFormat::Text => {
            let text = lines.with_ansi(colours(section.format));
            // The journal stamps every line itself: systemd.exec(5), JOURNAL_STREAM.
            if std::env::var_os("JOURNAL_STREAM").is_some() && !std::io::stderr().is_terminal() {
                text.without_time().boxed()
            } else {
                text.boxed()
            }
        }
    }
}

fn colours(format: LogFormat) -> bool {
    format == LogFormat::Auto
        && std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none()
}
