//! clone3(2) as a safe function, and what only a fresh child may do: throw away the descriptors that it inherited.
//!
//! The child is a copy of its parent's memory (no CLONE_VM). That is sound only if the parent has a single thread: then
//! no lock of the allocator or of the C library can be held by a thread that the child does not have.

#![allow(unsafe_code, reason = "neither rustix nor libc wraps these calls")]

use crate::Error;
use crate::Result;
use crate::error::last_errno;
use crate::namespace::Namespaces;
use rustix::io::Errno;
use rustix::process::Pid;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;

/// `libc::CLONE_INTO_CGROUP` is 0 on glibc targets (an overflowing literal), so the number of linux/sched.h is here.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// linux/sched.h
const CLONE_PIDFD: u64 = 0x1000;
/// linux/sched.h
const CLONE_PARENT: u64 = 0x8000;

/// What [`ChildProcess::clone_sibling`] gives to clone(2): its first argument. The kernel takes the caller's own signal.
pub const SIBLING_FLAGS: u64 = CLONE_PARENT | CLONE_PIDFD;

/// What a child is born into.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloneRequest<'a> {
    /// New namespaces. Do not ask for CGROUP together with `cgroup`: the namespace would be rooted at the *parent's*
    /// cgroup; the child calls [`crate::namespace::unshare`] instead.
    pub namespaces: Namespaces,
    /// A cgroup v2 directory (`O_PATH` suffices); none: the parent's.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whose child it is.
    pub parent: Parent,
}

/// Whose child a clone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parent {
    /// The caller's.
    #[default]
    Caller,
    /// That of the caller's own parent, who gets the signal of its end as it gets the caller's: CLONE_PARENT.
    ParentOfCaller,
}

/// Which side of the clone this is.
#[derive(Debug)]
pub enum Cloned {
    /// The new process. It must end in [`crate::process::exit_now`] or an execve and never return to its caller's
    /// caller, whose destructors are the parent's.
    Child(ChildProcess),
    /// The old process.
    Parent {
        /// The child's number in the parent's pid namespace.
        pid: Pid,
        /// The child's pidfd, close-on-exec.
        pidfd: OwnedFd,
    },
}

/// The right of a fresh child to dispose of all descriptors.
#[derive(Debug)]
pub struct ChildProcess(());

/// Clones the calling process. SIGCHLD tells the parent of its end.
///
/// # Errors
///
/// `EAGAIN` ("clone3 with several threads") if the caller has more than one thread; `EBUSY` when the cgroup has domain
/// controllers enabled for its children, `EOPNOTSUPP` when it is in no valid state, else as clone3(2).
pub fn clone_process(request: &CloneRequest<'_>) -> Result<Cloned> {
    if thread_count()? != 1 {
        return Err(Error::new("clone3 with several threads", Errno::AGAIN));
    }
    clone_now(request)
}

/// The caller has one thread.
fn clone_now(request: &CloneRequest<'_>) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    // SAFETY: every field of clone_args is a number, for which zero bytes are a valid value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(request.namespaces.bits()) | CLONE_PIDFD;
    arguments.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    match request.parent {
        Parent::Caller => arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned()),
        // The kernel takes the caller's own signal then, and refuses to be given one.
        Parent::ParentOfCaller => arguments.flags |= CLONE_PARENT,
    }
    if let Some(cgroup) = request.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: `arguments` is a clone_args of the given size; `pidfd` in it points to a live i32 that the kernel writes
    // (CLONE_PIDFD). Without CLONE_VM the child runs on a copy of this stack, and with one thread in the parent
    // (of which both callers make sure) the copy holds no lock of another thread.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            std::ptr::from_mut(&mut arguments),
            size_of::<libc::clone_args>(),
        )
    };
    if result < 0 {
        let call = format!(
            "clone3({:#x}{})",
            arguments.flags,
            if request.cgroup.is_some() {
                ", cgroup"
            } else {
                ""
            }
        );
        return Err(Error::new(call, last_errno()));
    }
    let Some(pid) = i32::try_from(result).ok().and_then(Pid::from_raw) else {
        return Ok(Cloned::Child(ChildProcess(())));
    };
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so the kernel wrote a new close-on-exec descriptor that nobody owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned::Parent { pid, pidfd })
}

/// Threads of the calling process: the links of /proc/self/task are its threads and two more.
fn thread_count() -> Result<u64> {
    let status = Error::of(rustix::fs::stat("/proc/self/task"), || {
        "stat(\"/proc/self/task\")".into()
    })?;
    #[allow(
        clippy::useless_conversion,
        reason = "st_nlink is narrower on other machines"
    )]
    Ok(u64::from(status.st_nlink).saturating_sub(2))
}

