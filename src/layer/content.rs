//! Comparing the bytes of one unpacked file with those that it was made of.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::difference::{Comparison, Deviation, Difference, Kind};
use super::header::Stretch;

/// Bytes that are compared at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Compares a file of `size` bytes with the data of its entry; holes of a sparse file must read as zeros.
///
/// # Errors
/// What `data` says. Errors of the file are deviations.
pub(super) fn compare(
    file: File,
    size: u64,
    stretches: &[Stretch],
    data: &mut impl Read,
) -> io::Result<Result<(), Deviation>> {
    let mut bytes = Bytes {
        file,
        found: vec![0; BUFFER_BYTES],
        expected: vec![0; BUFFER_BYTES],
    };
    let whole = [Stretch {
        offset: 0,
        length: size,
    }];
    let stretches = match stretches {
        [] => &whole[..],
        stretches => stretches,
    };
    let mut end = 0;
    for stretch in stretches {
        if let Err(deviation) = bytes.is_hole(end, stretch.offset) {
            return Ok(Err(deviation));
        }
        if let Err(deviation) = bytes.is_data(stretch, data)? {
            return Ok(Err(deviation));
        }
        end = stretch.offset + stretch.length;
    }
    Ok(bytes.is_hole(end, size))
}

/// Compares the file `name` of a layer that is nothing but this file with the `size` bytes of `source`; its owner and
/// mode do not matter.
///
/// # Errors
/// What `source` says. Whatever is wrong with the file is a difference.
pub fn compare_file(
    mut source: impl Read,
    size: u64,
    target: &Path,
    name: &Path,
) -> io::Result<Comparison> {
    let found = match open_file(&target.join(name), size) {
        Ok(file) => compare(file, size, &[], &mut source)?,
        Err(deviation) => Err(deviation),
    };
    let path = name.to_owned();
    let difference = found.err().map(|deviation| Difference { path, deviation });
    Ok(Comparison {
        differences: difference.into_iter().collect(),
    })
}

fn open_file(path: &Path, size: u64) -> Result<File, Deviation> {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Deviation::Missing,
        _ => Deviation::Unreadable(error),
    };
    let metadata = std::fs::symlink_metadata(path).map_err(refused)?;
    if !metadata.is_file() {
        return Err(Deviation::Kind {
            expected: Kind::File,
            found: Kind::Other,
        });
    }
    if metadata.len() != size {
        return Err(Deviation::Size {
            expected: size,
            found: metadata.len(),
        });
    }
    File::open(path).map_err(refused)
}

struct Bytes {
    file: File,
    found: Vec<u8>,
    expected: Vec<u8>,
}

impl Bytes {
    fn is_data(
        &mut self,
        stretch: &Stretch,
        data: &mut impl Read,
    ) -> io::Result<Result<(), Deviation>> {
        let mut position = stretch.offset;
        let end = stretch.offset + stretch.length;
        while position < end {
            let wanted = length(end - position);
            let count = match data.read(&mut self.expected[..wanted]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if let Err(error) = self.file.read_exact_at(&mut self.found[..count], position) {
                return Ok(Err(Deviation::Unreadable(error)));
            }
            let (found, expected) = (&self.found[..count], &self.expected[..count]);
            if found != expected {
                return Ok(Err(other(position, found, expected)));
            }
            position += count as u64;
        }
        Ok(Ok(()))
    }

    /// Reads only what the file system keeps: a hole may be larger than any disk.
    fn is_hole(&mut self, start: u64, end: u64) -> Result<(), Deviation> {
        let refused = |errno: Errno| Deviation::Unreadable(errno.into());
        self.expected.fill(0);
        let mut position = start;
        while position < end {
            position = match rustix::fs::seek(&self.file, SeekFrom::Data(position)) {
                // lseek(2): no data after this place.
                Err(Errno::NXIO) => return Ok(()),
                outcome => outcome.map_err(refused)?.min(end),
            };
            let hole = rustix::fs::seek(&self.file, SeekFrom::Hole(position));
            let data_end = match hole {
                Err(Errno::NXIO) => end,
                outcome => outcome.map_err(refused)?.min(end),
            };
            while position < data_end {
                let count = length(data_end - position);
                let found = &mut self.found[..count];
                let outcome = self.file.read_exact_at(found, position);
                outcome.map_err(Deviation::Unreadable)?;
                if found.iter().any(|byte| *byte != 0) {
                    return Err(other(position, found, &self.expected[..count]));
                }
                position += count as u64;
            }
        }
        Ok(())
    }
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes)
        .unwrap_or(usize::MAX)
        .min(BUFFER_BYTES)
}

fn other(position: u64, found: &[u8], expected: &[u8]) -> Deviation {
    let mut pairs = found.iter().zip(expected);
    let same = pairs.position(|(found, expected)| found != expected);
    Deviation::Content {
        offset: position + same.unwrap_or_default() as u64,
    }
}
