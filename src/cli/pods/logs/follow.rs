//! Reading a log from its first file on, through rotations, for as long as there is more to come.

use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify;

use super::files::{self, LogFile};

/// A look at the file, and at the container, at the latest after so long: not all file systems tell of changes.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 250_000_000,
};

/// The lines of a log, as they are or come to be.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    /// Files to be read, the oldest first; the last one is, or was, the one that is written.
    files: VecDeque<LogFile>,
    /// Lines to be read over in the first of them.
    skipped: usize,
    /// A line whose end has not come.
    unfinished: Vec<u8>,
}

impl Lines {
    /// All files there are, from the last `tail` lines on.
    ///
    /// # Errors
    /// When the file or its directory cannot be read; a log without its newest file has not begun.
    pub(super) fn open(path: &Path, tail: Option<usize>) -> io::Result<Self> {
        // The newest first: if it is put aside meanwhile, it is found again under its new name, and known.
        let newest = match LogFile::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut files = VecDeque::new();
        for older in files::put_aside(path)? {
            // It may just have been compressed or removed.
            if let Ok(file) = LogFile::open(&older) {
                files.push_back(file);
            }
        }
        if let Some(newest) = newest {
            match files.iter().position(|file| file.id == newest.id) {
                // Put aside meanwhile: what came after it is found when it has been read.
                Some(position) => files.truncate(position + 1),
                None => files.push_back(newest),
            }
        }
        let mut lines = Self {
            path: path.to_owned(),
            files,
            skipped: 0,
            unfinished: Vec::new(),
        };
        if let Some(tail) = tail {
            lines.keep_last(tail)?;
        }
        Ok(lines)
    }

    /// Whether there is any file.
    pub(super) fn has_begun(&self) -> bool {
        !self.files.is_empty()
    }

    /// Leaves out all but the last lines.
    fn keep_last(&mut self, wanted: usize) -> io::Result<()> {
        let mut missing = wanted;
        let mut first = self.files.len();
        for (index, file) in self.files.iter_mut().enumerate().rev() {
            let found = file.seek_to_last(missing)?;
            (first, self.skipped) = (index, found.skipped);
            missing -= found.lines;
            if missing == 0 {
                break;
            }
        }
        self.files.drain(..first);
        Ok(())
    }

    /// Gives every whole line that is there now to `take`, until it fails.
    ///
    /// # Errors
    /// When a file cannot be read, and what `take` says.
    pub(super) fn read<E: From<io::Error>>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            self.read_first(&mut take)?;
            if self.files.len() < 2 && !self.look_for_newer()? {
                return Ok(());
            }
            if self.files.len() > 1 {
                // Once more: it may have been written until it was put aside.
                self.read_first(&mut take)?;
                self.files.pop_front();
                self.skipped = 0;
                self.give_unfinished(&mut take)?;
            }
        }
    }

    /// What is left when nothing more will come.
    ///
    /// # Errors
    /// What `take` says.
    pub(super) fn give_unfinished<E>(
        &mut self,
        take: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.unfinished.is_empty() {
            true => Ok(()),
            false => take(&std::mem::take(&mut self.unfinished)),
        }
    }

    /// Reads the first file from where it is, to its present end.
    fn read_first<E: From<io::Error>>(
        &mut self,
        take: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(file) = self.files.front_mut() else {
            return Ok(());
        };
        if file.is_read {
            return Ok(());
        }
        // A compressed file is read in one go: there is no going on in it.
        file.is_read = file.is_compressed;
        let mut reader = file.reader()?;
        loop {
            let length = reader.read_until(b'\n', &mut self.unfinished)?;
            if length == 0 {
                break;
            }
            let Some((b'\n', line)) = self.unfinished.split_last() else {
                break;
            };
            if self.skipped > 0 {
                self.skipped -= 1;
            } else {
                take(line)?;
            }
            self.unfinished.clear();
        }
        Ok(())
    }

    /// Finds what has been begun after the last file that is known. False if there is nothing.
    fn look_for_newer(&mut self) -> io::Result<bool> {
        let newest = match LogFile::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let Some(known) = self.files.back().map(|file| file.id) else {
            self.files.push_back(newest);
            return Ok(true);
        };
        if newest.id == known {
            return Ok(false);
        }
        // Between the one that is known and the newest one there may be more, if they were put aside quickly.
        let mut between = VecDeque::new();
        let mut is_found = false;
        for path in files::put_aside(&self.path)? {
            let Ok(file) = LogFile::open(&path) else {
                continue;
            };
            if file.id == known {
                is_found = true;
            } else if is_found && file.id != newest.id {
                between.push_back(file);
            }
        }
        self.files.append(&mut between);
        self.files.push_back(newest);
        Ok(true)
    }
}

