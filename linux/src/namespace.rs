//! Namespaces: joining those of a process or a descriptor, leaving the own cgroup namespace.

#![allow(unsafe_code, reason = "rustix marks unshare unsafe as a whole")]

use crate::Error;
use crate::Result;
use rustix::fd::BorrowedFd;
use rustix::thread::ThreadNameSpaceType;
use std::ops::BitOr;

/// A set of namespaces, by their CLONE_NEW* bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Namespaces(u32);

impl Namespaces {
    /// No namespace.
    pub const NONE: Self = Self(0);
    /// CLONE_NEWNS
    pub const MOUNT: Self = Self(0x0002_0000);
    /// CLONE_NEWCGROUP
    pub const CGROUP: Self = Self(0x0200_0000);
    /// CLONE_NEWUTS
    pub const UTS: Self = Self(0x0400_0000);
    /// CLONE_NEWIPC
    pub const IPC: Self = Self(0x0800_0000);
    /// CLONE_NEWUSER
    pub const USER: Self = Self(0x1000_0000);
    /// CLONE_NEWPID
    pub const PID: Self = Self(0x2000_0000);
    /// CLONE_NEWNET
    pub const NETWORK: Self = Self(0x4000_0000);

    /// The bits as clone3, setns and unshare take them.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// No namespace is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Namespaces {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Joins the namespaces of the process behind `process`, a pidfd (setns(2), since Linux 5.8). PID is that of later
/// children only.
///
/// # Errors
///
/// `ESRCH` when the process has been reaped or is a zombie, `EPERM` without CAP_SYS_ADMIN and CAP_SYS_PTRACE.
pub fn join_process(process: BorrowedFd<'_>, namespaces: Namespaces) -> Result<()> {
    let types = ThreadNameSpaceType::from_bits_retain(namespaces.0);
    Error::of(
        rustix::thread::move_into_thread_name_spaces(process, types),
        || format!("setns(pidfd, {:#x})", namespaces.0),
    )
}

/// Joins the namespace that the descriptor of a nsfs file names.
///
/// # Errors
///
/// `EINVAL` when the descriptor is not of that type.
pub fn join(namespace: BorrowedFd<'_>, kind: Namespaces) -> Result<()> {
    // SAFETY: setns takes a descriptor, which `namespace` keeps open during the call, and a number; it touches no
    // memory of this process.
    let result = unsafe {
        libc::setns(
            std::os::fd::AsRawFd::as_raw_fd(&namespace),
            kind.0.cast_signed(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Error::new(
        format!("setns(descriptor, {:#x})", kind.0),
        crate::error::last_errno(),
    ))
}

/// Makes new namespaces for the calling process: unshare(2). Never NEWUSER with several threads.
///
/// # Errors
///
/// As unshare(2).
pub fn unshare(namespaces: Namespaces) -> Result<()> {
    let flags = rustix::thread::UnshareFlags::from_bits_retain(namespaces.0);
    // SAFETY: `Namespaces` has CLONE_NEW* bits only, never CLONE_FILES, which is what makes rustix's function unsafe
    // (a thread with its own descriptor table breaks the ownership of descriptors).
    Error::of(unsafe { rustix::thread::unshare_unsafe(flags) }, || {
        format!("unshare({:#x})", namespaces.0)
    })
}
