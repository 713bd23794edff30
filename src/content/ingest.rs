//! A blob on its way into the store.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use carpel_linux::file::WriteOut;
use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

use super::ContentError;
use super::spool::{Outcome, Spool};

/// After so many bytes the kernel may begin to write them to the disk, so that little is left to be written at the end.
const WRITE_OUT_BYTES: u64 = 4 << 20;

/// Where an ingest writes, and what it must turn out to be.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) temporary: PathBuf,
    pub(super) blob: PathBuf,
    pub(super) digest: Digest,
    pub(super) size: Option<u64>,
}

/// A blob that is being written. Dropped without [`Ingest::commit`], it is as if it had never begun.
#[derive(Debug)]
pub struct Ingest {
    destination: Destination,
    file: File,
    hasher: Sha256,
    written: u64,
    write_out: WriteOut,
    spool: Spool,
}

impl Ingest {
    pub(super) fn create(destination: Destination) -> Result<Self, ContentError> {
        let refused = |source| ContentError::Write {
            digest: destination.digest.clone(),
            step: "create",
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&destination.temporary)
            .map_err(refused)?;
        let spool = Spool::new(file.try_clone().map_err(refused)?);
        Ok(Self {
            destination,
            file,
            hasher: Sha256::new(),
            written: 0,
            write_out: WriteOut::new(0, WRITE_OUT_BYTES),
            spool,
        })
    }

    /// The bytes that were written so far, and where to wait for the next.
    #[must_use]
    pub fn spool(&self) -> Spool {
        self.spool.clone()
    }

    /// How many bytes were written: where a broken download resumes.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// `WrongSize` as soon as there are more bytes than announced, `Write` if the file system refuses.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ContentError> {
        let found = self.written + bytes.len() as u64;
        if let Some(expected) = self.destination.size
            && found > expected
        {
            return Err(self.wrong_size(expected, found));
        }
        self.file
            .write_all(bytes)
            .map_err(|source| self.refused("write", source))?;
        self.hasher.update(bytes);
        self.written = found;
        self.spool.advance(found);
        self.write_out.advance(&self.file, found);
        Ok(())
    }

    /// Compares size and digest, syncs the bytes, and makes the blob visible.
    ///
    /// # Errors
    /// `WrongSize` and `WrongDigest` if these are other bytes than announced, `Write` if the file system refuses.
    pub fn commit(self) -> Result<(), ContentError> {
        if let Some(expected) = self.destination.size
            && self.written != expected
        {
            return Err(self.wrong_size(expected, self.written));
        }
        let found = lower_hexadecimal(&self.hasher.clone().finalize());
        if found != self.destination.digest.digest() {
            return Err(ContentError::WrongDigest {
                digest: self.destination.digest.clone(),
                found: format!("sha256:{found}"),
            });
        }
        // Readers behind the writer may see the end now: the bytes are right, only not yet durable, and whoever
        // unpacks them waits for this call's result before anything is kept.
        self.spool.finish(Outcome::Verified);
        self.file
            .sync_data()
            .map_err(|source| self.refused("sync", source))?;
        fs::rename(&self.destination.temporary, &self.destination.blob)
            .and_then(|()| sync_folder_of(&self.destination.blob))
            .map_err(|source| self.refused("commit", source))
    }

    fn refused(&self, step: &'static str, source: io::Error) -> ContentError {
        ContentError::Write {
            digest: self.destination.digest.clone(),
            step,
            source,
        }
    }

    fn wrong_size(&self, expected: u64, found: u64) -> ContentError {
        ContentError::WrongSize {
            digest: self.destination.digest.clone(),
            expected,
            found,
        }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.spool.finish(Outcome::Abandoned);
        match fs::remove_file(&self.destination.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(digest = %self.destination.digest, %error, "an unfinished blob stays in ingest");
            }
            // Not there: it was committed.
            _ => {}
        }
    }
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// The sha256 of `bytes` in hexadecimal.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    lower_hexadecimal(&Sha256::digest(bytes))
}

pub(super) fn lower_hexadecimal(hash: &[u8]) -> String {
    hash.iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            write!(text, "{byte:02x}").unwrap_or_default();
            text
        })
}
