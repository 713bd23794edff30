//! bpf(2), as far as device rules of cgroup v2 need it: loading a program of type BPF_PROG_TYPE_CGROUP_DEVICE, and
//! attaching it to a cgroup. What the program decides is the caller's business.

#![allow(unsafe_code, reason = "neither rustix nor libc wraps bpf(2)")]

use crate::Error;
use crate::Result;
use crate::error::last_errno;
use rustix::io::Errno;
use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

// linux/bpf.h
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The kernel reads it to decide which helpers a program may call. Ours call none.
const LICENSE: &CStr = c"Apache-2.0";

/// Shown by `bpftool prog`.
const NAME: [u8; 16] = *b"carpel_devices\0\0";

/// The verifier tells of a refused program in a few lines.
const LOG_BYTES: usize = 16 << 10;

/// A load is broken off by signals with EAGAIN (kernel/bpf/verifier.c); as often as libbpf tries.
const TRIES: u32 = 5;

/// `union bpf_attr` for BPF_PROG_LOAD, up to `prog_name`. A kernel takes a shorter one than its own.
#[repr(C)]
#[derive(Debug, Default)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// `union bpf_attr` for BPF_PROG_ATTACH.
#[repr(C)]
#[derive(Debug, Default)]
struct AttachAttributes {
    target: i32,
    program: i32,
    attach_type: u32,
    flags: u32,
}

/// Loads a program that decides about devices. Each number is one struct bpf_insn in this machine's byte order.
///
/// # Errors
///
/// `EINVAL` without CONFIG_CGROUP_BPF, for no instructions, or for a program that the verifier refuses (what it says is
/// in the call's text); `EPERM` without CAP_BPF (or CAP_SYS_ADMIN) in the first user namespace; `ENOSYS` without bpf(2).
pub fn load_device_program(instructions: &[u64]) -> Result<OwnedFd> {
    match load(instructions, &mut []) {
        Err(error) if matches!(error.errno(), Errno::INVAL | Errno::ACCESS) => {
            let mut log = vec![0; LOG_BYTES];
            let again = load(instructions, &mut log);
            again.map_err(|error| told(&error, &log))
        }
        loaded => loaded,
    }
}

/// Adds a loaded program to a cgroup (its directory; O_PATH suffices). It holds for processes of the cgroup and below it, and
/// goes with the cgroup. Programs of ancestors still hold: a device must be allowed by all of them.
///
/// # Errors
///
/// `EINVAL` if the same program is attached already, `EPERM` if an ancestor's program does not allow others below it, `EBADF`
/// if `cgroup` is no cgroup v2 directory.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let attributes = AttachAttributes {
        target: cgroup.as_raw_fd(),
        program: program.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: bpf(2) reads as many bytes as it is told, which is the size of the structure that the pointer refers to
    // and that lives during the call; it has no pointers in it, and BPF_PROG_ATTACH writes nothing back. The two
    // descriptors are borrowed, so both are open during the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            std::ptr::from_ref(&attributes),
            size_of::<AttachAttributes>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    let call = format!(
        "bpf(BPF_PROG_ATTACH, BPF_CGROUP_DEVICE, cgroup {}, program {}, BPF_F_ALLOW_MULTI)",
        attributes.target, attributes.program
    );
    Err(Error::new(call, last_errno()))
}

fn load(instructions: &[u64], log: &mut [u8]) -> Result<OwnedFd> {
    let call = || {
        format!(
            "bpf(BPF_PROG_LOAD, BPF_PROG_TYPE_CGROUP_DEVICE, {} instructions)",
            instructions.len()
        )
    };
    let (Ok(instruction_count), Ok(log_size)) =
        (u32::try_from(instructions.len()), u32::try_from(log.len()))
    else {
        return Err(Error::new(call(), Errno::TOOBIG));
    };
    let mut attributes = LoadAttributes {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count,
        instructions: address(instructions.as_ptr()),
        license: address(LICENSE.as_ptr()),
        name: NAME,
        ..LoadAttributes::default()
    };
    if !log.is_empty() {
        attributes.log_level = 1;
        attributes.log_size = log_size;
        attributes.log_buffer = address(log.as_mut_ptr().cast_const());
    }
    let mut errno = Errno::AGAIN;
    for _ in 0..TRIES {
        // SAFETY: bpf(2) reads as many bytes as it is told, which is the size of the structure that the pointer refers
        // to. Of the pointers in it, `instructions` has `instruction_count` structures of 8 bytes, which the kernel
        // copies; `license` ends with a NUL byte; `log_buffer` is null with a size and level of 0, or has `log_size`
        // bytes that are borrowed mutably until this function returns, and only there does the kernel write.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_PROG_LOAD,
                std::ptr::from_ref(&attributes),
                size_of::<LoadAttributes>(),
            )
        };
        match i32::try_from(result) {
            Ok(descriptor) if descriptor >= 0 => {
                // SAFETY: a successful BPF_PROG_LOAD returns a new descriptor (close-on-exec, always) that nobody else
                // owns.
                return Ok(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
            _ => errno = last_errno(),
        }
        if !matches!(errno, Errno::AGAIN | Errno::INTR) {
            break;
        }
    }
    Err(Error::new(call(), errno))
}

/// An address as bpf(2) takes it: 64 bits everywhere.
fn address<T>(pointer: *const T) -> u64 {
    pointer.addr() as u64
}

/// The error with what the verifier said.
fn told(error: &Error, log: &[u8]) -> Error {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text
        .trim_end_matches('\0')
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() {
        return error.clone();
    }
    Error::new(
        format!("{}: verifier: {}", error.call(), lines.join("; ")),
        error.errno(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// `mov32 r0, 1` and `exit`: allow.
    const ALLOW: [u64; 2] = [instruction(0xb4, 0, 1), instruction(0x95, 0, 0)];

    const fn instruction(code: u8, registers: u8, immediate: i32) -> u64 {
        let [i0, i1, i2, i3] = immediate.to_ne_bytes();
        u64::from_ne_bytes([code, registers, 0, 0, i0, i1, i2, i3])
    }

    /// This kernel's answer to a correct program, or why it cannot be asked.
    fn loaded() -> Option<OwnedFd> {
        match load_device_program(&ALLOW) {
            Ok(program) => Some(program),
            Err(error) => {
                println!("SKIP {error}: {}", error.errno());
                None
            }
        }
    }

    #[test]
    fn root_a_refused_program_is_told_with_the_verifiers_words() {
        if loaded().is_none() {
            return;
        }
        // The exit without a value in r0.
        let error = load_device_program(&ALLOW[1..]).unwrap_err();
        assert!(
            error.call().contains("verifier: ") && error.call().contains("R0 !read_ok"),
            "{error}"
        );
    }

    #[test]
    fn root_what_is_no_cgroup_is_refused() {
        let Some(program) = loaded() else { return };
        let directory = tempfile::tempdir().unwrap();
        let directory = std::fs::File::open(directory.path()).unwrap();
        let error = attach_device_program(directory.as_fd(), program.as_fd()).unwrap_err();
        assert_eq!(error.errno(), Errno::BADF);
        assert!(
            error
                .to_string()
                .starts_with("bpf(BPF_PROG_ATTACH, BPF_CGROUP_DEVICE"),
            "{error}"
        );
    }

    #[test]
    fn no_instructions_are_refused_by_every_kernel() {
        let error = load_device_program(&[]).unwrap_err();
        assert!(
            matches!(
                error.errno(),
                Errno::INVAL | Errno::TOOBIG | Errno::PERM | Errno::NOSYS
            ),
            "{error}: {}",
            error.errno()
        );
    }
}
