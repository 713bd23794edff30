//! Pseudo-terminals of a given devpts instance.

use crate::Error;
use crate::Result;
use rustix::pty::OpenptFlags;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// Unlocks `master`, an open `ptmx`, and opens its other side by TIOCGPTPEER: no path is looked up.
///
/// # Errors
///
/// `ENOTTY` if it is not the master side of a pseudo-terminal.
pub fn open_peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    Error::of(rustix::pty::unlockpt(master), || {
        "ioctl(TIOCSPTLCK, 0)".into()
    })?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    Error::of(rustix::pty::ioctl_tiocgptpeer(master, flags), || {
        "ioctl(TIOCGPTPEER)".into()
    })
}
