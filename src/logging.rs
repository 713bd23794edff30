//! Where the log goes and how it looks: to stderr, as text for people or as JSON for machines.
//!
//! Only `carpel serve` logs. The other commands print through `cli/writer.rs`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

use crate::config::{LogFormat, LogSection};

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

/// Starts logging, for the rest of the process's life.
///
/// # Errors
///
/// `Filter` if the level is not one, `Install` if logging runs already.
pub fn start(section: &LogSection) -> Result<(), LoggingError> {
    use tracing_subscriber::util::SubscriberInitExt;

    let filter = EnvFilter::builder()
        .parse(section.level.as_str())
        .map_err(|source| LoggingError::Filter {
            filter: section.level.as_str().to_owned(),
            source,
        })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match section.format {
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .finish()
            .try_init(),
        LogFormat::Auto | LogFormat::Text => {
            let text = builder.with_ansi(colours(section.format));
            // The journal stamps every line itself: systemd.exec(5), JOURNAL_STREAM.
            if std::env::var_os("JOURNAL_STREAM").is_some() && !std::io::stderr().is_terminal() {
                text.without_time().finish().try_init()
            } else {
                text.finish().try_init()
            }
        }
    }
    .map_err(LoggingError::Install)
}

fn colours(format: LogFormat) -> bool {
    format == LogFormat::Auto
        && std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none()
}
