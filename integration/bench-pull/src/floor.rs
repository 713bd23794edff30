//! The floor: a bare program that does to the same blobs what no pull can leave out.
//!
//! It reads the blobs from the page cache, hashes them, inflates them, hashes what comes out, writes the files of the
//! archives and syncs, with a thread for each processor. It knows neither registries nor owners, modes, links or
//! whiteouts, and keeps no blob.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use flate2::bufread::GzDecoder;
use sha2::{Digest, Sha256};

use super::error::{self, BenchError};
use super::picture::{Layer, Picture, digest_of};
use super::process;
use super::rounds::Turn;

/// Bytes that are read, and written, at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Does it below `scratch`, which is empty again afterwards, and says what it took; the removal does not count.
pub(crate) fn run(picture: &Picture, scratch: &Path) -> Result<Turn, BenchError> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let folder = scratch.join("floor");
    fs::create_dir(&folder).map_err(error::file("make", &folder))?;
    let before = process::processor_time(own)?;
    let start = Instant::now();
    let outcome = unpack_all(picture, &folder);
    let wall = start.elapsed();
    let processor = process::processor_time(own)?.saturating_sub(before);
    fs::remove_dir_all(&folder).map_err(error::file("remove", &folder))?;
    outcome.map(|()| Turn {
        wall,
        processor,
        peak_kib: None,
    })
}

fn unpack_all(picture: &Picture, folder: &Path) -> Result<(), BenchError> {
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(layer) = picture.layers.get(number) else {
                return Ok(());
            };
            unpack(layer, &folder.join(number.to_string()))?;
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut outcome = Ok(());
        for worker in workers {
            outcome = outcome.and(worker.join().unwrap_or(Err(BenchError::Thread)));
        }
        outcome
    })?;
    let synced = File::open(folder).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    synced.map_err(error::file("sync", folder))
}

fn unpack(layer: &Layer, folder: &Path) -> Result<(), BenchError> {
    let (blob, diff_id) =
        unpack_files(&layer.blob, folder).map_err(error::file("unpack", folder))?;
    match blob == layer.digest && diff_id == layer.diff_id {
        true => Ok(()),
        false => Err(BenchError::Digest),
    }
}

/// Returns the digests of the blob and of the archive in it.
fn unpack_files(blob: &Path, folder: &Path) -> io::Result<(String, String)> {
    fs::create_dir(folder)?;
    let blob = BufReader::with_capacity(BUFFER_BYTES, Hashing::new(File::open(blob)?));
    let inflated = Hashing::new(GzDecoder::new(blob));
    let mut archive = tar::Archive::new(BufReader::with_capacity(BUFFER_BYTES, inflated));
    let mut buffer = vec![0; BUFFER_BYTES];
    for (number, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        let mut file = File::create(folder.join(number.to_string()))?;
        loop {
            match entry.read(&mut buffer)? {
                0 => break,
                count => file.write_all(&buffer[..count])?,
            }
        }
    }
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink())?;
    let inflated = rest.into_inner();
    let mut blob = inflated.reader.into_inner();
    io::copy(&mut blob, &mut io::sink())?;
    let blob = blob.into_inner();
    Ok((digest_of(blob.hasher), digest_of(inflated.hasher)))
}

/// Hashes what is read.
struct Hashing<R> {
    reader: R,
    hasher: Sha256,
}

impl<R> Hashing<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            hasher: Sha256::new(),
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Kind;
    use crate::picture;

    #[test]
    fn the_floor_compares_digests_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut picture = Picture {
            kind: Kind::Small,
            folder: folder.path().to_owned(),
            manifest: Vec::new(),
            layers: Vec::new(),
        };
        for number in 0..2 {
            let blob = folder.path().join(number.to_string());
            let (digest, diff_id) = picture::make_layer(&blob, Kind::Small, number).unwrap();
            picture.layers.push(Layer {
                blob,
                digest,
                diff_id,
                compressed_bytes: 0,
            });
        }
        let scratch = tempfile::tempdir().unwrap();
        assert!(!run(&picture, scratch.path()).unwrap().wall.is_zero());
        picture.layers[1].diff_id = picture.layers[0].diff_id.clone();
        assert!(matches!(
            run(&picture, scratch.path()),
            Err(BenchError::Digest)
        ));
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
