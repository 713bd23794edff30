//! A folder of manifests that is kept applied, as a kubelet keeps its static pods: what is in a file is an object, what
//! leaves it goes. A file that is broken is reported and changes nothing; the others go on.
//!
//! Whoever owns a [`Folder`] scans it when a [`super::FolderWatch`] has news; only files that changed are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Applied, Store, StoreError};
use crate::manifest::{self, Key, ManifestErrors, Object};

/// Says that an object comes from a file, as the kubelet says it of a static pod.
pub const SOURCE_ANNOTATION: &str = "kubernetes.io/config.source";
/// The source of an object that comes from a file.
pub const SOURCE_FILE: &str = "file";
/// The file that an object comes from.
pub const FILE_ANNOTATION: &str = "io.carpel.agent.manifest";

/// The folder and what was last seen in it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    files: BTreeMap<PathBuf, Seen>,
}

#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    /// What the file said when it was last whole; nothing if it never was.
    keys: Option<BTreeSet<Key>>,
}

/// What tells that a file was written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// What a scan did.
#[derive(Debug, Default)]
pub struct Scan {
    /// Objects that were applied and how; unchanged ones are left out.
    pub applied: Vec<(Key, Applied)>,
    /// Objects that are in no file any more. Whoever runs pods removes them in order, the pods with their grace.
    pub vanished: Vec<Key>,
    /// What is wrong; each is told once, until its file is written again.
    pub errors: Vec<FolderError>,
}

/// A file or object that was passed over.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder or a file could not be read.
    #[error("read {path}")]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file is no manifest.
    #[error("manifest {path}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// All that is wrong with it.
        #[source]
        source: ManifestErrors,
    },
    /// A file has no object. It may be one that is being written, so that what it said before stays.
    #[error(
        "manifest {path}: there is no object in it; to end what it said before, remove the file"
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// An object of a file could not be applied.
    #[error("apply {key} of {path}")]
    Apply {
        /// The file.
        path: PathBuf,
        /// The object.
        key: Key,
        /// Why not.
        #[source]
        source: Box<StoreError>,
    },
}

impl Folder {
    /// The folder of a path; nothing is read yet. One that is not there is as an empty one.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            files: BTreeMap::new(),
        }
    }

    /// Applies what changed since the last scan.
    pub fn scan(&mut self, store: &Store) -> Scan {
        let mut scan = Scan::default();
        let stamps = match stamps(&self.path) {
            Ok(stamps) => stamps,
            Err(error) => {
                // Nothing is known of what is in the folder: nothing changes.
                scan.errors.push(error);
                return scan;
            }
        };
        self.files.retain(|path, _| stamps.contains_key(path));
        for (path, stamp) in stamps {
            if self.files.get(&path).is_none_or(|seen| seen.stamp != stamp) {
                self.read(store, &path, stamp, &mut scan);
            }
        }
        scan.vanished = self.vanished(store);
        scan
    }

    fn read(&mut self, store: &Store, path: &Path, stamp: Stamp, scan: &mut Scan) {
        let before = self.files.remove(path).and_then(|seen| seen.keys);
        let keys = match objects_of(path) {
            Ok(objects) => Some(apply(store, path, objects, scan)),
            Err(error) => {
                scan.errors.push(error);
                before
            }
        };
        self.files.insert(path.to_owned(), Seen { stamp, keys });
    }

    /// Objects that came from a file of this folder and are in none now. While a file has never been whole since the start,
    /// its objects are not known: then those that came from it stay.
    fn vanished(&self, store: &Store) -> Vec<Key> {
        let mut vanished = Vec::new();
        for kind in manifest::Kind::ALL {
            for object in store.list(kind, None) {
                let Some(path) = file_of(&object) else {
                    continue;
                };
                let is_here = path.parent() == Some(&self.path);
                let is_said = match self.files.get(path) {
                    Some(Seen {
                        keys: Some(keys), ..
                    }) => keys.contains(&object.key()),
                    Some(Seen { keys: None, .. }) => true,
                    None => false,
                };
                if is_here && !is_said && object.metadata().deletion_timestamp.is_none() {
                    vanished.push(object.key());
                }
            }
        }
        vanished
    }
}

fn file_of(object: &Object) -> Option<&Path> {
    let annotations = object.metadata().annotations.as_ref()?;
    annotations.get(FILE_ANNOTATION).map(Path::new)
}

/// Applies the objects of a file. The keys of all of them, also of those that could not be.
fn apply(store: &Store, path: &Path, objects: Vec<Object>, scan: &mut Scan) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    for mut object in objects {
        let key = object.key();
        let annotations = object.metadata_mut().annotations.get_or_insert_default();
        annotations.insert(SOURCE_ANNOTATION.to_owned(), SOURCE_FILE.to_owned());
        annotations.insert(FILE_ANNOTATION.to_owned(), path.display().to_string());
        keys.insert(key.clone());
        match store.apply(object) {
            Ok(Applied::Unchanged) => {}
            Ok(applied) => scan.applied.push((key, applied)),
            Err(source) => scan.errors.push(FolderError::Apply {
                path: path.to_owned(),
                key,
                source: Box::new(source),
            }),
        }
    }
    keys
}

fn objects_of(path: &Path) -> Result<Vec<Object>, FolderError> {
    let text = fs::read_to_string(path).map_err(|source| FolderError::Read {
        path: path.to_owned(),
        source,
    })?;
    let objects = manifest::parse(&text, &path.display().to_string());
    let objects = objects.map_err(|source| FolderError::Manifest {
        path: path.to_owned(),
        source,
    })?;
    if objects.is_empty() {
        return Err(FolderError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(objects)
}

/// The manifests of a folder: files whose names end as YAML or JSON does and do not begin with a dot.
fn stamps(folder: &Path) -> Result<BTreeMap<PathBuf, Stamp>, FolderError> {
    let read_error = |source| FolderError::Read {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(read_error(source)),
    };
    let mut stamps = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(read_error)?.path();
        if !is_manifest(&path) {
            continue;
        }
        // A file that was removed meanwhile, or is a link to nothing, is as none.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        if metadata.is_file() {
            let stamp = Stamp {
                inode: metadata.ino(),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
            };
            stamps.insert(path, stamp);
        }
    }
    Ok(stamps)
}

fn is_manifest(path: &Path) -> bool {
    let is_hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !is_hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}
