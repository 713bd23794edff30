//! Reads manifests from files, folders and standard input, checked before anything is sent.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use carpel_agent::manifest::{self, Object};
use serde_json::Value;

use super::resource::{Resource, Wanted};
use crate::cli::arguments::Namespace;
use crate::cli::error::CliError;

/// The endings of manifests in a folder.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// All objects of all files, in their order. What is wrong in any of them is told together.
/// What names no namespace is in the one of the command line; another one than that is refused, as kubectl does.
pub(super) fn read(paths: &[PathBuf], namespace: &Namespace) -> Result<Vec<Object>, CliError> {
    let mut objects = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        for file in files(path)? {
            let text = text_of(&file)?;
            match manifest::parse_in(&text, &file.display().to_string(), namespace.name()) {
                Ok(found) => objects.extend(found),
                Err(errors) => problems.push(errors.to_string()),
            }
        }
    }
    let wanted = namespace.namespace.as_deref();
    for object in &objects {
        let own = object.namespace();
        if let Some(wanted) = wanted.filter(|wanted| *wanted != own) {
            problems.push(format!(
                "the namespace from the provided object {own:?} does not match the namespace {wanted:?}. You must pass '--namespace={own}' to perform this operation."
            ));
        }
    }
    match (problems.is_empty(), objects.is_empty()) {
        (false, _) => Err(CliError::Manifests {
            problems: problems.join("\n"),
        }),
        (true, true) => Err(CliError::Manifests {
            problems: "no objects passed".to_owned(),
        }),
        (true, false) => Ok(objects),
    }
}

/// The objects that files name, to ask for them.
pub(super) fn wanted(paths: &[PathBuf], namespace: &Namespace) -> Result<Vec<Wanted>, CliError> {
    let mut all: Vec<Wanted> = Vec::new();
    for object in read(paths, namespace)? {
        let resource = Resource::Object(object.kind());
        let name = object.name().to_owned();
        match all.iter_mut().find(|wanted| wanted.resource == resource) {
            Some(wanted) => wanted.names.push(name),
            None => all.push(Wanted {
                resource,
                names: vec![name],
            }),
        }
    }
    Ok(all)
}

/// A folder is the files in it, by their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    let url = path.to_str().unwrap_or_default();
    if url.starts_with("https://") || url.starts_with("http://") {
        return Err(CliError::ManifestUrl {
            url: url.to_owned(),
        });
    }
    let failed = |source| CliError::Path {
        path: path.to_owned(),
        source,
    };
    if path == Path::new("-") || !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let ending = file.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn text_of(path: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => io::stdin().read_to_string(&mut text),
        false => fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)),
    };
    match read {
        Ok(_) => Ok(text),
        Err(source) => Err(CliError::Path {
            path: path.to_owned(),
            source,
        }),
    }
}

/// As it is sent.
pub(super) fn to_json(object: &Object) -> Result<Value, CliError> {
    let value = match object {
        Object::Pod(pod) => serde_json::to_value(pod),
        Object::Secret(secret) => serde_json::to_value(secret),
        Object::ConfigMap(map) => serde_json::to_value(map),
        Object::ServiceAccount(account) => serde_json::to_value(account),
    };
    value.map_err(CliError::Object)
}
