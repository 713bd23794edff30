//! `carpel token`: what tokens can be verified with.

use std::io::Write;

use super::api::Agent;
use crate::cli::arguments::TokenCommand;
use crate::cli::error::CliError;
use crate::cli::writer::Writer;

pub(in crate::cli) fn run<W: Write>(
    command: &TokenCommand,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let TokenCommand::Jwks { agent } = command;
    let keys = Agent::of(agent)?.get("/openid/v1/jwks")?;
    output.json(&keys)?;
    Ok(())
}
