//! `carpel exec`: a command in a running container, with its streams or just its result.

use std::io::Write;

use serde_json::json;

use super::session::{self, Joining, Outcome};
use super::target::Target;
use crate::cli::arguments::{ExecArguments, TextOrJson};
use crate::cli::endpoint::{self, Daemon};
use crate::cli::error::CliError;
use crate::cli::writer::{self, Writer};
use crate::cri::StreamSelection;
use crate::streaming::client::{Command, CommandEnd};

/// Ends with the command's own exit code.
pub(in crate::cli) fn run<W: Write>(
    arguments: &ExecArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let daemon = Daemon::of(&arguments.daemon)?;
    let target = Target {
        address: &arguments.daemon,
        scope: &arguments.scope,
        word: &arguments.container,
        own: arguments.of_pod.as_deref(),
        is_quiet: arguments.quiet,
    };
    let container = target.container(&daemon)?;
    if arguments.sync {
        return run_to_the_end(&daemon, &container.id, arguments, output);
    }
    let streams = StreamSelection {
        stdin: arguments.interactive,
        tty: arguments.tty,
    };
    let call = daemon
        .client()
        .exec_url(&container.id, &arguments.command, streams);
    let url = daemon.wait(call)?;
    let trusted = endpoint::trusted_server(&url, &arguments.daemon)?;
    let joining = Joining {
        stdin: arguments.interactive,
        tty: arguments.tty,
        detaches: false,
    };
    let outcome = daemon.wait(async {
        let command = Command::open(&url, &trusted).await?;
        session::join(command, joining).await
    })?;
    match outcome {
        Outcome::Ended(CommandEnd::Exited(code)) => exit_with(code),
        Outcome::Ended(CommandEnd::Failed(message)) => Err(CliError::Stream { message }),
        Outcome::Signalled(number) => exit_with(128 + i32::from(number)),
        Outcome::Detached => Ok(()),
    }
}

/// ExecSync.
fn run_to_the_end<W: Write>(
    daemon: &Daemon,
    id: &str,
    arguments: &ExecArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let call = daemon
        .client()
        .exec_sync(id, &arguments.command, arguments.timeout);
    let result = daemon.wait(call)?;
    match arguments.output {
        TextOrJson::Text => {
            output.bytes(&result.stdout)?;
            output.flush()?;
            writer::complain_bytes(&result.stderr);
        }
        TextOrJson::Json => output.json(&json!({
            "exit_code": result.exit_code,
            "stdout": String::from_utf8_lossy(&result.stdout),
            "stderr": String::from_utf8_lossy(&result.stderr),
        }))?,
    }
    exit_with(result.exit_code)
}

/// A command's exit code as this program's: its lowest eight bits, as everywhere.
pub(super) fn exit_with(code: i32) -> Result<(), CliError> {
    match u8::try_from(code & 0xff).unwrap_or(u8::MAX) {
        0 => Ok(()),
        code => Err(CliError::Exit { code }),
    }
}
