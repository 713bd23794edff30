//! `carpel network reset`.

use std::io::Write;

use crate::cli::arguments::ResetArguments;
use crate::cli::error::CliError;
use crate::cli::writer::Writer;
use crate::config::Config;
use crate::daemon::{self, RunningPods};

pub(super) fn reset<W: Write>(
    arguments: &ResetArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let config = Config::read_or_default(arguments.file.path.as_deref())?;
    let pods = if arguments.force {
        RunningPods::Disconnect
    } else {
        RunningPods::Keep
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Threads)?;
    for sentence in runtime.block_on(daemon::reset_network(&config, pods))? {
        output.line(sentence)?;
    }
    Ok(())
}