/// Waits for changes in the directories of logs.
#[derive(Debug)]
pub(super) struct Watch {
    /// None where the host has no more watches to give: then it is only looked at from time to time.
    inotify: Option<rustix::fd::OwnedFd>,
}

impl Watch {
    /// Of the directories of these logs.
    pub(super) fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK);
        let flags = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        let inotify = inotify.and_then(|inotify| {
            for path in paths {
                inotify::add_watch(&inotify, path.parent().unwrap_or(path), flags)?;
            }
            Ok(inotify)
        });
        Self {
            inotify: inotify.ok(),
        }
    }

    /// Waits for a change, not for long. True if there was one.
    pub(super) fn wait(&self) -> bool {
        let mut descriptors: Vec<PollFd<'_>> = self
            .inotify
            .iter()
            .map(|inotify| PollFd::new(inotify, PollFlags::IN))
            .collect();
        let changed = rustix::event::poll(&mut descriptors, Some(&LOOK));
        if let Some(inotify) = &self.inotify {
            // What it was is of no concern.
            let mut events = [0; 4096];
            while rustix::io::read(inotify, &mut events).is_ok_and(|length| length > 0) {}
        }
        changed.is_ok_and(|count| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, OpenOptions};
    use std::io::Write;

    fn append(path: &Path, text: &str) {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn read(lines: &mut Lines) -> Vec<String> {
        let mut read = Vec::new();
        let taken: io::Result<()> = lines.read(|line| {
            read.push(String::from_utf8(line.to_vec()).unwrap());
            Ok(())
        });
        taken.unwrap();
        read
    }

    #[test]
    fn a_log_is_read_through_rotations_without_a_gap_or_a_double() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        append(&folder.path().join("0.log.20260102-000001"), "one\n");
        append(&path, "two\nthr");
        let mut lines = Lines::open(&path, None).unwrap();
        assert_eq!(read(&mut lines), ["one", "two"]);
        append(&path, "ee\n");
        assert_eq!(read(&mut lines), ["three"]);
        // Two rotations at once; the old file had more to come.
        std::fs::rename(&path, folder.path().join("0.log.20260102-000002")).unwrap();
        append(&folder.path().join("0.log.20260102-000002"), "four\n");
        assert_eq!(read(&mut lines), ["four"]);
        append(&folder.path().join("0.log.20260102-000003"), "five\n");
        append(&path, "six\n");
        assert_eq!(read(&mut lines), ["five", "six"]);
        assert!(read(&mut lines).is_empty());
    }

    #[test]
    fn the_last_lines_may_be_in_several_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        append(&folder.path().join("0.log.20260102-000001"), "one\ntwo\n");
        append(&folder.path().join("0.log.20260102-000002"), "three\n");
        append(&path, "four\n");
        for (tail, expected) in [
            (0, &[][..]),
            (1, &["four"][..]),
            (3, &["two", "three", "four"][..]),
            (9, &["one", "two", "three", "four"][..]),
        ] {
            let mut lines = Lines::open(&path, Some(tail)).unwrap();
            assert_eq!(read(&mut lines), expected);
        }
        // From its end on, new lines come.
        let mut lines = Lines::open(&path, Some(0)).unwrap();
        append(&path, "five\n");
        assert_eq!(read(&mut lines), ["five"]);
    }

    #[test]
    fn a_log_that_has_not_begun_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let mut lines = Lines::open(&path, None).unwrap();
        assert!(!lines.has_begun());
        assert!(read(&mut lines).is_empty());
        let watch = Watch::of([path.as_path()]);
        append(&path, "one\n");
        assert!(watch.wait());
        assert_eq!(read(&mut lines), ["one"]);
        drop(File::open(&path).unwrap());
    }
}
