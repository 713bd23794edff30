//! `carpel image`: what the daemon's image store holds, and how it gets there. One file per command.

mod import;
mod list;

use std::io::Write;

use super::arguments::ImageCommand;
use super::error::CliError;
use super::writer::Writer;

pub(super) fn run<W: Write>(command: ImageCommand, output: &mut Writer<W>) -> Result<(), CliError> {
    match command {
        ImageCommand::Import(arguments) => import::import(arguments, output),
        ImageCommand::List(arguments) => list::list(&arguments, output),
    }
}
