//! The folder of blobs.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oci_spec::image::{Digest, DigestAlgorithm};

use super::ingest::{Destination, hexadecimal};
use super::{ContentError, Ingest};

/// The content store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Content {
    folders: Arc<Folders>,
}

#[derive(Debug)]
struct Folders {
    blobs: PathBuf,
    ingest: PathBuf,
    next: AtomicU64,
}

impl Content {
    /// Opens the store below `root`, making it if needed, and removes what a crash left in `ingest/`.
    ///
    /// # Errors
    /// `Prepare` if a folder cannot be made or cleaned.
    pub fn open(root: &Path) -> Result<Self, ContentError> {
        let folders = Folders {
            blobs: root.join("blobs/sha256"),
            ingest: root.join("ingest"),
            next: AtomicU64::new(0),
        };
        let prepare = |path: &Path, outcome: io::Result<()>| {
            outcome.map_err(|source| ContentError::Prepare {
                path: path.to_owned(),
                source,
            })
        };
        if folders.ingest.exists() {
            prepare(&folders.ingest, fs::remove_dir_all(&folders.ingest))?;
        }
        prepare(&folders.ingest, fs::create_dir_all(&folders.ingest))?;
        prepare(&folders.blobs, fs::create_dir_all(&folders.blobs))?;
        Ok(Self {
            folders: Arc::new(folders),
        })
    }

    /// Whether the blob is in the store.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_ok_and(|path| path.exists())
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// `Missing` if it is not there, `Read` if the file system refuses.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, ContentError> {
        File::open(self.path(digest)?).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ContentError::Missing {
                digest: digest.clone(),
            },
            _ => ContentError::Read {
                digest: digest.clone(),
                source,
            },
        })
    }

    /// Reads a small blob whole and compares its digest once more.
    ///
    /// # Errors
    /// `Missing`, `Read`, `TooLarge` beyond `limit` bytes, `WrongDigest` if the disk lost or changed bytes.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ContentError> {
        let mut bytes = Vec::new();
        self.open_blob(digest)?
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|source| ContentError::Read {
                digest: digest.clone(),
                source,
            })?;
        if bytes.len() as u64 > limit {
            return Err(ContentError::TooLarge {
                digest: digest.clone(),
                limit,
            });
        }
        let found = hexadecimal(&bytes);
        if found != digest.digest() {
            return Err(ContentError::WrongDigest {
                digest: digest.clone(),
                found: format!("sha256:{found}"),
            });
        }
        Ok(bytes)
    }

    /// Starts to write a blob; `size` in bytes where it is known.
    ///
    /// # Errors
    /// `UnsupportedDigest`, or `Write` if the file cannot be created.
    pub fn ingest(&self, digest: &Digest, size: Option<u64>) -> Result<Ingest, ContentError> {
        let number = self.folders.next.fetch_add(1, Ordering::Relaxed);
        let destination = Destination {
            temporary: self.folders.ingest.join(number.to_string()),
            blob: self.path(digest)?,
            digest: digest.clone(),
            size,
        };
        Ingest::create(destination)
    }

    /// Writes a small blob whole; one that is there already is left alone.
    ///
    /// # Errors
    /// As [`Ingest::write`] and [`Ingest::commit`].
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<(), ContentError> {
        if self.contains(digest) {
            return Ok(());
        }
        let mut ingest = self.ingest(digest, Some(bytes.len() as u64))?;
        ingest.write(bytes)?;
        ingest.commit()
    }

    /// Removes a blob; one that is not there is fine. Readers that have it open go on.
    ///
    /// # Errors
    /// `Remove` if the file system refuses.
    pub fn remove(&self, digest: &Digest) -> Result<(), ContentError> {
        match fs::remove_file(self.path(digest)?) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(ContentError::Remove {
                digest: digest.clone(),
                source,
            }),
            _ => Ok(()),
        }
    }

    /// The digests of all blobs. Files with other names are not blobs and are left out.
    ///
    /// # Errors
    /// `Prepare` if the folder cannot be listed.
    pub fn digests(&self) -> Result<Vec<Digest>, ContentError> {
        let unreadable = |source| ContentError::Prepare {
            path: self.folders.blobs.clone(),
            source,
        };
        let mut digests = Vec::new();
        for entry in fs::read_dir(&self.folders.blobs).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            if let Ok(digest) = format!("sha256:{}", name.to_string_lossy()).parse() {
                digests.push(digest);
            }
        }
        Ok(digests)
    }

    /// The bytes that a blob takes on disk; none if it is not here.
    #[must_use]
    pub fn allocated(&self, digest: &Digest) -> u64 {
        let metadata = self
            .path(digest)
            .ok()
            .and_then(|path| fs::metadata(path).ok());
        // stat(2): st_blocks counts units of 512 bytes whatever the block size.
        metadata.map_or(0, |metadata| metadata.blocks() * 512)
    }

    fn path(&self, digest: &Digest) -> Result<PathBuf, ContentError> {
        match digest.algorithm() {
            DigestAlgorithm::Sha256 => Ok(self.folders.blobs.join(digest.digest())),
            _ => Err(ContentError::UnsupportedDigest {
                digest: digest.clone(),
            }),
        }
    }
}
