//! The program's main function: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;

use super::arguments::{Arguments, Command};
use super::error::CliError;
use super::writer::{self, Writer};
use super::{configuration, doctor, image, network, serve, version};

/// Runs the command of the process's arguments. Exit code 1: it did not work; 2: it was not understood;
/// 130: it was interrupted, as shells have it.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too, for stdout and with code 0.
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            writer::report(&error);
            match error {
                CliError::Interrupted => ExitCode::from(130),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(command: Command) -> Result<(), CliError> {
    let mut output = Writer::stdout();
    match command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Doctor(arguments) => doctor::run(&arguments, &mut output),
        Command::Image(command) => image::run(command, &mut output),
        Command::Network(command) => network::run(&command, &mut output),
        Command::Version(arguments) => version::run(&arguments, &mut output),
        Command::Config(command) => configuration::run(&command, &mut output),
    }?;
    output.flush().map_err(CliError::Print)
}
