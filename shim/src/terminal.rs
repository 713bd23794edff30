//! The pseudo-terminal of a process, in the devpts instance of its container.

use crate::failure::InStep;
use crate::failure::Outcome;
use carpel_linux::mount;
use carpel_linux::mount::Depth;
use carpel_linux::path;
use carpel_linux::path::Links;
use carpel_linux::process;
use rustix::fs::OFlags;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// Both sides of a pseudo-terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
}

/// Opens a new pseudo-terminal of the devpts that is mounted at /dev/pts below `root`. Runs in the child.
pub(crate) fn open(root: BorrowedFd<'_>) -> Outcome<Terminal> {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = path::open_in_root(root, "/dev/pts/ptmx", flags, Links::Follow)
        .step(|| "open /dev/pts/ptmx of the container".into())?;
    let slave = carpel_linux::terminal::open_peer(master.as_fd())
        .step(|| "open the other side of the terminal".into())?;
    Ok(Terminal { master, slave })
}

/// Shows the terminal as /dev/console of the container.
pub(crate) fn bind_console(root: BorrowedFd<'_>, terminal: &Terminal) -> Outcome<()> {
    let place = path::make_file(root, "/dev/console", 0o600).step(|| "make /dev/console".into())?;
    let tree = mount::copy_tree_of(terminal.slave.as_fd(), Depth::Single)
        .step(|| "take the terminal's mount".into())?;
    mount::place(tree.as_fd(), place.as_fd()).step(|| "bind the terminal at /dev/console".into())
}

/// The slave side belongs to `uid` from now on.
pub(crate) fn give(slave: &OwnedFd, uid: u32) -> Outcome<()> {
    let owner = Some(rustix::fs::Uid::from_raw(uid));
    rustix::fs::fchown(slave, owner, None).step(|| "give the terminal to the user".into())
}

/// Makes the slave side standard input, output, error and the controlling terminal of this session.
pub(crate) fn take(slave: &OwnedFd) -> Outcome<()> {
    rustix::stdio::dup2_stdin(slave).step(|| "make the terminal standard input".into())?;
    rustix::stdio::dup2_stdout(slave).step(|| "make the terminal standard output".into())?;
    rustix::stdio::dup2_stderr(slave).step(|| "make the terminal standard error".into())?;
    process::take_terminal(slave.as_fd()).step(|| "make the terminal the controlling one".into())
}
