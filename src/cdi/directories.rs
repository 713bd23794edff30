//! The directories of specifications: a device of a later one stands over that of an earlier one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::CdiError;
use super::name;
use super::specification::{Edits, NamedDevice, Specification};

/// A longer file is cut, and so no specification: real ones have some KiB.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What the devices of these names want done.
///
/// # Errors
///
/// A name that is none, that no file has, or that two files of a directory have; a broken file only if the device is in no
/// other.
pub fn resolve(directories: &[PathBuf], names: &[String]) -> Result<Edits, CdiError> {
    let mut edits = Edits::default();
    if names.is_empty() {
        return Ok(edits);
    }
    let mut broken = Vec::new();
    let mut found = Vec::new();
    for directory in directories {
        found.push(read_directory(directory, &mut broken));
    }
    let mut general: Vec<&Path> = Vec::new();
    for wanted in names {
        let Some((kind, device)) = name::parts(wanted) else {
            return Err(CdiError::Name {
                name: wanted.clone(),
            });
        };
        let mut places = found.iter().rev();
        let place = places.find_map(|files| find(files, (kind, device), wanted).transpose());
        match place.transpose()? {
            Some((path, file, device)) => {
                // What holds for all devices of a file is done once.
                if !general.contains(&path) {
                    general.push(path);
                    edits.add(&file.container_edits, path)?;
                }
                edits.add(&device.container_edits, path)?;
            }
            None => {
                return Err(broken.pop().unwrap_or_else(|| CdiError::Unknown {
                    name: wanted.clone(),
                    directories: directories.to_vec(),
                }));
            }
        }
    }
    Ok(edits)
}

type Found<'a> = (&'a Path, &'a Specification, &'a NamedDevice);

fn find<'a>(
    files: &'a BTreeMap<PathBuf, Specification>,
    (kind, name): (&str, &str),
    wanted: &str,
) -> Result<Option<Found<'a>>, CdiError> {
    let mut places = files.iter().filter_map(|(path, file)| {
        let mut devices = file.devices.iter();
        let device = devices.find(|device| device.name == name)?;
        (file.kind == kind).then_some((path.as_path(), file, device))
    });
    let first = places.next();
    match (&first, places.next()) {
        (Some((first, ..)), Some((second, ..))) => Err(CdiError::Ambiguous {
            name: wanted.to_owned(),
            first: (*first).to_owned(),
            second: second.to_owned(),
        }),
        _ => Ok(first),
    }
}

/// The files of a directory that can be read. A directory that is not there is empty.
fn read_directory(
    directory: &Path,
    broken: &mut Vec<CdiError>,
) -> BTreeMap<PathBuf, Specification> {
    let mut files = BTreeMap::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return files,
        Err(source) => {
            broken.push(CdiError::Read {
                path: directory.to_owned(),
                source,
            });
            return files;
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let format = match extension {
            Some("json") => Format::Json,
            Some("yaml" | "yml") => Format::Yaml,
            _ => continue,
        };
        match read(&path, format) {
            Ok(specification) => drop(files.insert(path, specification)),
            Err(error) => broken.push(error),
        }
    }
    files
}

enum Format {
    Json,
    Yaml,
}

fn read(path: &Path, format: Format) -> Result<Specification, CdiError> {
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|source| CdiError::Read {
            path: path.to_owned(),
            source,
        })?;
    match format {
        Format::Json => serde_json::from_str(&text).map_err(|source| CdiError::Json {
            path: path.to_owned(),
            source,
        }),
        Format::Yaml => serde_saphyr::from_str(&text).map_err(|source| CdiError::Yaml {
            path: path.to_owned(),
            source: Box::new(source),
        }),
    }
}
