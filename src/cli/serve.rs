//! `carpel serve`: turns this process into the daemon.

use std::future::Future;
use std::num::NonZeroU8;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::ServeArguments;
use super::error::CliError;
use super::open_files;
use crate::config::Config;
use crate::daemon::{self, Inherited};
use crate::logging;
use crate::metrics::Traces;

/// One for the requests and one for whatever one of them computes: the daemon waits most of its life.
const WORKERS: usize = 2;

/// Two threads allocate at a time; more arenas only keep memory (measured: DESIGN, allocators).
const MALLOC_ARENAS: NonZeroU8 = const { NonZeroU8::new(2).unwrap() };

pub(super) fn run(arguments: ServeArguments) -> Result<(), CliError> {
    let config = configure(arguments)?;
    // Before the first thread.
    let has_few_arenas = carpel_linux::allocator::limit_malloc_arenas(MALLOC_ARENAS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("carpel-worker")
        .thread_stack_size(1024 * 1024)
        .enable_all()
        .build()
        .map_err(CliError::Threads)?;
    let traces = {
        let _within = runtime.enter();
        start_traces(&config)?
    };
    logging::start(&config.log, traces.as_ref())?;
    if !has_few_arenas {
        tracing::debug!("the allocator takes no limit of arenas");
    }
    let open_files = open_files::raise().map_err(CliError::OpenFiles)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        socket = %config.socket_path().display(),
        root = %config.root.display(),
        "carpel starts"
    );
    runtime.block_on(async {
        let shutdown = asked_to_stop().map_err(CliError::Signals)?;
        let ready = || notify(NotifyState::Ready);
        let ended = daemon::run(config, Inherited { open_files }, ready, shutdown).await;
        if let Some(traces) = traces {
            let finished = tokio::task::spawn_blocking(move || traces.finish()).await;
            if let Err(error) = finished {
                tracing::warn!(%error, "send the last spans");
            }
        }
        ended?;
        tracing::info!("carpel has stopped; containers keep running");
        Ok(())
    })
}

/// Sends traces from now on, if the configuration says where to.
fn start_traces(config: &Config) -> Result<Option<Traces>, CliError> {
    let section = &config.traces;
    let endpoint = section.otlp_endpoint.as_ref();
    endpoint
        .map(|endpoint| Traces::start(endpoint, section.samples_per_million))
        .transpose()
        .map_err(CliError::Traces)
}

/// The file, with what the command line says on top.
fn configure(arguments: ServeArguments) -> Result<Config, CliError> {
    let mut config = Config::read_or_default(arguments.file.path.as_deref())?;
    if let Some(socket) = arguments.socket {
        let socket = std::path::absolute(&socket).map_err(|source| CliError::Path {
            path: socket,
            source,
        })?;
        config.socket = Some(socket);
    }
    if let Some(level) = arguments.log_level {
        config.log.level = level;
    }
    if let Some(format) = arguments.log_format {
        config.log.format = format;
    }
    Ok(config)
}

/// Ends with the first SIGTERM or SIGINT. Both are caught from now on, not from the first poll.
pub(super) fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "asked to stop");
        notify(NotifyState::Stopping);
    })
}

/// Tells systemd, if it started us: sd_notify(3).
pub(super) fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "tell systemd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::ConfigFile;
    use crate::config::LogFormat;

    #[test]
    fn the_command_line_wins_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("carpel.toml");
        std::fs::File::create(&file)
            .and_then(|mut file| {
                std::io::Write::write_all(&mut file, b"socket = \"/a\"\n[log]\nlevel = \"warn\"\n")
            })
            .unwrap();
        let config = configure(ServeArguments {
            file: ConfigFile { path: Some(file) },
            socket: Some("/b".into()),
            log_level: None,
            log_format: Some(LogFormat::Json),
        })
        .unwrap();
        assert_eq!(config.socket_path(), std::path::Path::new("/b"));
        assert_eq!(config.log.level.as_str(), "warn");
        assert_eq!(config.log.format, LogFormat::Json);
    }

    #[tokio::test]
    async fn sigterm_ends_the_wait() {
        let stopped = asked_to_stop().unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(5), stopped)
            .await
            .unwrap();
    }
}
