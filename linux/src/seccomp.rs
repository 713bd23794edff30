//! Loading a seccomp filter. Compiling one is the daemon's part.

#![allow(unsafe_code, reason = "rustix has no seccomp(2)")]

use crate::Error;
use crate::Result;
use crate::error::last_errno;
use rustix::io::Errno;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;

/// sizeof(struct sock_filter), linux/filter.h
const INSTRUCTION_BYTES: usize = 8;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER, linux/seccomp.h
const NEW_LISTENER: u32 = 1 << 3;
/// `SECCOMP_IOWR(0, struct seccomp_notif)` of 80 bytes, and `SECCOMP_IOWR(1, struct seccomp_notif_resp)` of 24
const NOTIFY_RECEIVE: libc::c_ulong = 0xc050_2100;
const NOTIFY_SEND: libc::c_ulong = 0xc018_2101;
/// SECCOMP_RET_ACTION_FULL and actions, linux/seccomp.h
const ACTION: u32 = 0xffff_0000;
const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL: u32 = 0x8000_0000;
/// AUDIT_ARCH_X86_64, linux/audit.h
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
/// AUDIT_ARCH_AARCH64, linux/audit.h
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
/// No architecture: whatever filter compares it lets nothing pass.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURE: u32 = 0;

/// Loads `program`, an array of struct sock_filter as bytes of this machine's order, for this thread and its children.
///
/// # Errors
///
/// `EINVAL` for bytes that are not a filter or for unknown flags, `EACCES` without both no_new_privs and CAP_SYS_ADMIN.
pub fn load_filter(program: &[u8], flags: u32) -> Result<()> {
    load(program, flags).map(drop)
}

/// As [`load_filter`], and returns the listener, which is told of calls whose action is SECCOMP_RET_USER_NOTIF: Linux 5.0.
///
/// # Errors
///
/// As [`load_filter`]; `EBUSY` when a filter that this thread has already has one, `EINVAL` together with
/// SECCOMP_FILTER_FLAG_TSYNC.
pub fn load_filter_with_listener(program: &[u8], flags: u32) -> Result<OwnedFd> {
    let listener = load(program, flags | NEW_LISTENER)?;
    let listener = RawFd::try_from(listener).unwrap_or(-1);
    // SAFETY: seccomp(2) has succeeded with SECCOMP_FILTER_FLAG_NEW_LISTENER, so it has returned a new close-on-exec
    // descriptor that nobody owns.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}

fn load(program: &[u8], flags: u32) -> Result<libc::c_long> {
    let filters: Vec<libc::sock_filter> = program
        .chunks_exact(INSTRUCTION_BYTES)
        .filter_map(instruction)
        .collect();
    let call = || {
        format!(
            "seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {} instructions)",
            filters.len()
        )
    };
    let length = match u16::try_from(filters.len()) {
        Ok(length) if length > 0 && program.len().is_multiple_of(INSTRUCTION_BYTES) => length,
        _ => return Err(Error::new(call(), Errno::INVAL)),
    };
    let program = libc::sock_fprog {
        len: length,
        filter: filters.as_ptr().cast_mut(),
    };
    // SAFETY: `program` points to `length` sock_filter structures that live during the call; the kernel copies them and
    // does not write to them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            std::ptr::from_ref(&program),
        )
    };
    if result >= 0 {
        Ok(result)
    } else {
        Err(Error::new(call(), last_errno()))
    }
}

/// A call that waits for a listener's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    /// By which it is answered.
    pub id: u64,
    /// The calling thread, in the pid namespace of whoever has received this.
    pub pid: u32,
    /// The number of the call.
    pub call: i32,
}

/// Waits for a call: SECCOMP_IOCTL_NOTIF_RECV.
///
/// # Errors
///
/// `ENOENT` when the caller died meanwhile.
pub fn receive_notification(listener: BorrowedFd<'_>) -> Result<Notification> {
    // SAFETY: struct seccomp_notif is made of numbers, for which zero bytes, which the kernel wants, are valid.
    let mut received: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is borrowed and so open; the ioctl writes a struct seccomp_notif, which lives during the call.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            NOTIFY_RECEIVE,
            std::ptr::from_mut(&mut received),
        )
    };
    if result < 0 {
        return Err(Error::new("ioctl(SECCOMP_IOCTL_NOTIF_RECV)", last_errno()));
    }
    Ok(Notification {
        id: received.id,
        pid: received.pid,
        call: received.data.nr,
    })
}

