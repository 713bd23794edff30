//! `carpel network`: what there is of the built-in network on this node, and how to be rid of it. One file per command.
//!
//! Both look at records and kernel themselves, so they work with the daemon and without.

mod reset;
mod status;

use std::io::Write;

use super::arguments::NetworkCommand;
use super::error::CliError;
use super::writer::Writer;

pub(super) fn run<W: Write>(
    command: &NetworkCommand,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    match command {
        NetworkCommand::Status(arguments) => status::status(arguments, output),
        NetworkCommand::Reset(arguments) => reset::reset(arguments, output),
    }
}
