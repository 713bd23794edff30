//! `carpel apply`: makes objects be what manifests say.

use std::io::Write;

use super::api::{Agent, object_path};
use super::manifests;
use crate::cli::arguments::ApplyArguments;
use crate::cli::error::CliError;
use crate::cli::writer::{self, Writer};

pub(in crate::cli) fn run<W: Write>(
    arguments: &ApplyArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    // All are read before the first is sent: a mistake in one changes nothing.
    let objects = manifests::read(&arguments.filename)?;
    let agent = Agent::of(&arguments.agent)?;
    let mut refused = 0;
    for object in &objects {
        let kind = object.kind();
        let path = object_path(kind, object.namespace(), object.name());
        match agent.apply(&path, &manifests::to_json(object)?) {
            Ok((_, done)) => {
                output.line(format!("{}/{} {done}", kind.singular(), object.name()))?;
            }
            // The others may go all the same, as with kubectl.
            Err(error @ CliError::Agent(carpel_agent::client::ApiError::Refused { .. })) => {
                writer::report(&error);
                refused += 1;
            }
            Err(error) => return Err(error),
        }
    }
    match refused {
        0 => Ok(()),
        _ => Err(CliError::Exit { code: 1 }),
    }
}