/// Answers a call with an error: SECCOMP_IOCTL_NOTIF_SEND.
///
/// # Errors
///
/// `ENOENT` when the caller died meanwhile.
pub fn answer_notification(
    listener: BorrowedFd<'_>,
    notification: Notification,
    error: Errno,
) -> Result<()> {
    let mut answer = libc::seccomp_notif_resp {
        id: notification.id,
        val: 0,
        error: error.raw_os_error().wrapping_neg(),
        flags: 0,
    };
    // SAFETY: the descriptor is borrowed and so open; the ioctl reads a struct seccomp_notif_resp, which lives during the call.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            NOTIFY_SEND,
            std::ptr::from_mut(&mut answer),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(Error::new("ioctl(SECCOMP_IOCTL_NOTIF_SEND)", last_errno())),
    }
}

/// Whether a filter lets a system call of this process pass, asked without loading it: SECCOMP_RET_ALLOW or _LOG. A filter of
/// instructions that are not known here lets nothing pass.
#[must_use]
pub fn allows(program: &[u8], call: libc::c_long, arguments: &[u64]) -> bool {
    let filters: Vec<libc::sock_filter> = program
        .chunks_exact(INSTRUCTION_BYTES)
        .filter_map(instruction)
        .collect();
    let action = answer(&filters, &data(call, arguments)).map(|value| value & ACTION);
    matches!(action, Some(ALLOW | LOG))
}

/// A filter for this machine's own calls: those that are named pass, all others fail with `EPERM`.
#[must_use]
pub fn allow_only(calls: &[libc::c_long]) -> Vec<u8> {
    // Load the architecture; another one: kill. Load the number; a pair for each call; else EPERM.
    let mut filter = vec![
        (0x20, 0, 0, 4),
        (0x15, 1, 0, ARCHITECTURE),
        (0x06, 0, 0, KILL),
        (0x20, 0, 0, 0),
    ];
    for call in calls {
        filter.push((0x15, 0, 1, u32::try_from(*call).unwrap_or(u32::MAX)));
        filter.push((0x06, 0, 0, ALLOW));
    }
    filter.push((0x06, 0, 0, ERRNO | 1));
    bytes(&filter)
}

/// Instructions (code, jt, jf, k) as bytes of struct sock_filter.
fn bytes(instructions: &[(u16, u8, u8, u32)]) -> Vec<u8> {
    let bytes = instructions.iter().flat_map(|(code, jt, jf, k)| {
        let [a, b] = code.to_ne_bytes();
        let [c, d, e, f] = k.to_ne_bytes();
        [a, b, *jt, *jf, c, d, e, f]
    });
    bytes.collect()
}

/// struct seccomp_data as the filter sees it: number, architecture, instruction pointer, six arguments.
fn data(call: libc::c_long, arguments: &[u64]) -> Vec<u8> {
    let number = u32::try_from(call).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(64);
    bytes.extend(number.to_ne_bytes());
    bytes.extend(ARCHITECTURE.to_ne_bytes());
    bytes.extend([0; 8]);
    for index in 0..6 {
        bytes.extend(arguments.get(index).unwrap_or(&0).to_ne_bytes());
    }
    bytes
}

/// What the filter returns; none: it has an instruction that is not known here.
fn answer(filters: &[libc::sock_filter], data: &[u8]) -> Option<u32> {
    let (mut next, mut value) = (0_usize, 0_u32);
    loop {
        let filter = filters.get(next)?;
        next = next.checked_add(1)?;
        let k = filter.k;
        let holds = match filter.code {
            // BPF_RET | BPF_K
            0x06 => return Some(k),
            // BPF_LD | BPF_W | BPF_ABS
            0x20 => {
                let start = usize::try_from(k).ok()?;
                let word = data.get(start..)?.first_chunk::<4>()?;
                value = u32::from_ne_bytes(*word);
                continue;
            }
            // BPF_ALU | BPF_AND | BPF_K
            0x54 => {
                value &= k;
                continue;
            }
            // BPF_JMP | BPF_JA
            0x05 => {
                next = next.checked_add(usize::try_from(k).ok()?)?;
                continue;
            }
            // BPF_JMP | BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET | BPF_K
            0x15 => value == k,
            0x25 => value > k,
            0x35 => value >= k,
            0x45 => value & k != 0,
            _ => return None,
        };
        let distance = if holds { filter.jt } else { filter.jf };
        next = next.checked_add(usize::from(distance))?;
    }
}

