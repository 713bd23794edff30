//! A shim as a process: known by pidfd, so that neither a signal nor a wait can meet another process of the same number.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::Signal;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::poll;

/// A shim that runs, or has run.
#[derive(Debug)]
pub struct ShimProcess {
    pid: i32,
    descriptor: AsyncFd<OwnedFd>,
}

/// How a shim has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShimExit {
    /// It left by itself, with this exit code.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
    /// It was not this daemon's child: found again after a restart, reaped by another.
    Unknown,
}

impl ShimProcess {
    /// Opens a pidfd for a process that is known to be there (an unreaped child, or a peer that still answers afterwards).
    pub(super) fn open(pid: Pid) -> Result<Self, Errno> {
        let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        Self::watch(pid, descriptor)
    }

    /// Takes over the pidfd of a process.
    pub(super) fn watch(pid: Pid, pidfd: OwnedFd) -> Result<Self, Errno> {
        Ok(Self {
            pid: pid.as_raw_nonzero().get(),
            descriptor: poll::register(pidfd, Interest::READABLE)?,
        })
    }

    /// Its number in the daemon's pid namespace: for people and for cgroups, not for signals.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Kills it. To have gone before is fine.
    ///
    /// # Errors
    ///
    /// EPERM.
    pub fn kill(&self) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(self.descriptor.get_ref(), Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until it has ended, and reaps it if it is a child. To be asked by one task only: the next one is told `Unknown`.
    ///
    /// # Errors
    ///
    /// If the pidfd cannot be waited for.
    pub async fn exited(&self) -> io::Result<ShimExit> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let process = WaitId::PidFd(std::os::fd::AsFd::as_fd(self.descriptor.get_ref()));
            match rustix::process::waitid(process, options) {
                Ok(Some(status)) => {
                    return Ok(match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => ShimExit::Exited(code),
                        (_, Some(signal)) => ShimExit::Killed(signal),
                        _ => ShimExit::Unknown,
                    });
                }
                Ok(None) | Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(Errno::CHILD) => return Ok(ShimExit::Unknown),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
