//! Signals: blocking, resetting, a descriptor that reads them, and waiting for one.

#![allow(unsafe_code, reason = "rustix has neither signalfd nor signal masks")]

use crate::Error;
use crate::Result;
use crate::error::last_errno;
use rustix::io::Errno;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

/// SIGCHLD by number.
pub const CHILD: i32 = libc::SIGCHLD;
/// SIGTERM by number.
pub const TERMINATE: i32 = libc::SIGTERM;
/// SIGKILL by number.
pub const KILL: i32 = libc::SIGKILL;
/// SIGPIPE by number.
pub const PIPE: i32 = libc::SIGPIPE;
/// The largest signal number, SIGRTMAX of the kernel.
pub const LARGEST: i32 = 64;

fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigset_t is an array of words, for which zero bytes are a valid value: the empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in signals {
        // SAFETY: `set` is a valid sigset_t; an invalid number makes sigaddset fail and change nothing.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set
}

/// Blocks exactly these signals in the calling thread; execve keeps that.
pub fn block_only(signals: &[i32]) {
    let set = set_of(signals);
    // SAFETY: `set` is a valid sigset_t and the old mask is not asked for. It fails only for an unknown first argument.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
}

/// The default action for a signal. That of SIGKILL and SIGSTOP cannot be changed, which is no error here.
pub fn reset_to_default(signal: i32) {
    // The kernel's struct sigaction: handler (0 is SIG_DFL), flags, restorer, mask. Not the C library's function, which
    // refuses 32 and 33, its own; they may be ignored by inheritance like any other.
    let action = [0_u64; 4];
    // SAFETY: rt_sigaction(signal, new, old, mask bytes): `action` is a struct sigaction of the kernel that lives during
    // the call and installs no code of ours; old may be null; an unknown signal makes it fail and change nothing.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            action.as_ptr(),
            std::ptr::null_mut::<u64>(),
            8,
        )
    };
}

/// A close-on-exec, non-blocking descriptor that is readable when one of the (blocked) signals is pending.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn descriptor(signals: &[i32]) -> Result<OwnedFd> {
    let set = set_of(signals);
    // SAFETY: -1 asks for a new descriptor; `set` is a valid sigset_t.
    let descriptor =
        unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if descriptor < 0 {
        return Err(Error::new(format!("signalfd({signals:?})"), last_errno()));
    }
    // SAFETY: the descriptor was just made and nobody owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Takes what is pending out of a signal descriptor.
pub fn drain(descriptor: BorrowedFd<'_>) {
    // sizeof(struct signalfd_siginfo) is 128.
    let mut buffer = [0_u8; 512];
    while matches!(rustix::io::read(descriptor, &mut buffer), Ok(read) if read > 0) {}
}

/// Waits until one of these blocked signals is pending, and returns its number.
#[must_use]
pub fn wait_for(signals: &[i32]) -> i32 {
    let set = set_of(signals);
    loop {
        // SAFETY: `set` is a valid sigset_t and the details are not asked for.
        let signal = unsafe { libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) };
        if signal > 0 {
            return signal;
        }
    }
}

/// Sends a signal to a process by its pidfd.
///
/// # Errors
///
/// `ESRCH` when it has been reaped, `EINVAL` for an unknown signal.
pub fn send(process: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: pidfd_send_signal(pidfd, signal, info = null, flags = 0) takes an open descriptor (borrowed) and numbers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Error::new(
        format!("pidfd_send_signal({signal})"),
        last_errno(),
    ))
}

/// Kills every process of the group that `leader` leads. None is left: no error.
///
/// # Errors
///
/// `EPERM`.
pub fn kill_group(leader: rustix::process::Pid) -> Result<()> {
    match rustix::process::kill_process_group(leader, rustix::process::Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(Error::new(
            format!("kill(-{}, SIGKILL)", leader.as_raw_nonzero()),
            errno,
        )),
    }
}