fn instruction(bytes: &[u8]) -> Option<libc::sock_filter> {
    let [c0, c1, jt, jf, k0, k1, k2, k3] = *<&[u8; INSTRUCTION_BYTES]>::try_from(bytes).ok()?;
    Some(libc::sock_filter {
        code: u16::from_ne_bytes([c0, c1]),
        jt,
        jf,
        k: u32::from_ne_bytes([k0, k1, k2, k3]),
    })
}

#[cfg(test)]
mod tests {
    use super::bytes;
    use rustix::io::Errno;

    #[test]
    fn bytes_that_are_no_filter_are_refused() {
        for bytes in [&b""[..], b"1234567", &[0; 12]] {
            let error = super::load_filter(bytes, 0).unwrap_err();
            assert_eq!(error.errno(), Errno::INVAL, "{bytes:?}");
        }
    }

    #[test]
    fn what_a_filter_would_say_is_known_without_loading_it() {
        // Another architecture: kill. clone without new namespaces: allow. getpriority: errno. close: log. Else notify.
        let number = |call: libc::c_long| u32::try_from(call).unwrap();
        let filter = bytes(&[
            (0x20, 0, 0, 4),
            (0x15, 1, 0, super::ARCHITECTURE),
            (0x06, 0, 0, 0),
            (0x20, 0, 0, 0),
            (0x15, 0, 4, number(libc::SYS_clone)),
            (0x20, 0, 0, 16),
            (0x54, 0, 0, 0x7e02_0000),
            (0x15, 0, 3, 0),
            (0x06, 0, 0, 0x7fff_0000),
            (0x15, 0, 1, number(libc::SYS_getpriority)),
            (0x06, 0, 0, 0x0005_0001),
            (0x15, 0, 1, number(libc::SYS_close)),
            (0x06, 0, 0, 0x7ffc_0000),
            (0x06, 0, 0, 0x7fc0_0000),
        ]);
        assert!(super::allows(
            &filter,
            libc::SYS_clone,
            &[crate::clone::SIBLING_FLAGS]
        ));
        assert!(!super::allows(&filter, libc::SYS_clone, &[0x1000_0000]));
        assert!(!super::allows(&filter, libc::SYS_getpriority, &[]));
        assert!(super::allows(&filter, libc::SYS_close, &[3]));
        assert!(!super::allows(&filter, libc::SYS_read, &[]));
        // An instruction that is not known, a jump to nowhere, nothing at all.
        for filter in [
            bytes(&[(0x07, 0, 0, 0)]),
            bytes(&[(0x05, 0, 0, 9)]),
            Vec::new(),
        ] {
            assert!(!super::allows(&filter, libc::SYS_close, &[]));
        }
    }

    #[test]
    fn only_the_named_calls_pass() {
        let filter = super::allow_only(&[libc::SYS_close, libc::SYS_sendmsg]);
        let passes = |call| super::allows(&filter, call, &[]);
        assert!(passes(libc::SYS_close) && passes(libc::SYS_sendmsg));
        assert!(!passes(libc::SYS_read) && !passes(libc::SYS_execve));
    }

    #[test]
    fn a_filter_that_denies_a_call_denies_it() {
        // In a thread of its own: the filter stays until the thread ends. BPF: load nr; sched_yield → EPERM; allow.
        let denied = std::thread::spawn(|| {
            crate::process::set_no_new_privileges().unwrap();
            let number = u32::try_from(libc::SYS_getpriority).unwrap();
            let program = [
                (0x20_u16, 0_u8, 0_u8, 0_u32),
                (0x15, 0, 1, number),
                (0x06, 0, 0, 0x0005_0000 | 1),
                (0x06, 0, 0, 0x7fff_0000),
            ];
            super::load_filter(&bytes(&program), 0).unwrap();
            rustix::process::getpriority_process(None)
        })
        .join()
        .unwrap();
        assert_eq!(denied, Err(Errno::PERM));
    }
}
