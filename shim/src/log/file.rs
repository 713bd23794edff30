//! One log file: whole lines go in, whatever the disk does. What cannot be written is counted, never waited for.

use carpel_linux::memory::find_byte;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// As containerd makes them.
const MODE: u32 = 0o640;

/// Changes are reported no faster than this.
const REPORT_NANOSECONDS: u64 = 1_000_000_000;

/// The log of one container.
#[derive(Debug)]
pub(crate) struct LogFile {
    /// Empty: nothing is written.
    path: Vec<u8>,
    file: Option<OwnedFd>,
    /// What is missing of the line that the last write has cut: it comes before anything else.
    tail: Vec<u8>,
    /// Why lines are being lost; 0: they are not.
    errno: i32,
    lost_lines: u64,
    reported_errno: i32,
    reported_lost: u64,
    reported_at: u64,
}

impl LogFile {
    /// Opens the file, or makes it. That it cannot be opened is trouble like any other, tried again with each batch.
    pub(crate) fn open(path: Vec<u8>, lost_lines: u64) -> Self {
        let mut log = Self {
            path,
            file: None,
            tail: Vec::new(),
            errno: 0,
            lost_lines,
            reported_errno: 0,
            reported_lost: lost_lines,
            reported_at: 0,
        };
        if !log.is_discarded() {
            log.open_if_closed();
        }
        log
    }

    /// Whether the output is read and thrown away.
    pub(crate) fn is_discarded(&self) -> bool {
        self.path.is_empty()
    }

    /// Lines that could not be written so far.
    pub(crate) fn lost_lines(&self) -> u64 {
        self.lost_lines
    }

    /// Writes lines, each with its newline. A line is never cut: what a full disk leaves of one is completed later.
    pub(crate) fn write(&mut self, lines: &[u8]) {
        if self.is_discarded() {
            return;
        }
        self.open_if_closed();
        if !self.write_tail() {
            self.lose(lines);
            return;
        }
        let Some(file) = &self.file else {
            self.lose(lines);
            return;
        };
        let (rest, result) = write_all(file, lines);
        match result {
            Ok(()) => self.errno = 0,
            Err(errno) => {
                self.errno = errno.raw_os_error();
                let written = lines.len().saturating_sub(rest.len());
                let cut = lines.get(..written).and_then(<[u8]>::last);
                let inside = cut.is_some_and(|byte| *byte != b'\n');
                let missing = match find_byte(b'\n', rest) {
                    Some(end) if inside => end.saturating_add(1),
                    _ => 0,
                };
                let (tail, lost) = rest.split_at_checked(missing).unwrap_or((rest, &[]));
                self.tail = tail.to_vec();
                self.lose(lost);
            }
        }
    }

    /// Opens the path again. Afterwards nothing more goes to the old file; on an error the old one is kept.
    pub(crate) fn reopen(&mut self) -> Result<(), Errno> {
        if self.is_discarded() {
            return Ok(());
        }
        let (file, tail) = open(&self.path)?;
        // The end of a cut line belongs to the old file or nowhere.
        if !self.write_tail() {
            self.lost_lines = self.lost_lines.saturating_add(1);
        }
        self.file = Some(file);
        self.tail = tail;
        self.errno = 0;
        Ok(())
    }

    /// The state to be told, if it has changed since it was last told, and that was long enough ago.
    pub(crate) fn report(&mut self, now: u64) -> Option<(i32, u64)> {
        let due =
            self.reported_at == 0 || now.saturating_sub(self.reported_at) >= REPORT_NANOSECONDS;
        if !self.has_report() || !due {
            return None;
        }
        self.reported_at = now;
        self.reported_errno = self.errno;
        self.reported_lost = self.lost_lines;
        Some((self.errno, self.lost_lines))
    }

    /// Whether there is something to be told, now or later.
    pub(crate) fn has_report(&self) -> bool {
        self.errno != self.reported_errno || self.lost_lines != self.reported_lost
    }

    fn open_if_closed(&mut self) {
        if self.file.is_some() {
            return;
        }
        match open(&self.path) {
            Ok((file, tail)) => {
                self.file = Some(file);
                self.tail = tail;
                self.errno = 0;
            }
            Err(errno) => self.errno = errno.raw_os_error(),
        }
    }

