//! Where the rules of a registry are: the first folder that is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::host::ClientCertificate;
use crate::registry::RegistryError;

/// The files of a folder in Docker's layout.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    pub(super) authorities: Vec<PathBuf>,
    pub(super) clients: Vec<ClientCertificate>,
}

/// The folder of `registry`: its own in any of the directories, else `_default` in any of them.
pub(super) fn find(
    directories: &[PathBuf],
    registry: &str,
) -> Result<Option<PathBuf>, RegistryError> {
    let with_port = match registry.rsplit_once(':') {
        // A colon is no part of a name everywhere, so that this form comes first.
        Some((name, port)) => format!("{name}_{port}_"),
        None => registry.to_owned(),
    };
    for name in [with_port.as_str(), registry, "_default"] {
        for directory in directories {
            let folder = directory.join(name);
            match fs::metadata(&folder) {
                Ok(metadata) if metadata.is_dir() => return Ok(Some(folder)),
                Ok(_file) => {}
                Err(error) if is_missing(&error) => {}
                Err(source) => {
                    return Err(RegistryError::Read {
                        path: folder,
                        source,
                    });
                }
            }
        }
    }
    Ok(None)
}

/// The text of `hosts.toml` there, if there is one with anything in it.
pub(super) fn hosts_file(folder: &Path) -> Result<Option<(PathBuf, String)>, RegistryError> {
    let path = folder.join("hosts.toml");
    match fs::read_to_string(&path) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some((path, text))),
        Err(error) if is_missing(&error) => Ok(None),
        Err(source) => Err(RegistryError::Read { path, source }),
    }
}

/// Docker's layout: `*.crt` are authorities, `*.cert` our own certificates with their keys in `*.key`.
pub(super) fn certificates(folder: &Path) -> Result<Certificates, RegistryError> {
    let unreadable = |source| RegistryError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
    }
    paths.sort();
    let mut found = Certificates::default();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => found.authorities.push(path),
            Some("cert") => {
                let key = path.with_extension("key");
                found.clients.push(ClientCertificate {
                    key: if key.exists() { key } else { path.clone() },
                    certificate: path,
                });
            }
            _ => {}
        }
    }
    Ok(found)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
