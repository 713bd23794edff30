//! What files can be asked beyond what `rustix` offers.

#![allow(unsafe_code, reason = "sync_file_range has no safe wrapper")]

use std::os::fd::{AsFd, AsRawFd};

/// Lets the kernel begin to write a part of a file to its disk, without waiting until it has: whoever syncs the file
/// later has less to wait for. `sync_file_range(2)`, SYNC_FILE_RANGE_WRITE
///
/// Only a hint: it makes nothing durable, and what fails here fails again when the file is synced.
pub fn start_write_out(file: impl AsFd, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (
        libc::off64_t::try_from(offset),
        libc::off64_t::try_from(length),
    ) else {
        return;
    };
    // SAFETY: sync_file_range takes a descriptor, which `file` keeps open, and integers; it touches no memory of ours.
    let _hint = unsafe {
        libc::sync_file_range(
            file.as_fd().as_raw_fd(),
            offset,
            length,
            libc::SYNC_FILE_RANGE_WRITE,
        )
    };
}

/// Begins to write a file out in pieces, while it is being written from some place on.
#[derive(Debug)]
pub struct WriteOut {
    piece_bytes: u64,
    /// As far as was begun.
    begun: u64,
    has_begun: bool,
}

impl WriteOut {
    /// For bytes that are written from `offset` on; a piece has at least `piece_bytes`.
    #[must_use]
    pub const fn new(offset: u64, piece_bytes: u64) -> Self {
        Self {
            piece_bytes,
            begun: offset,
            has_begun: false,
        }
    }

    /// Tells that the bytes up to `end` are in `file`.
    pub fn advance(&mut self, file: impl AsFd, end: u64) {
        if end.saturating_sub(self.begun) >= self.piece_bytes {
            start_write_out(file, self.begun, end - self.begun);
            self.begun = end;
            self.has_begun = true;
        }
    }

    /// Tells that nothing more comes than the bytes up to `end`.
    pub fn finish(mut self, file: impl AsFd, end: u64) {
        if self.has_begun {
            self.piece_bytes = 1;
            self.advance(file, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn pieces_are_begun_once_and_nothing_is_changed() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut file = File::create(path.path()).unwrap();
        let mut pieces = WriteOut::new(400, 1000);
        for round in 1..=5 {
            file.write_all(&[7; 400]).unwrap();
            pieces.advance(&file, round * 400);
        }
        assert_eq!(pieces.begun, 1600);
        let mut read = Vec::new();
        File::open(path.path())
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        assert_eq!(read, [7; 2000]);
    }

    #[test]
    fn what_is_no_file_is_left_alone() {
        let (_reader, writer) = std::io::pipe().unwrap();
        start_write_out(&writer, 0, 1);
    }
}