impl ChildProcess {
    /// Makes `kept[i]` descriptor i and closes every other one. 0, 1 and 2 survive an execve, the rest do not.
    ///
    /// Returned are the descriptors from 3 on, in order. Whatever else this process thinks it owns is closed: the values
    /// inherited from the parent must be neither used nor dropped (the child never returns).
    ///
    /// # Errors
    ///
    /// `EMFILE` and the like.
    pub fn keep_only(&self, kept: &[BorrowedFd<'_>]) -> Result<Vec<OwnedFd>> {
        // First above the numbers that are wanted, so that none is overwritten before it is copied.
        let mut copies = Vec::with_capacity(kept.len());
        for descriptor in kept {
            copies.push(duplicate_above(*descriptor, 16.max(kept.len()))?);
        }
        for (number, copy) in copies.iter().enumerate() {
            place(*copy, number)?;
        }
        close_from(kept.len())?;
        let owned = (3..kept.len()).filter_map(|number| RawFd::try_from(number).ok());
        Ok(owned
            .map(|number| {
                // SAFETY: `place` has just made this descriptor, and by the contract of this type (a child that uses
                // nothing inherited) no other value of this process owns the number.
                unsafe { OwnedFd::from_raw_fd(number) }
            })
            .collect())
    }

    /// Clones a child of this process's own parent, also where no /proc tells the number of threads: a fresh child has the
    /// one that called clone, and must make no other. By clone(2), which more system call filters let pass than clone3(2).
    ///
    /// # Errors
    ///
    /// As clone(2).
    pub fn clone_sibling(&self) -> Result<Cloned> {
        let mut pidfd: RawFd = -1;
        // SAFETY: clone(flags, stack, parent_tid, …) with CLONE_PIDFD writes a descriptor to the third argument, which
        // points to a live i32. Without CLONE_VM, and with a null stack, the child goes on with a copy of this one, and
        // with one thread (the contract of this type) the copy holds no lock of another.
        let result = unsafe {
            libc::syscall(
                libc::SYS_clone,
                SIBLING_FLAGS,
                0,
                std::ptr::from_mut(&mut pidfd),
                0,
                0,
            )
        };
        if result < 0 {
            return Err(Error::new(
                format!("clone({SIBLING_FLAGS:#x})"),
                last_errno(),
            ));
        }
        let Some(pid) = i32::try_from(result).ok().and_then(Pid::from_raw) else {
            return Ok(Cloned::Child(Self(())));
        };
        // SAFETY: clone succeeded with CLONE_PIDFD, so the kernel wrote a new close-on-exec descriptor that nobody owns.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        Ok(Cloned::Parent { pid, pidfd })
    }

    /// Closes every descriptor.
    ///
    /// # Errors
    ///
    /// `ENOSYS` before Linux 5.9.
    pub fn close_all(&self) -> Result<()> {
        close_from(0)
    }
}

fn duplicate_above(descriptor: BorrowedFd<'_>, minimum: usize) -> Result<RawFd> {
    let minimum = RawFd::try_from(minimum).unwrap_or(16);
    // SAFETY: fcntl(F_DUPFD_CLOEXEC) takes a descriptor, which is borrowed and so open, and a number.
    let copy = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_DUPFD_CLOEXEC, minimum) };
    if copy < 0 {
        return Err(Error::new("fcntl(F_DUPFD_CLOEXEC)", last_errno()));
    }
    Ok(copy)
}

fn place(copy: RawFd, number: usize) -> Result<()> {
    let flags = if number < 3 { 0 } else { libc::O_CLOEXEC };
    let target = RawFd::try_from(number).unwrap_or(RawFd::MAX);
    // SAFETY: dup3 takes numbers only. Overwriting `target` is what keep_only's contract allows.
    let result = unsafe { libc::dup3(copy, target, flags) };
    if result < 0 {
        return Err(Error::new(format!("dup3({copy}, {target})"), last_errno()));
    }
    Ok(())
}

fn close_from(first: usize) -> Result<()> {
    let first = libc::c_long::try_from(first).unwrap_or(0);
    // SAFETY: close_range(first, last, flags) takes numbers only. Closing all is what keep_only's contract allows.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result < 0 {
        return Err(Error::new(
            format!("close_range({first}, ~0U, 0)"),
            last_errno(),
        ));
    }
    Ok(())
}
