//! `carpel attach`: the input and output of a container that runs.

use super::exec::exit_with;
use super::session::{self, Joining, Outcome};
use super::target::Target;
use crate::cli::arguments::AttachArguments;
use crate::cli::endpoint::{self, Daemon};
use crate::cli::error::CliError;
use crate::cli::writer;
use crate::cri::StreamSelection;
use crate::streaming::client::{Command, CommandEnd};

/// Whether the container has a terminal, and whether it takes input, is what it was made with.
pub(in crate::cli) fn run(arguments: &AttachArguments) -> Result<(), CliError> {
    let daemon = Daemon::of(&arguments.daemon)?;
    let target = Target {
        address: &arguments.daemon,
        scope: &arguments.scope,
        word: &arguments.container,
        own: arguments.of_pod.as_deref(),
        is_quiet: arguments.quiet,
    };
    let container = target.container(&daemon)?;
    let details = daemon.wait(daemon.client().container_details(&container.id))?;
    let is_set = |name: &str| details.info["config"][name].as_bool().unwrap_or(false);
    let streams = StreamSelection {
        stdin: is_set("stdin") && !arguments.no_stdin,
        tty: is_set("tty"),
    };
    let url = daemon.wait(daemon.client().attach_url(&container.id, streams))?;
    let trusted = endpoint::trusted_server(&url, &arguments.daemon)?;
    let joining = Joining {
        stdin: streams.stdin,
        tty: streams.tty,
        detaches: true,
    };
    let outcome = daemon.wait(async {
        let command = Command::open(&url, &trusted).await?;
        session::join(command, joining).await
    })?;
    match outcome {
        Outcome::Ended(CommandEnd::Exited(_)) => Ok(()),
        Outcome::Ended(CommandEnd::Failed(message)) => Err(CliError::Stream { message }),
        Outcome::Signalled(number) => exit_with(128 + i32::from(number)),
        Outcome::Detached => {
            writer::complain("detached");
            Ok(())
        }
    }
}
