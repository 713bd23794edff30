//! Paths in the file.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

/// A path that does not depend on where the daemon was started.
pub(super) fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    check_absolute(PathBuf::deserialize(deserializer)?)
}

/// Paths like that.
pub(super) fn all_absolute<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<PathBuf>, D::Error> {
    let paths = Vec::<PathBuf>::deserialize(deserializer)?;
    paths.into_iter().map(check_absolute).collect()
}

fn check_absolute<E: serde::de::Error>(path: PathBuf) -> Result<PathBuf, E> {
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(E::custom(format_args!("{path:?} is not an absolute path")))
    }
}

/// At least one path that does not depend on where the daemon was started.
pub(super) fn some_absolute<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<PathBuf>, D::Error> {
    match all_absolute(deserializer)? {
        none if none.is_empty() => Err(serde::de::Error::custom("at least one path is needed")),
        paths => Ok(paths),
    }
}

/// A path that does not depend on where the daemon was started, if there is one.
pub(super) fn maybe_absolute<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    absolute(deserializer).map(Some)
}
