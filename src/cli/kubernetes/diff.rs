//! `carpel diff`: what `apply` would change, as diff(1) shows it. Nothing is changed.

use std::io::Write;
use std::process::Command;

use serde_json::Value;

use super::api::{Agent, object_path};
use super::manifests;
use crate::cli::arguments::DiffArguments;
use crate::cli::error::CliError;
use crate::cli::writer::Writer;
use crate::cli::yaml;

/// What the agent sets, and what moves by itself, is no difference.
const OWN_FIELDS: [&str; 4] = ["creationTimestamp", "generation", "resourceVersion", "uid"];

/// Values of Secrets are no text for a terminal: kubectl masks them in the same way.
const MASKED: [&str; 2] = ["***** (before)", "***** (after)"];

/// Exit code 1: there are differences, as with kubectl.
pub(in crate::cli) fn run<W: Write>(
    arguments: &DiffArguments,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let objects = manifests::read(&arguments.filename, &arguments.namespace)?;
    let agent = Agent::of(&arguments.agent)?;
    let folder = tempfile::tempdir().map_err(CliError::Print)?;
    let mut differs = false;
    for object in &objects {
        let path = object_path(object.kind(), object.namespace(), object.name());
        let live = agent.find(&path)?;
        let (merged, _) =
            agent.apply(&format!("{path}?dryRun=All"), &manifests::to_json(object)?)?;
        let (live, merged) = comparable(live, merged);
        let name = format!("{}.{}.{}", object.kind(), object.namespace(), object.name());
        let mut files = Vec::new();
        for (side, value) in [("LIVE", live), ("MERGED", Some(merged))] {
            let side = folder.path().join(side);
            std::fs::create_dir_all(&side).map_err(CliError::Print)?;
            let file = side.join(&name);
            let text = value.as_ref().map(yaml::text).unwrap_or_default();
            std::fs::File::create(&file)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(CliError::Print)?;
            files.push(format!(
                "{}/{name}",
                side.file_name().unwrap_or_default().display()
            ));
        }
        differs |= compare(folder.path(), &files, output)?;
    }
    match differs {
        true => Err(CliError::Exit { code: 1 }),
        false => Ok(()),
    }
}

/// diff(1): exit status 0 without a difference, 1 with one, more for trouble.
fn compare<W: Write>(
    folder: &std::path::Path,
    files: &[String],
    output: &mut Writer<W>,
) -> Result<bool, CliError> {
    let failed = |source| CliError::Path {
        path: "diff".into(),
        source,
    };
    let compared = Command::new("diff")
        .args(["-u", "-N"])
        .args(files)
        .current_dir(folder)
        .output()
        .map_err(failed)?;
    output.bytes(&compared.stdout)?;
    match compared.status.code() {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(failed(std::io::Error::other(
            String::from_utf8_lossy(&compared.stderr).trim().to_owned(),
        ))),
    }
}

/// Without what nobody applies, and without the values of Secrets.
fn comparable(live: Option<Value>, merged: Value) -> (Option<Value>, Value) {
    let (mut live, mut merged) = (live, merged);
    for object in live.iter_mut().chain(std::iter::once(&mut merged)) {
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        if let Some(metadata) = metadata {
            OWN_FIELDS.iter().for_each(|field| {
                metadata.remove(*field);
            });
        }
        let spec = object.get_mut("spec").and_then(Value::as_object_mut);
        spec.map(|spec| spec.remove("nodeName"));
    }
    if merged["kind"] == "Secret" {
        mask(live.as_mut(), &mut merged);
    }
    (live, merged)
}

fn mask(live: Option<&mut Value>, merged: &mut Value) {
    let data = |object: &mut Value| {
        object
            .get_mut("data")
            .and_then(Value::as_object_mut)
            .cloned()
    };
    let mut nothing = Value::Null;
    let live = live.unwrap_or(&mut nothing);
    let (before, after) = (
        data(live).unwrap_or_default(),
        data(merged).unwrap_or_default(),
    );
    for (object, own, other, word) in [
        (live, &before, &after, MASKED[0]),
        (merged, &after, &before, MASKED[1]),
    ] {
        for (key, value) in own {
            let is_same = other.get(key) == Some(value);
            object["data"][key] = match is_same {
                true => "*****".into(),
                false => word.into(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_secrets_are_masked_and_still_differ() {
        let secret = |password: &str| {
            json!({ "kind": "Secret", "metadata": { "name": "s", "uid": "u" },
                "data": { "password": password, "user": "YQ==" } })
        };
        let (live, merged) = comparable(Some(secret("b25l")), secret("dHdv"));
        let live = live.unwrap();
        assert_eq!(
            live["data"],
            json!({ "password": "***** (before)", "user": "*****" })
        );
        assert_eq!(
            merged["data"],
            json!({ "password": "***** (after)", "user": "*****" })
        );
        assert_eq!(merged["metadata"], json!({ "name": "s" }));
        let (none, new) = comparable(None, secret("b25l"));
        assert!(none.is_none());
        assert!(!new.to_string().contains("b25l"), "{new}");
    }
}
