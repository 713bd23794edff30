//! `carpel create`: tokens of service accounts.

use std::io::Write;

use serde_json::json;

use super::api::{Agent, text};
use crate::cli::arguments::CreateCommand;
use crate::cli::error::CliError;
use crate::cli::writer::Writer;

pub(in crate::cli) fn run<W: Write>(
    command: &CreateCommand,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let CreateCommand::Token {
        name,
        audience,
        duration,
        namespace,
        agent,
    } = command;
    let agent = Agent::of(agent)?;
    let path = format!(
        "/api/v1/namespaces/{}/serviceaccounts/{name}/token",
        namespace.name()
    );
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {},
        "spec": {
            "audiences": audience,
            "expirationSeconds": duration.map(|duration| duration.as_secs()),
        },
    });
    let answer = agent.post(&path, &request)?;
    output.line(text(&answer, "/status/token"))?;
    Ok(())
}
