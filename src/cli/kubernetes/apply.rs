//! `carpel apply`: makes objects be what manifests say.

use std::io::Write;

use carpel_agent::client::ApiError;
use serde_json::{Value, json};

use super::api::{Agent, object_path, text};
use super::get_format::GetFormat;
use super::manifests;
use crate::cli::arguments::{ApplyArguments, DryRun};
use crate::cli::error::CliError;
use crate::cli::writer::{self, Writer};

pub(in crate::cli) fn run<W: Write>(
    arguments: &ApplyArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    // All are read before the first is sent: a mistake in one changes nothing.
    let objects = manifests::read(&arguments.filename, &arguments.namespace)?;
    let agent = Agent::of(&arguments.agent)?;
    let mut refused = 0;
    let mut applied = Vec::new();
    for object in &objects {
        let path = object_path(object.kind(), object.namespace(), object.name());
        // A try on the client's side asks the agent what is there, as kubectl does.
        let path = match arguments.dry_run {
            DryRun::None => path,
            DryRun::Client | DryRun::Server => format!("{path}?dryRun=All"),
        };
        let kind = object.kind().singular();
        match agent.apply(&path, &manifests::to_json(object)?) {
            Ok((object, done)) => {
                if arguments.output.is_none() {
                    let name = text(&object, "/metadata/name");
                    output.line(format!("{kind}/{name} {done}{}", arguments.dry_run.note()))?;
                }
                applied.push((kind, object));
            }
            // The others may go all the same, as with kubectl.
            Err(error @ CliError::Agent(ApiError::Refused { .. })) => {
                writer::report(&error);
                refused += 1;
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(format) = &arguments.output {
        print(format, applied, output)?;
    }
    match refused {
        0 => Ok(()),
        _ => Err(CliError::Exit { code: 1 }),
    }
}

fn print<W: Write>(
    format: &GetFormat,
    applied: Vec<(&str, Value)>,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    if let GetFormat::Name | GetFormat::Wide | GetFormat::CustomColumns(_) = format {
        for (kind, object) in &applied {
            output.line(format!("{kind}/{}", text(object, "/metadata/name")))?;
        }
        return Ok(());
    }
    let mut items: Vec<Value> = applied.into_iter().map(|(_, object)| object).collect();
    let whole = match items.len() {
        1 => items.remove(0),
        _ => json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items }),
    };
    match format {
        GetFormat::Yaml => output.yaml(&whole)?,
        GetFormat::JsonPath(template) => output.bytes(template.fill_in(&whole).as_bytes())?,
        _ => output.json(&whole)?,
    }
    Ok(())
}
