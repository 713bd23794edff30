//! Replacing and removing one file, atomically.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::PersistError;

/// What a replacement survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The death of this process at any instruction, like `Rename`; for what is worth nothing after a boot. The old file
    /// is exchanged and then unlinked: a rename over it would make ext4 write the new one to the disk first (its
    /// `auto_da_alloc`), which takes milliseconds beside a commit of the journal.
    Live,
    /// The death of this process at any instruction. A power cut may tear the file.
    Rename,
    /// A power cut too: the file and its folder are synced.
    Synced,
}

/// How the temporary files of replacements end.
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";

/// Makes two replacements of one file at once use two temporary files.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Puts `bytes` in the place of `path`, mode 0600, whole or not at all. The folder must exist.
///
/// # Errors
/// `Create`, `Write`, `Sync` and `Rename` by the step that the file system refused; the old file is then untouched.
pub fn replace(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), PersistError> {
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

/// Removes a file; one that is not there is fine.
///
/// # Errors
/// `Remove` if the file system refused.
pub fn remove(path: &Path) -> Result<(), PersistError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(PersistError::Remove {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

fn write_and_rename(
    path: &Path,
    temporary: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), PersistError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)
        .map_err(|source| PersistError::Create {
            path: temporary.to_owned(),
            source,
        })?;
    file.write_all(bytes)
        .map_err(|source| PersistError::Write {
            path: temporary.to_owned(),
            source,
        })?;
    if durability == Durability::Synced {
        file.sync_all().map_err(|source| PersistError::Sync {
            path: temporary.to_owned(),
            source,
        })?;
    }
    if durability == Durability::Live && exchange(temporary, path) {
        return Ok(());
    }
    fs::rename(temporary, path).map_err(|source| PersistError::Rename {
        from: temporary.to_owned(),
        to: path.to_owned(),
        source,
    })?;
    if durability == Durability::Synced {
        let folder = path.parent().unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| PersistError::Sync {
                path: folder.to_owned(),
                source,
            })?;
    }
    Ok(())
}

/// Exchanges the two and removes the old one. Not if there is no old one, or the file system cannot exchange.
fn exchange(temporary: &Path, path: &Path) -> bool {
    if renameat_with(CWD, temporary, CWD, path, RenameFlags::EXCHANGE).is_err() {
        return false;
    }
    if let Err(left) = fs::remove_file(temporary) {
        tracing::warn!(path = %temporary.display(), error = %left, "what was replaced stays behind");
    }
    true
}

fn temporary_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    name.push(format!(
        ".{}-{number}{TEMPORARY_SUFFIX}",
        std::process::id()
    ));
    path.with_file_name(name)
}