    /// Whether nothing is missing any more.
    fn write_tail(&mut self) -> bool {
        let Some(file) = self.file.as_ref().filter(|_file| !self.tail.is_empty()) else {
            return self.tail.is_empty();
        };
        let (rest, result) = write_all(file, &self.tail);
        let rest = rest.to_vec();
        self.tail = rest;
        if let Err(errno) = result {
            self.errno = errno.raw_os_error();
        }
        self.tail.is_empty()
    }

    fn lose(&mut self, lines: &[u8]) {
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.lost_lines = self.lost_lines.saturating_add(count);
    }
}

/// The file, and what must be written to it first: a newline if its last line was cut by whoever wrote it before.
fn open(path: &[u8]) -> Result<(OwnedFd, Vec<u8>), Errno> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file =
        rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::from_raw_mode(MODE)))?;
    let size = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
    let mut last = [b'\n'];
    if let Some(offset) = size.checked_sub(1) {
        rustix::io::pread(&file, &mut last, offset)?;
    }
    let tail = if last == *b"\n" {
        Vec::new()
    } else {
        b"\n".to_vec()
    };
    Ok((file, tail))
}

/// What could not be written, and why.
fn write_all<'a>(file: &OwnedFd, bytes: &'a [u8]) -> (&'a [u8], Result<(), Errno>) {
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(file, rest) {
            Ok(0) => return (rest, Err(Errno::IO)),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return (rest, Err(errno)),
        }
    }
    (rest, Ok(()))
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test says what went wrong by panicking"
)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn log_at(path: &Path) -> LogFile {
        LogFile::open(path.as_os_str().as_bytes().to_vec(), 0)
    }

    #[test]
    fn the_file_is_made_at_once_appended_to_and_not_for_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let mut log = log_at(&path);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777 & !0o640, 0);
        log.write(b"one\n");
        log_at(&path).write(b"two\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        assert!(!log.has_report());
    }

    #[test]
    fn a_line_that_a_dead_writer_has_cut_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        let mut log = log_at(&path);
        log.write(b"cu");
        let mut next = log_at(&path);
        next.write(b"two\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"cu\ntwo\n");
    }

    #[test]
    fn a_missing_directory_loses_lines_and_is_told_once_each_way() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("pod");
        let path = directory.join("0.log");
        let mut log = log_at(&path);
        let missing = Errno::NOENT.raw_os_error();
        assert_eq!(log.report(10), Some((missing, 0)));
        log.write(b"one\ntwo\n");
        assert_eq!(log.report(20), None);
        assert_eq!(log.lost_lines(), 2);
        std::fs::create_dir(&directory).unwrap();
        log.write(b"three\n");
        assert_eq!(log.report(20), None);
        assert!(log.has_report());
        assert_eq!(log.report(10 + REPORT_NANOSECONDS), Some((0, 2)));
        assert!(!log.has_report());
        assert_eq!(std::fs::read(&path).unwrap(), b"three\n");
        // As long as lines are lost, their number is told from time to time.
        let missing_again = log_at(&folder.path().join("none/0.log"));
        let mut log = LogFile {
            reported_errno: missing,
            reported_at: 1,
            ..missing_again
        };
        log.write(b"one\n");
        assert_eq!(log.report(2 + REPORT_NANOSECONDS), Some((missing, 1)));
        assert!(!log.has_report());
    }

    #[test]
    fn reopening_leaves_the_old_file_alone_and_keeps_it_if_it_cannot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pod/0.log");
        let rotated = folder.path().join("rotated");
        std::fs::create_dir(folder.path().join("pod")).unwrap();
        let mut log = log_at(&path);
        log.write(b"one\n");
        std::fs::rename(&path, &rotated).unwrap();
        log.write(b"two\n");
        log.reopen().unwrap();
        log.write(b"three\n");
        assert_eq!(std::fs::read(&rotated).unwrap(), b"one\ntwo\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"three\n");

        std::fs::rename(&path, &rotated).unwrap();
        std::fs::remove_dir(folder.path().join("pod")).unwrap();
        assert_eq!(log.reopen(), Err(Errno::NOENT));
        log.write(b"four\n");
        assert_eq!(std::fs::read(&rotated).unwrap(), b"three\nfour\n");
        assert_eq!(log.lost_lines(), 0);
    }

    #[test]
    fn nothing_is_written_without_a_path() {
        let mut log = LogFile::open(Vec::new(), 3);
        log.write(b"one\n");
        log.reopen().unwrap();
        assert!(log.is_discarded());
        assert!(!log.has_report());
        assert_eq!(log.lost_lines(), 3);
    }
}
