//! Cloning a child into a container's cgroup and namespaces. Runs in the shim.

use crate::container::child;
use crate::container::child::Start;
use crate::failure::InStep;
use crate::failure::Outcome;
use carpel_linux::clone::CloneRequest;
use carpel_linux::clone::Cloned;
use carpel_linux::clone::clone_process;
use carpel_linux::namespace::Namespaces;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// Where the child is born.
#[derive(Debug)]
pub(crate) struct Birth<'a> {
    pub(crate) cgroup: BorrowedFd<'a>,
    /// New ones.
    pub(crate) namespaces: Namespaces,
}

/// Clones a child that runs `start`.
pub(crate) fn clone_child(
    birth: &Birth<'_>,
    start: &Start<'_>,
) -> carpel_linux::Result<(Pid, OwnedFd)> {
    let request = CloneRequest {
        namespaces: birth.namespaces,
        cgroup: Some(birth.cgroup),
        ..CloneRequest::default()
    };
    match clone_process(&request)? {
        Cloned::Parent { pid, pidfd } => Ok((pid, pidfd)),
        Cloned::Child(process) => child::run(&process, start),
    }
}

/// A cgroup directory as a place to clone into.
pub(crate) fn open_cgroup(path: &str) -> Outcome<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).step(|| format!("open cgroup {path:?}"))
}

/// /dev/null, for standard streams that lead nowhere.
pub(crate) fn open_null() -> Outcome<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open("/dev/null", flags, Mode::empty()).step(|| "open /dev/null".into())
}

/// A pipe: what is read from, what is written to.
pub(crate) fn pipe() -> Outcome<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step(|| "make a pipe".into())
}

/// The standard streams of a container: the child's ends, and the shim's.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) child: [OwnedFd; 3],
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) outputs: Option<(OwnedFd, OwnedFd)>,
}

/// Whether a container keeps the write end of its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stdin {
    Null,
    Pipe,
}

/// Pipes for a container without a terminal.
pub(crate) fn streams(stdin: Stdin) -> Outcome<Streams> {
    let (input, keep) = match stdin {
        Stdin::Null => (open_null()?, None),
        Stdin::Pipe => {
            let (read, write) = pipe()?;
            (read, Some(write))
        }
    };
    let (output, output_end) = pipe()?;
    let (error, error_end) = pipe()?;
    Ok(Streams {
        child: [input, output_end, error_end],
        stdin: keep,
        outputs: Some((output, error)),
    })
}

/// Streams of a container whose terminal will replace them.
pub(crate) fn null_streams() -> Outcome<Streams> {
    let null = open_null()?;
    let copy = |null: &OwnedFd| {
        rustix::io::fcntl_dupfd_cloexec(null.as_fd(), 3).step(|| "copy /dev/null".into())
    };
    Ok(Streams {
        child: [copy(&null)?, copy(&null)?, null],
        stdin: None,
        outputs: None,
    })
}
