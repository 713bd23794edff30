//! Checking blobs that are in the store already.

use std::io::{self, Read};

use oci_spec::image::Digest;
use sha2::{Digest as _, Sha256};

use super::ingest::lower_hexadecimal;
use super::{Content, ContentError};

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 * 1024;

impl Content {
    /// How many bytes a blob has on disk, right or wrong; `None` if it is not there.
    #[must_use]
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        let metadata = self.open_blob(digest).ok()?.metadata().ok()?;
        metadata.is_file().then_some(metadata.len())
    }

    /// Reads a blob whole and compares its digest. `progress` is told of each piece's bytes; its error ends the check.
    ///
    /// # Errors
    /// `Missing`, `WrongDigest`, and `Read` if the disk or `progress` refuses.
    pub fn check(
        &self,
        digest: &Digest,
        mut progress: impl FnMut(u64) -> io::Result<()>,
    ) -> Result<(), ContentError> {
        let unreadable = |source| ContentError::Read {
            digest: digest.clone(),
            source,
        };
        let mut file = self.open_blob(digest)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
            hasher.update(&buffer[..count]);
            progress(count as u64).map_err(unreadable)?;
        }
        let found = lower_hexadecimal(&hasher.finalize());
        match found == digest.digest() {
            true => Ok(()),
            false => Err(ContentError::WrongDigest {
                digest: digest.clone(),
                found: format!("sha256:{found}"),
            }),
        }
    }
}
