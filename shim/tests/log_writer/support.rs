//! A pod's log writer with its files, producers as processes of their own, and the log read back.

use super::log::LogEvent;
use super::log::LogWriter;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::pipe::PipeFlags;
use rustix::process::WaitOptions;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;
use tempfile::TempDir;

/// Bytes of a log line's time and the space behind it.
pub(crate) const TIME: usize = 31;

/// Long enough for a loaded machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A log writer and the folder of its logs.
pub(crate) struct Pod {
    pub(crate) writer: LogWriter,
    pub(crate) folder: TempDir,
    events: Vec<LogEvent>,
}

impl Pod {
    pub(crate) fn new() -> Self {
        Self {
            writer: LogWriter::new(),
            folder: tempfile::tempdir().unwrap(),
            events: Vec::new(),
        }
    }

    pub(crate) fn path(&self, id: &str) -> PathBuf {
        self.folder.path().join(format!("{id}.log"))
    }

    pub(crate) fn add(&mut self, id: &str, stdout: OwnedFd, stderr: Option<OwnedFd>) {
        let path = self.path(id);
        let path = path.as_os_str().as_bytes();
        self.writer.add(id, path, stdout, stderr).unwrap();
    }

    pub(crate) fn add_at(&mut self, id: &str, path: &Path, stdout: OwnedFd) {
        let path = path.as_os_str().as_bytes();
        self.writer.add(id, path, stdout, None).unwrap();
    }

    /// Finishes a container and returns its lost lines.
    pub(crate) fn finish(&mut self, id: &str) -> u64 {
        self.writer.finish(id);
        let event = self.wait_for(
            |event| matches!(event, LogEvent::Finished { container_id, .. } if container_id == id),
        );
        match event {
            LogEvent::Finished { lost_lines, .. } => lost_lines,
            _ => unreachable!(),
        }
    }

    /// Waits for an event and takes it; earlier ones stay.
    pub(crate) fn wait_for(&mut self, wanted: impl Fn(&LogEvent) -> bool) -> LogEvent {
        let events = self.wait_until(|events| events.iter().any(&wanted));
        let position = events.iter().position(&wanted).unwrap();
        self.events.remove(position)
    }

    /// Waits for a condition, and returns all events that nobody has taken.
    pub(crate) fn wait_until(
        &mut self,
        mut condition: impl FnMut(&[LogEvent]) -> bool,
    ) -> Vec<LogEvent> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.events.extend(self.writer.events());
            if condition(&self.events) {
                return self.events.clone();
            }
            assert!(Instant::now() < deadline, "no more than {:?}", self.events);
            let descriptor = self.writer.descriptor().unwrap();
            let mut ready = [PollFd::new(&descriptor, PollFlags::IN)];
            let pause = Timespec {
                tv_sec: 0,
                tv_nsec: 10_000_000,
            };
            rustix::event::poll(&mut ready, Some(&pause)).unwrap();
        }
    }

    /// What the shim's reaper does.
    pub(crate) fn reap(&mut self) {
        let process = self.writer.writer_pid();
        let reaped = rustix::process::waitpid(process, WaitOptions::empty()).unwrap();
        assert_eq!(reaped.unwrap().0, process.unwrap());
        self.writer.writer_exited();
    }
}

impl Drop for Pod {
    /// The writer leaves when its shim has gone and no output is left.
    fn drop(&mut self) {
        if let Some(process) = self.writer.writer_pid() {
            rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
            rustix::process::waitpid(Some(process), WaitOptions::empty()).unwrap();
        }
    }
}

/// What a producer writes: as many bytes, the same for the same seed.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) seed: u64,
    pub(crate) bytes: usize,
}

/// Lines of all lengths and all bytes; some are longer than a log line may be.
pub(crate) fn bytes_of(source: Source) -> Vec<u8> {
    let mut state = source.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(source.bytes + 40_000);
    while bytes.len() < source.bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let length = if state.is_multiple_of(500) {
            state >> 8 & 0x7fff
        } else {
            state >> 8 & 0xff
        };
        let first = state.to_be_bytes()[2];
        bytes.extend(
            (0..length).map(|n| match first.wrapping_add(n.to_le_bytes()[0]) {
                b'\n' => b' ',
                byte => byte,
            }),
        );
        bytes.push(b'\n');
    }
    bytes.truncate(source.bytes - 1);
    bytes.push(b'\n');
    bytes
}

/// The lines of a log without their times: those of these bytes on stdout, then so many that say there is room again.
pub(crate) fn log_lines(bytes: &[u8], more: usize) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut rest = line;
        while rest.len() > 16 * 1024 {
            lines.push([b"stdout P ", &rest[..16 * 1024], b"\n"].concat());
            rest = &rest[16 * 1024..];
        }
        lines.push([b"stdout F ", rest, b"\n"].concat());
    }
    lines.extend(std::iter::repeat_n(b"stdout F room again\n".to_vec(), more));
    lines
}

/// What a container has written to one of its outputs, read back from its log.
pub(crate) fn payload(log: &[u8], output: &str) -> Vec<u8> {
    let mut payload = Vec::with_capacity(log.len());
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        let (head, body) = line.split_at(TIME + 9);
        assert!(head[..TIME].ends_with(b"Z "), "no time: {head:?}");
        let tag = std::str::from_utf8(&head[TIME..]).unwrap();
        if let Some(tag) = tag.strip_prefix(output) {
            let body = body.strip_suffix(b"\n").unwrap();
            assert!(body.len() <= 16 * 1024);
            payload.extend_from_slice(body);
            match tag {
                " F " => payload.push(b'\n'),
                " P " => {}
                _ => panic!("no tag: {tag:?}"),
            }
        }
    }
    payload
}

/// Read end and write end.
pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap()
}

/// Starts this program again as a producer whose stdout is `end`.
pub(crate) fn produce(source: Source, end: OwnedFd) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "produce",
            &source.seed.to_string(),
            &source.bytes.to_string(),
        ])
        .stdout(Stdio::from(end))
        .spawn()
        .unwrap()
}

/// The producer.
pub(crate) fn produce_here(arguments: &[String]) {
    let source = Source {
        seed: arguments[1].parse().unwrap(),
        bytes: arguments[2].parse().unwrap(),
    };
    let mut output = std::fs::File::from(rustix::io::dup(rustix::stdio::stdout()).unwrap());
    output.write_all(&bytes_of(source)).unwrap();
}
