//! The standard streams of a process, held by the daemon: ends of pipes, or the master side of a terminal.
//!
//! Nothing else is between the client and the process: what is read and written here does not go through the shim.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::termios::Winsize;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

/// What is written here, the process reads. Dropped: it reads the end, unless it has a terminal.
#[derive(Debug)]
pub struct ProcessInput {
    pipe: pipe::Sender,
}

impl ProcessInput {
    /// Takes the writing end of a pipe, or the master side of a terminal.
    ///
    /// # Errors
    /// If it cannot be polled.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        let pipe = pipe::Sender::from_file_unchecked(descriptor.into())?;
        Ok(Self { pipe })
    }

    /// Writes all of it; waits while the process does not read.
    ///
    /// # Errors
    /// If nobody can read it any more.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pipe.write_all(bytes).await
    }
}

/// What the process has written.
#[derive(Debug)]
pub struct ProcessOutput {
    pipe: pipe::Receiver,
}

impl ProcessOutput {
    /// Takes the reading end of a pipe, or the master side of a terminal.
    ///
    /// # Errors
    /// If it cannot be polled.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        let pipe = pipe::Receiver::from_file_unchecked(descriptor.into())?;
        Ok(Self { pipe })
    }

    /// Waits for output; 0 is its end. Giving up waiting loses nothing.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.pipe.readable().await?;
            match end_of_terminal(self.pipe.try_read(buffer)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// How many bytes are there now.
    ///
    /// # Errors
    /// If it cannot be told.
    pub fn waiting(&self) -> io::Result<usize> {
        let waiting = rustix::io::ioctl_fionread(&self.pipe)?;
        Ok(usize::try_from(waiting).unwrap_or(usize::MAX))
    }

    /// Takes what is there now: none if nothing is. The pipe itself is asked, as tokio knows of new output only after its
    /// next poll.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let result = rustix::io::read(&self.pipe, &mut *buffer);
            match end_of_terminal(result.map_err(io::Error::from)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                result => return result.map(Some),
            }
        }
    }
}

/// A terminal says EIO when its last user has left.
fn end_of_terminal(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => Ok(0),
        result => result,
    }
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// The terminal of a process.
#[derive(Debug)]
pub struct Terminal {
    master: OwnedFd,
}

impl Terminal {
    /// Takes the master side.
    pub fn new(master: OwnedFd) -> Self {
        Self { master }
    }

    /// Gives it another size; its foreground processes get SIGWINCH.
    ///
    /// # Errors
    /// If it is no terminal.
    pub fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let size = Winsize {
            ws_row: size.height,
            ws_col: size.width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.master, size).map_err(io::Error::from)
    }
}

/// The streams of a process; those that nobody asked for are not there.
#[derive(Debug, Default)]
pub struct ProcessStreams {
    /// Standard input.
    pub stdin: Option<ProcessInput>,
    /// Standard output; with a terminal, both outputs.
    pub stdout: Option<ProcessOutput>,
    /// Standard error.
    pub stderr: Option<ProcessOutput>,
    /// The terminal.
    pub terminal: Option<Terminal>,
}

impl ProcessStreams {
    /// Input and output of a terminal, by its master side.
    ///
    /// # Errors
    /// If it cannot be polled, or if there are too many descriptors.
    pub(super) fn of_terminal(master: OwnedFd, wanted: WantedStreams) -> io::Result<Self> {
        let copy = || rustix::io::fcntl_dupfd_cloexec(master.as_fd(), 3).map_err(io::Error::from);
        let stdin = match wanted.stdin {
            true => Some(ProcessInput::new(copy()?)?),
            false => None,
        };
        // A terminal whose output nobody reads would stop its processes: it is read and thrown away then.
        let stdout = Some(ProcessOutput::new(copy()?)?);
        Ok(Self {
            stdin,
            stdout,
            stderr: None,
            terminal: Some(Terminal::new(master)),
        })
    }
}

/// Which streams a client wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WantedStreams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error; never with a terminal.
    pub stderr: bool,
    /// A terminal.
    pub terminal: bool,
}
