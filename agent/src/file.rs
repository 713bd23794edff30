//! A file that is replaced whole or not at all and survives a power cut: records of objects and keys. It knows nothing
//! of what is in it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How temporary files begin: no name of a Kubernetes object does.
pub const TEMPORARY_PREFIX: &str = ".carpel-";

/// Makes two replacements of one file at once use two temporary files.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A step of reading or replacing a file that did not work out.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A folder could not be made.
    #[error("create folder {path}")]
    CreateFolder {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The temporary file beside the target could not be written.
    #[error("write {path}")]
    Write {
        /// The temporary file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The temporary file could not take the target's place, or its folder could not be synced.
    #[error("replace {path}")]
    Replace {
        /// The target.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file could not be removed.
    #[error("remove {path}")]
    Remove {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file or folder could not be read.
    #[error("read {path}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// What a replacement survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The death of this process. A power cut may tear the file.
    Rename,
    /// A power cut too: the file and its folder are synced.
    Synced,
}

/// Puts `bytes` in the place of `path`, mode 0600, whole or not at all. The folder must exist.
///
/// # Errors
/// `Write` and `Replace` by the step that the file system refused; the old file is then untouched.
pub fn replace(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), FileError> {
    let temporary = temporary_path(path);
    let outcome = write_and_rename(path, &temporary, bytes, durability);
    if outcome.is_err()
        && let Err(left) = fs::remove_file(&temporary)
        && left.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %temporary.display(), error = %left, "a temporary file stays behind");
    }
    outcome
}

/// Makes a folder with its ancestors, mode 0700; one that is there is fine.
///
/// # Errors
/// `CreateFolder` if the file system refused.
pub fn create_private_folder(path: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| FileError::CreateFolder {
            path: path.to_owned(),
            source,
        })
}

/// The bytes of a file, or nothing if there is none.
///
/// # Errors
/// `Read` if there is one and it cannot be read.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Removes a file durably; one that is not there is fine.
///
/// # Errors
/// `Remove` and `Replace` if the file system refused.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(FileError::Remove {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The names in a folder, in order; none if there is no folder. What a dead process left half-written is removed.
///
/// # Errors
/// `Read` and `Remove` if the file system refused.
pub fn names(folder: &Path) -> Result<Vec<String>, FileError> {
    let read_error = |source| FileError::Read {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(read_error(source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(read_error)?.file_name();
        match name.into_string() {
            Ok(name) if name.starts_with(TEMPORARY_PREFIX) => remove(&folder.join(name))?,
            Ok(name) => names.push(name),
            Err(_not_unicode) => {}
        }
    }
    names.sort();
    Ok(names)
}

fn write_and_rename(
    path: &Path,
    temporary: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), FileError> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(temporary)?;
        file.write_all(bytes)?;
        match durability {
            Durability::Synced => file.sync_all(),
            Durability::Rename => Ok(()),
        }
    };
    write().map_err(|source| FileError::Write {
        path: temporary.to_owned(),
        source,
    })?;
    fs::rename(temporary, path).map_err(|source| FileError::Replace {
        path: path.to_owned(),
        source,
    })?;
    match durability {
        Durability::Synced => sync_folder_of(path),
        Durability::Rename => Ok(()),
    }
}

fn sync_folder_of(path: &Path) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| FileError::Replace {
            path: path.to_owned(),
            source,
        })
}

fn temporary_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(TEMPORARY_PREFIX);
    name.push(std::process::id().to_string());
    name.push("-");
    name.push(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_replacement_is_private_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        replace(&path, b"one", Durability::Synced).unwrap();
        replace(&path, b"two", Durability::Rename).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"two");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(names(folder.path()).unwrap(), ["record"]);
    }

    #[test]
    fn what_a_dead_process_left_is_removed_when_names_are_read() {
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join(".carpel-1-1")).unwrap();
        File::create(folder.path().join("web")).unwrap();
        assert_eq!(names(folder.path()).unwrap(), ["web"]);
        assert!(!folder.path().join(".carpel-1-1").exists());
    }

    #[test]
    fn what_is_not_there_is_nothing_to_read_or_remove() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        assert_eq!(read(&path).unwrap(), None);
        remove(&path).unwrap();
        assert!(names(&path).unwrap().is_empty());
    }

    #[test]
    fn a_replacement_that_cannot_be_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        fs::create_dir(&path).unwrap();
        let error = replace(&path, b"one", Durability::Synced).unwrap_err();
        assert!(matches!(error, FileError::Replace { .. }), "{error:?}");
        assert_eq!(names(folder.path()).unwrap(), ["record"]);
    }
}
