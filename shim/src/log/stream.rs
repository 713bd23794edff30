//! One output of a container: a batch is read, split into log lines, and written. The buffers are shared by all streams.

use super::clients::Clients;
use super::file::LogFile;
use super::lines;
use super::lines::Header;
use super::lines::MAXIMUM_LINE;
use super::lines::MAXIMUM_PAYLOAD;
use super::lines::Output;
use super::timestamp::TimestampWriter;
use carpel_linux::memory::Pages;
use rustix::io::Errno;
use rustix::time::ClockId;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// The most that is read at a time.
const BATCH: usize = 128 * 1024;

/// Lines are collected up to this size before they are written.
const COLLECTED: usize = 256 * 1024;

/// The size of a pipe by default: a batch of that size says that the producer is faster than the pipe.
const DEFAULT_PIPE: usize = 64 * 1024;

/// The size to which the pipe of a busy stream is raised.
const BUSY_PIPE: usize = 1024 * 1024;

/// The memory in which batches are read and lines are collected: mapped when output comes, given back when none has come for a
/// while, so that the writer of a silent pod has none.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// Room for an unfinished line, then for a batch.
    input: Pages,
    output: Pages,
    collected: usize,
    time: TimestampWriter,
}

impl Buffers {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            input: Pages::new(MAXIMUM_PAYLOAD.saturating_add(BATCH))?,
            output: Pages::new(COLLECTED)?,
            collected: 0,
            time: TimestampWriter::new(),
        })
    }
}

/// Lines on their way into a file.
struct Collector<'a> {
    output: &'a mut [u8],
    collected: &'a mut usize,
    file: &'a mut LogFile,
}

impl Collector<'_> {
    fn line(&mut self, header: &[u8], payload: &[u8]) {
        const {
            assert!(
                COLLECTED >= MAXIMUM_LINE,
                "a line fits into an empty buffer"
            )
        }
        let length = header.len().saturating_add(payload.len()).saturating_add(1);
        if self.output.len().saturating_sub(*self.collected) < length {
            self.flush();
        }
        let end = self.collected.saturating_add(length);
        let Some(place) = self.output.get_mut(*self.collected..end) else {
            return;
        };
        if let Some((head, rest)) = place.split_at_mut_checked(header.len())
            && let Some((body, newline)) = rest.split_at_mut_checked(payload.len())
        {
            head.copy_from_slice(header);
            body.copy_from_slice(payload);
            newline.fill(b'\n');
            *self.collected = end;
        }
    }

    fn flush(&mut self) {
        let lines = self.output.get(..*self.collected).unwrap_or_default();
        self.file.write(lines);
        *self.collected = 0;
    }
}

/// What a batch was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// So many bytes have been read and written.
    Bytes(usize),
    /// Nothing is there now.
    Nothing,
    /// Nothing will come any more.
    End,
}

/// An output that is being read.
#[derive(Debug)]
pub(crate) struct Stream {
    descriptor: OwnedFd,
    output: Output,
    /// The beginning of a line whose end has not come.
    unfinished: Vec<u8>,
    is_busy: bool,
}

impl Stream {
    pub(crate) fn new(descriptor: OwnedFd, output: Output) -> Self {
        Self {
            descriptor,
            output,
            unfinished: Vec::new(),
            is_busy: false,
        }
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Bytes that are in the pipe at this moment.
    pub(crate) fn waiting(&self) -> usize {
        let waiting = rustix::io::ioctl_fionread(&self.descriptor).unwrap_or(0);
        usize::try_from(waiting).unwrap_or(usize::MAX)
    }

    /// Which output it is.
    pub(crate) fn output(&self) -> Output {
        self.output
    }

    /// Takes one batch from the pipe into the file, then to the clients.
    pub(crate) fn transfer(
        &mut self,
        buffers: &mut Buffers,
        file: &mut LogFile,
        clients: &mut Clients,
    ) -> Batch {
        let Some(room) = buffers.input.get_mut(MAXIMUM_PAYLOAD..) else {
            return Batch::Nothing;
        };
        let length = match rustix::io::read(&self.descriptor, room) {
            Ok(length) if length > 0 => length,
            Err(Errno::AGAIN | Errno::INTR) => return Batch::Nothing,
            // The end; a terminal says EIO when its last user has left.
            Ok(_) | Err(_) => {
                self.finish(buffers, file);
                return Batch::End;
            }
        };
        self.widen_pipe(length);
        if !file.is_discarded() {
            self.log(buffers, file, length);
        }
        let end = MAXIMUM_PAYLOAD.saturating_add(length);
        let bytes = buffers.input.get(MAXIMUM_PAYLOAD..end);
        clients.copy(self.output, bytes.unwrap_or_default());
        Batch::Bytes(length)
    }

    /// Writes the lines of a batch that has been read.
    fn log(&mut self, buffers: &mut Buffers, file: &mut LogFile, length: usize) {
        let start = MAXIMUM_PAYLOAD.saturating_sub(self.unfinished.len());
        if let Some(before) = buffers.input.get_mut(start..MAXIMUM_PAYLOAD) {
            before.copy_from_slice(&self.unfinished);
        }
        let header = self.header(&mut buffers.time);
        let mut collector = Collector {
            output: &mut buffers.output,
            collected: &mut buffers.collected,
            file,
        };
        let end = MAXIMUM_PAYLOAD.saturating_add(length);
        let bytes = buffers.input.get(start..end).unwrap_or_default();
        let left = lines::split(bytes, &header, |head, payload| {
            collector.line(head, payload)
        });
        self.unfinished.clear();
        self.unfinished.extend_from_slice(left);
        collector.flush();
    }

    /// Writes what is left of a line whose end will not come.
    pub(crate) fn finish(&mut self, buffers: &mut Buffers, file: &mut LogFile) {
        let header = self.header(&mut buffers.time);
        let mut collector = Collector {
            output: &mut buffers.output,
            collected: &mut buffers.collected,
            file,
        };
        lines::split_end(&self.unfinished, &header, |head, payload| {
            collector.line(head, payload);
        });
        collector.flush();
        self.unfinished = Vec::new();
    }

    /// Gives back the memory of an unfinished line that there is none of.
    pub(crate) fn shrink(&mut self) {
        self.unfinished.shrink_to_fit();
    }

    fn header(&self, time: &mut TimestampWriter) -> Header {
        let now = rustix::time::clock_gettime(ClockId::Realtime);
        Header::new(time.write(now.tv_sec, now.tv_nsec), self.output)
    }

    /// A larger pipe lets a fast producer write on while its lines are written. Refused for a terminal, and above
    /// pipe-max-size: then it stays as it is.
    fn widen_pipe(&mut self, batch: usize) {
        if batch >= DEFAULT_PIPE && !self.is_busy {
            self.is_busy = true;
            rustix::pipe::fcntl_setpipe_size(&self.descriptor, BUSY_PIPE).ok();
        }
    }
}
