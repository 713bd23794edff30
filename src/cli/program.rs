//! The program's main function: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;

use super::arguments::{Arguments, Command};
use super::error::CliError;
use super::writer::{self, Writer};
use super::{
    configuration, doctor, image, kubectl_verbs, kubernetes, network, pods, serve, shell_help,
    version,
};

/// Runs the command of the process's arguments. Exit code 1: it did not work; 2: it was not understood;
/// 130: it was interrupted, as shells have it. `exec` ends with the exit code of its command.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too, for stdout and with code 0.
            error.print().ok();
            if let Some(instead) = kubectl_verbs::instead_of(&error) {
                writer::complain(&instead);
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        // A command that was run has said what it had to say.
        Err(CliError::Exit { code }) => ExitCode::from(code),
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
        Command::Pods(arguments) => pods::list::run(&arguments, &mut output),
        Command::Ps(arguments) => pods::ps::run(&arguments, &mut output),
        Command::Inspect(arguments) => pods::inspect::run(&arguments, &mut output),
        Command::Exec(arguments) => pods::exec::run(&arguments, &mut output),
        Command::Attach(arguments) => pods::attach::run(&arguments),
        Command::Cp(arguments) => pods::copy::run(&arguments),
        Command::PortForward(arguments) => pods::port_forward::run(&arguments, &mut output),
        Command::Stats(arguments) => pods::stats::run(&arguments, &mut output),
        Command::Events(arguments) => pods::events::run(&arguments, &mut output),
        Command::Logs(arguments) => pods::logs::run(&arguments, &mut output),
        Command::Apply(arguments) => kubernetes::apply::run(&arguments, &mut output),
        Command::Diff(arguments) => kubernetes::diff::run(&arguments, &mut output),
        Command::Get(arguments) => kubernetes::get::run(&arguments, &mut output),
        Command::Describe(arguments) => kubernetes::describe::run(&arguments, &mut output),
        Command::Explain(arguments) => kubernetes::explain::run(&arguments, &mut output),
        Command::Delete(arguments) => kubernetes::delete::run(&arguments, &mut output),
        Command::Wait(arguments) => kubernetes::wait::run(&arguments, &mut output),
        Command::Top(command) => kubernetes::top::run(&command, &mut output),
        Command::Create(command) => kubernetes::create::run(&command, &mut output),
        Command::Token(command) => kubernetes::token::run(&command, &mut output),
        Command::Agent(arguments) => kubernetes::run_agent::run(arguments),
        Command::Network(command) => network::run(&command, &mut output),
        Command::Version(arguments) => version::run(&arguments, &mut output),
        Command::Config(command) => configuration::run(&command, &mut output),
        Command::Completion { shell } => shell_help::completion(shell, &mut output),
        Command::ManPages { directory } => shell_help::man_pages(&directory),
    }?;
    output.flush().map_err(CliError::Print)
}
