//! The files of a log: the one that is written, and those that the kubelet has put aside, `0.log.20260102-150405` and, when
//! they have lain for a while, `….gz`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

/// Read at a time when a file is read backwards.
const BLOCK: u64 = 64 << 10;

/// Which file it is, whatever its name.
pub(super) type FileId = (u64, u64);

/// One file, open.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) file: File,
    pub(super) is_compressed: bool,
    pub(super) id: FileId,
    /// A compressed file that has been read: nothing comes to it any more.
    pub(super) is_read: bool,
}

impl LogFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok(Self {
            file,
            is_compressed: path.extension().is_some_and(|extension| extension == "gz"),
            id: (metadata.dev(), metadata.ino()),
            is_read: false,
        })
    }

    /// Its lines, decompressed.
    pub(super) fn reader(&self) -> io::Result<Box<dyn BufRead>> {
        let file = self.file.try_clone()?;
        Ok(match self.is_compressed {
            true => Box::new(BufReader::new(MultiGzDecoder::new(file))),
            false => Box::new(BufReader::with_capacity(256 << 10, file)),
        })
    }

    /// Goes to where the last `wanted` lines begin; how many there are, if they are fewer. Lines of a compressed file that are
    /// to be left out are counted instead.
    pub(super) fn seek_to_last(&mut self, wanted: usize) -> io::Result<Tail> {
        if !self.is_compressed {
            let lines = seek_back(&mut self.file, wanted)?;
            return Ok(Tail { lines, skipped: 0 });
        }
        let mut reader = self.reader()?;
        let (mut buffer, mut all) = (vec![0; 64 << 10], 0);
        loop {
            let length = reader.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            all += buffer[..length]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
        }
        self.file.seek(SeekFrom::Start(0))?;
        let lines = all.min(wanted);
        Ok(Tail {
            lines,
            skipped: all - lines,
        })
    }
}

/// The end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// Lines of it, at most as many as were wanted.
    pub(super) lines: usize,
    /// Lines that come before, and are still to be read over.
    pub(super) skipped: usize,
}

/// Goes to the beginning of the last lines, and says how many there are. What follows the last newline is no line yet, and
/// comes with them.
fn seek_back(file: &mut File, wanted: usize) -> io::Result<usize> {
    let mut position = file.metadata()?.len();
    let mut lines = 0;
    let mut buffer = Vec::new();
    while position > 0 {
        let begin = position.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(begin))?;
        buffer.resize(usize::try_from(position - begin).unwrap_or(0), 0);
        file.read_exact(&mut buffer)?;
        for (index, byte) in buffer.iter().enumerate().rev() {
            if *byte != b'\n' {
                continue;
            }
            if lines == wanted {
                let after = begin + u64::try_from(index).unwrap_or(0) + 1;
                file.seek(SeekFrom::Start(after))?;
                return Ok(lines);
            }
            lines += 1;
        }
        position = begin;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(lines)
}

/// The files that have been put aside, oldest first. One that is being compressed just now counts once.
pub(super) fn put_aside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|it| it.to_str()))
    else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let other = entry.file_name();
        let suffix = other
            .to_str()
            .and_then(|other| other.strip_prefix(name)?.strip_prefix('.'));
        if suffix.is_some_and(is_time) {
            found.push(entry.path());
        }
    }
    found.sort();
    let plain: Vec<PathBuf> = found.clone();
    found.retain(|path| {
        let is_compressed = path.extension().is_some_and(|extension| extension == "gz");
        !is_compressed || !plain.contains(&path.with_extension(""))
    });
    Ok(found)
}

/// `20260102-150405`, with `.gz` behind it or not; not the `.tmp` of a compression that goes on.
fn is_time(suffix: &str) -> bool {
    let suffix = suffix.strip_suffix(".gz").unwrap_or(suffix);
    let is_digit = |byte: u8| byte.is_ascii_digit() || byte == b'-';
    !suffix.is_empty() && suffix.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn write(path: &Path, bytes: &[u8]) {
        File::create(path).unwrap().write_all(bytes).unwrap();
    }

    #[test]
    fn files_put_aside_are_found_oldest_first_and_once() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "0.log",
            "0.log.20260102-150406",
            "0.log.20260102-150405.gz",
            "0.log.20260102-150406.gz",
            "0.log.20260102-150407.tmp",
            "1.log.20260102-150405",
            "0.log.old",
        ] {
            write(&folder.path().join(name), b"");
        }
        let found = put_aside(&folder.path().join("0.log")).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["0.log.20260102-150405.gz", "0.log.20260102-150406"]);
    }

    #[test]
    fn the_last_lines_are_found_in_plain_and_compressed_files() {
        let folder = tempfile::tempdir().unwrap();
        let lines: Vec<String> = (0..20_000)
            .map(|number| format!("line {number}\n"))
            .collect();
        let text = lines.concat();
        let plain = folder.path().join("0.log");
        write(&plain, text.as_bytes());
        let compressed = folder.path().join("0.log.1.gz");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        write(&compressed, &encoder.finish().unwrap());
        for path in [&plain, &compressed] {
            for (wanted, first) in [(0, 20_000), (1, 19_999), (15_000, 5000), (30_000, 0)] {
                let mut file = LogFile::open(path).unwrap();
                let tail = file.seek_to_last(wanted).unwrap();
                assert_eq!(tail.lines, wanted.min(20_000));
                let rest: Vec<String> = file
                    .reader()
                    .unwrap()
                    .lines()
                    .skip(tail.skipped)
                    .map(|line| line.unwrap() + "\n")
                    .collect();
                assert_eq!(rest.concat(), lines[first..].concat());
            }
        }
    }
}
