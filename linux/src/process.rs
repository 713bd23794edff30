//! The calling process: attributes, limits, execve, and leaving without running anybody's handlers.

#![allow(unsafe_code, reason = "execve and _exit have no safe wrapper")]

use crate::Error;
use crate::Result;
use crate::error::last_errno;
use rustix::io::Errno;
use rustix::process::Pid;
use std::ffi::CStr;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

/// Ends the process at once: no handlers, no destructors, no buffers of the parent are flushed.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes a number and never returns; it runs nothing of this process.
    unsafe { libc::_exit(code) }
}

/// Takes a descriptor that this process was started with (0, 1, 2, …).
///
/// Call it once for each number, at the start of `main`, before anything else could own it.
///
/// # Errors
///
/// `EBADF` if it is not open.
pub fn take_inherited(number: i32) -> Result<OwnedFd> {
    // SAFETY: fcntl(F_GETFD) takes a number and fails for one that is not open.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(Error::new(
            format!("fcntl({number}, F_GETFD)"),
            last_errno(),
        ));
    }
    // A copy is owned, and the number itself is left alone: 0 stays taken for those who read "standard input".
    // SAFETY: F_DUPFD_CLOEXEC of an open descriptor (checked above) makes a new one that nobody owns, or fails.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(Error::new(
            format!("fcntl({number}, F_DUPFD_CLOEXEC)"),
            last_errno(),
        ));
    }
    // SAFETY: `copy` was just made and is owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Replaces the program of this process; returns only if that fails.
pub fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> Error {
    let pointers = |strings: &[CString]| {
        strings
            .iter()
            .map(|string| string.as_ptr())
            .chain([std::ptr::null()])
            .collect::<Vec<_>>()
    };
    let arguments = pointers(arguments);
    let environment = pointers(environment);
    // SAFETY: `program` is NUL-terminated; both vectors are arrays of pointers to NUL-terminated strings that live to the
    // end of this function, each closed by a null pointer.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    Error::new(format!("execve({program:?})"), last_errno())
}

/// Whether other processes of the same user may look into this one: PR_SET_DUMPABLE 0.
///
/// # Errors
///
/// None that is known.
pub fn set_not_dumpable() -> Result<()> {
    Error::of(
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable),
        || "prctl(PR_SET_DUMPABLE, 0)".into(),
    )
}

/// Orphans below this process become its children: PR_SET_CHILD_SUBREAPER.
///
/// # Errors
///
/// None that is known.
pub fn become_subreaper() -> Result<()> {
    // Any pid stands for "on".
    let on = Some(rustix::process::getpid());
    Error::of(rustix::process::set_child_subreaper(on), || {
        "prctl(PR_SET_CHILD_SUBREAPER, 1)".into()
    })
}

/// execve grants no privilege from now on: PR_SET_NO_NEW_PRIVS.
///
/// # Errors
///
/// None that is known.
pub fn set_no_new_privileges() -> Result<()> {
    Error::of(rustix::thread::set_no_new_privs(true), || {
        "prctl(PR_SET_NO_NEW_PRIVS, 1)".into()
    })
}

/// The name that `ps` shows: PR_SET_NAME, cut to 15 bytes by the kernel.
///
/// # Errors
///
/// None that is known.
pub fn set_name(name: &CStr) -> Result<()> {
    Error::of(rustix::thread::set_name(name), || {
        format!("prctl(PR_SET_NAME, {name:?})")
    })
}

/// A limit of this process, `resource` by its RLIMIT_* number. [`u64::MAX`] is no limit.
///
/// # Errors
///
/// `EINVAL` for an unknown resource or soft above hard, `EPERM` when hard is raised without CAP_SYS_RESOURCE.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: prlimit64(0 = self, resource, new, old): `limit` is a struct rlimit64 that lives during the call, and old
    // may be null.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            std::ptr::from_ref(&limit),
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Error::new(
        format!("prlimit64(0, {resource}, {{{soft}, {hard}}})"),
        last_errno(),
    ))
}

/// A new session without a controlling terminal; the process leads it and its process group.
///
/// # Errors
///
/// `EPERM` for the leader of a process group.
pub fn new_session() -> Result<()> {
    Error::of(rustix::process::setsid().map(drop), || "setsid()".into())
}

