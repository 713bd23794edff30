//! Records: one JSON document a file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::replace::TEMPORARY_SUFFIX;
use super::{Durability, PersistError, remove, replace};

/// Reads the record at `path`; `None` if there is no such file.
///
/// # Errors
/// `Torn` if the file does not parse, which the caller logs before it discards the record; `Read` if it cannot be read.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, PersistError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(PersistError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| PersistError::Torn {
            path: path.to_owned(),
            source,
        })
}

/// Replaces the record at `path` by `value`.
///
/// # Errors
/// As [`replace`], and `Encode` if the value has no JSON form.
pub fn write_json<T: Serialize>(
    path: &Path,
    value: &T,
    durability: Durability,
) -> Result<(), PersistError> {
    let bytes = serde_json::to_vec(value).map_err(|source| PersistError::Encode {
        path: path.to_owned(),
        source,
    })?;
    replace(path, &bytes, durability)
}

/// The `*.json` files of a folder, sorted; none if the folder is missing. Removes what interrupted replacements
/// left there, so nobody may be replacing records of this folder meanwhile: it is for recovery.
///
/// # Errors
/// `Read` if the folder cannot be listed, `Remove` if a left-over cannot be removed.
pub fn record_paths(folder: &Path) -> Result<Vec<PathBuf>, PersistError> {
    let unreadable = |source| PersistError::Read {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(unreadable(source)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') && name.ends_with(TEMPORARY_SUFFIX) {
            remove(&path)?;
        } else if name.ends_with(".json") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
