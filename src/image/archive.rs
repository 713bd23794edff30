//! The files of an image archive, wherever they lie: in a folder, or in a tar file that is read once.
//!
//! A tar file gives its parts in any order, so its files are copied beside the store first, under names of ours; those
//! in the archive are only looked up, never used as paths.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;

use super::ImageError;
use super::error::Failure;
use super::pull::DOCUMENT_BYTES_MAX;
use crate::layer::{self, EntryKind, LayerError};

/// The most files that an archive may have; a `docker save` of many images has thousands.
const FILES_MAX: u64 = 100_000;

/// As many links as are followed from one file to another (old `docker save` links equal layers).
const LINKS_MAX: usize = 8;

/// The files of an archive.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    files: Files,
}

#[derive(Debug)]
enum Files {
    Folder(PathBuf),
    Copies {
        folder: PathBuf,
        names: HashMap<PathBuf, Copied>,
    },
}

#[derive(Debug)]
enum Copied {
    File(PathBuf),
    Link(PathBuf),
}

impl Drop for Archive {
    fn drop(&mut self) {
        if let Files::Copies { folder, .. } = &self.files
            && let Err(error) = fs::remove_dir_all(folder)
        {
            tracing::warn!(folder = %folder.display(), %error, "copies of an archive stay behind");
        }
    }
}

impl Archive {
    /// Opens a folder or a tar file, compressed or not; `scratch` is a folder of its own for the copies. Blocks.
    pub(super) fn open(
        path: &Path,
        scratch: PathBuf,
        limits: layer::Limits,
    ) -> Result<Self, ImageError> {
        let unreadable = |step| {
            move |source| Failure::Folder {
                step,
                path: path.to_owned(),
                source,
            }
        };
        if fs::metadata(path).map_err(unreadable("open"))?.is_dir() {
            return Ok(Self {
                path: path.to_owned(),
                files: Files::Folder(path.to_owned()),
            });
        }
        let file = File::open(path).map_err(unreadable("open"))?;
        fs::create_dir_all(&scratch).map_err(unreadable("make a folder to read"))?;
        let mut archive = Self {
            path: path.to_owned(),
            files: Files::Copies {
                folder: scratch.clone(),
                names: HashMap::new(),
            },
        };
        // From here on the copies are removed when the archive is dropped.
        let names = copy_all(path, file, &scratch, limits)?;
        archive.files = Files::Copies {
            folder: scratch,
            names,
        };
        Ok(archive)
    }

    /// Opens a file of the archive; `None` if there is none with this name.
    pub(super) fn file(&self, name: &str) -> Result<Option<File>, ImageError> {
        let path = match &self.files {
            Files::Folder(folder) => folder.join(clean(Path::new(name))),
            Files::Copies { names, .. } => {
                let Some(path) = follow(names, Path::new(name)) else {
                    return Ok(None);
                };
                path.to_owned()
            }
        };
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Failure::Folder {
                step: "open",
                path,
                source,
            }
            .into()),
        }
    }

    /// Reads a small file of the archive whole.
    pub(super) fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, ImageError> {
        let Some(file) = self.file(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(DOCUMENT_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| Failure::Folder {
                step: "read",
                path: self.path.join(name),
                source,
            })?;
        match bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            true => Err(self.bad("a manifest or configuration is larger than 8 MiB")),
            false => Ok(Some(bytes)),
        }
    }

    /// Parses a small file of the archive.
    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ImageError> {
        let Some(bytes) = self.bytes(name)? else {
            return Ok(None);
        };
        let parsed = serde_json::from_slice(&bytes).map_err(|source| Failure::ArchiveJson {
            path: self.path.clone(),
            file: name.to_owned(),
            source,
        })?;
        Ok(Some(parsed))
    }

    pub(super) fn bad(&self, problem: &'static str) -> ImageError {
        let path = self.path.clone();
        Failure::BadArchive { path, problem }.into()
    }
}

fn copy_all(
    path: &Path,
    file: File,
    scratch: &Path,
    limits: layer::Limits,
) -> Result<HashMap<PathBuf, Copied>, ImageError> {
    let unreadable = |source| Failure::Archive {
        path: path.to_owned(),
        source,
    };
    let reader = layer::decompress(file, layer::Proof::Checksum)
        .map_err(|source| unreadable(LayerError::Read { entries: 0, source }))?;
    let mut archive = layer::Archive::new(reader);
    let mut names = HashMap::new();
    let mut bytes = 0_u64;
    while let Some(entry) = archive.next_entry().map_err(unreadable)? {
        let number = archive.entries();
        let too_large = |what, limit| {
            unreadable(LayerError::TooLarge {
                what,
                limit,
                entry: number - 1,
                path: PathBuf::from(std::ffi::OsStr::from_bytes(&entry.path)),
            })
        };
        bytes = bytes.saturating_add(entry.size);
        if bytes > limits.bytes {
            return Err(too_large("bytes", limits.bytes).into());
        }
        if number > FILES_MAX {
            return Err(too_large("entries", FILES_MAX).into());
        }
        let name = clean(Path::new(std::ffi::OsStr::from_bytes(&entry.path)));
        let link = Path::new(std::ffi::OsStr::from_bytes(&entry.link));
        let copied = match entry.kind {
            EntryKind::File(_) => {
                let copy = scratch.join(number.to_string());
                let copying =
                    File::create(&copy).and_then(|mut target| io::copy(&mut archive, &mut target));
                copying.map_err(|source| Failure::Folder {
                    step: "copy the archive to",
                    path: copy.clone(),
                    source,
                })?;
                Copied::File(copy)
            }
            EntryKind::SymbolicLink => {
                let base = name.parent().unwrap_or(Path::new(""));
                Copied::Link(clean(&base.join(link)))
            }
            EntryKind::HardLink => Copied::Link(clean(link)),
            _ => continue,
        };
        names.insert(name, copied);
    }
    Ok(names)
}

fn follow<'a>(names: &'a HashMap<PathBuf, Copied>, name: &Path) -> Option<&'a Path> {
    let mut name = clean(name);
    for _ in 0..LINKS_MAX {
        match names.get(&name)? {
            Copied::File(path) => return Some(path),
            Copied::Link(target) => name.clone_from(target),
        }
    }
    None
}

/// A name without a root and without `.` and `..`, as if the archive were `/`.
fn clean(name: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => cleaned.push(part),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    cleaned
}