/// The mask of permission bits that new files do not get.
pub fn set_umask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
}

/// Writes all of `value` in one write(2), as files of /proc and of cgroups want it.
///
/// # Errors
///
/// As open(2) and write(2).
pub fn write_file(path: &str, value: &[u8]) -> Result<()> {
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
    let file = Error::of(
        rustix::fs::open(path, flags, rustix::fs::Mode::empty()),
        || format!("open({path:?}, O_WRONLY)"),
    )?;
    write_once(file.as_fd(), value).map_err(|errno| {
        Error::new(
            format!("write({path:?}, {:?})", String::from_utf8_lossy(value)),
            errno,
        )
    })
}

/// The number of the process behind a pidfd, in this process's pid namespace; needs /proc. None: it has been reaped, or is
/// in no namespace that is seen from here.
#[must_use]
pub fn number_of(pidfd: BorrowedFd<'_>) -> Option<Pid> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    Pid::from_raw(number.trim().parse().ok()?)
}

/// One write(2) of all of `value`.
///
/// # Errors
///
/// As write(2); `EIO` for a short write.
pub fn write_once(file: BorrowedFd<'_>, value: &[u8]) -> std::result::Result<(), Errno> {
    let written = rustix::io::retry_on_intr(|| rustix::io::write(file, value))?;
    if written == value.len() {
        Ok(())
    } else {
        Err(Errno::IO)
    }
}

/// The memory that the allocator keeps for later goes back to the kernel, and the stack that deeper calls had used.
pub fn trim_memory() {
    // SAFETY: malloc_trim takes a number of bytes to keep and has no other requirement.
    unsafe { libc::malloc_trim(0) };
    crate::memory::release_stack();
}

/// The terminal becomes the controlling one of this session: TIOCSCTTY.
///
/// # Errors
///
/// `EPERM` if the process does not lead a session or has a terminal already.
pub fn take_terminal(terminal: BorrowedFd<'_>) -> Result<()> {
    Error::of(rustix::process::ioctl_tiocsctty(terminal), || {
        format!("ioctl({}, TIOCSCTTY)", terminal.as_raw_fd())
    })
}

/// The hard limit of this process, `resource` by its RLIMIT_* number.
///
/// # Errors
///
/// `EINVAL` for an unknown resource.
pub fn hard_limit(resource: u32) -> Result<u64> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: prlimit64(0 = self, resource, new, old): new may be null, and `limit` is a struct rlimit64 that the kernel
    // may write.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            std::ptr::null::<libc::rlimit64>(),
            std::ptr::from_mut(&mut limit),
        )
    };
    if result == 0 {
        return Ok(limit.rlim_max);
    }
    Err(Error::new(
        format!("prlimit64(0, {resource})"),
        last_errno(),
    ))
}

/// A child that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedChild {
    /// Its number; its own until it is reaped.
    pub pid: rustix::process::Pid,
    /// Its exit code, or 128 and the number of the signal that killed it.
    pub exit_code: i32,
    /// The signal that killed it; 0: none.
    pub signal: i32,
}

/// A child that has ended and waits to be reaped, without reaping it: waitid(P_ALL, WEXITED | WNOHANG | WNOWAIT).
#[must_use]
pub fn next_ended_child() -> Option<EndedChild> {
    // SAFETY: siginfo_t is a union of numbers and pointers that are not followed, for which zero bytes are valid.
    let mut details: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `details` is a siginfo_t that waitid may write; P_ALL ignores the id.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut details, options) };
    if result != 0 {
        return None;
    }
    // SAFETY: waitid succeeded: it has filled in the fields of a SIGCHLD, or left the zeroes when none has ended.
    let pid = unsafe { details.si_pid() };
    // SAFETY: as for the pid: the fields of a SIGCHLD were filled in, or are zeroes, which are numbers too.
    let status = unsafe { details.si_status() };
    let pid = rustix::process::Pid::from_raw(pid)?;
    let killed = details.si_code != libc::CLD_EXITED;
    Some(EndedChild {
        pid,
        exit_code: if killed { 128 + status } else { status },
        signal: if killed { status } else { 0 },
    })
}
