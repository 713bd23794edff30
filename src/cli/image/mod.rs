//! `carpel image`: what the daemon's image store holds, and how it gets there. One file per command.

mod explain;
mod export;
mod import;
mod inspect;
mod list;
mod progress;
pub(super) mod prune;
mod pull;
mod pull_view;
mod remove;
mod verify;

use std::io::Write;

use super::arguments::ImageCommand;
use super::error::CliError;
use super::writer::Writer;

pub(super) fn run<W: Write>(command: ImageCommand, output: &mut Writer<W>) -> Result<(), CliError> {
    match command {
        ImageCommand::Export(arguments) => export::export(arguments, output),
        ImageCommand::Explain(arguments) => explain::explain(arguments, output),
        ImageCommand::Import(arguments) => import::import(arguments, output),
        ImageCommand::Inspect(arguments) => inspect::inspect(&arguments, output),
        ImageCommand::List(arguments) => list::list(&arguments, output),
        ImageCommand::Prune(arguments) => prune::prune(&arguments, output),
        ImageCommand::Remove(arguments) => remove::remove(&arguments, output),
        ImageCommand::Pull(arguments) => pull::pull(arguments, output),
        ImageCommand::Verify(arguments) => verify::verify(arguments, output),
    }
}
