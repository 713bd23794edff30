//! Loading a seccomp filter. Compiling one is the daemon's part.

#![allow(unsafe_code, reason = "rustix has no seccomp(2)")]

use crate::Error;
use crate::Result;
use crate::error::last_errno;
use rustix::io::Errno;

/// sizeof(struct sock_filter), linux/filter.h
const INSTRUCTION_BYTES: usize = 8;

/// Loads `program`, an array of struct sock_filter as bytes of this machine's order, for this thread and its children.
///
/// # Errors
///
/// `EINVAL` for bytes that are not a filter or for unknown flags, `EACCES` without both no_new_privs and CAP_SYS_ADMIN.
pub fn load_filter(program: &[u8], flags: u32) -> Result<()> {
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
    if result == 0 {
        Ok(())
    } else {
        Err(Error::new(call(), last_errno()))
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
    use rustix::io::Errno;

    #[test]
    fn bytes_that_are_no_filter_are_refused() {
        for bytes in [&b""[..], b"1234567", &[0; 12]] {
            let error = super::load_filter(bytes, 0).unwrap_err();
            assert_eq!(error.errno(), Errno::INVAL, "{bytes:?}");
        }
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
            let bytes: Vec<u8> = program
                .iter()
                .flat_map(|(code, jt, jf, k)| {
                    let [a, b] = code.to_ne_bytes();
                    let [c, d, e, f] = k.to_ne_bytes();
                    [a, b, *jt, *jf, c, d, e, f]
                })
                .collect();
            super::load_filter(&bytes, 0).unwrap();
            rustix::process::getpriority_process(None)
        })
        .join()
        .unwrap();
        assert_eq!(denied, Err(Errno::PERM));
    }
}
