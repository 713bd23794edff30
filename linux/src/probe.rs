//! Does this kernel have a system call? Asked with arguments that the kernel refuses before it does anything.
//!
//! For `carpel doctor` only: the code that uses a call handles ENOSYS by itself.

#![allow(
    unsafe_code,
    reason = "system calls with impossible arguments have no safe wrapper"
)]

use std::io;

/// Is there clone3(2)? A seccomp filter around this process may answer ENOSYS in the kernel's place.
pub fn has_clone3() -> bool {
    // SAFETY: with a size of 0, below CLONE_ARGS_SIZE_VER0, clone3 answers EINVAL before it reads the null pointer and
    // before any process is made (kernel/fork.c, copy_clone_args_from_user).
    let result = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::null::<u8>(), 0_usize) };
    exists(result)
}

/// Is there mount_setattr(2), which makes idmapped and recursively read-only mounts?
pub fn has_mount_setattr() -> bool {
    // SAFETY: with a size of 0, below MOUNT_ATTR_SIZE_VER0, mount_setattr answers EINVAL before it reads either pointer
    // and before any mount is looked up (fs/namespace.c).
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            -1,
            std::ptr::null::<u8>(),
            0,
            std::ptr::null::<u8>(),
            0_usize,
        )
    };
    exists(result)
}

/// Is there openat2(2), with which paths are resolved inside a container's root?
pub fn has_openat2() -> bool {
    // SAFETY: with a size of 0, below OPEN_HOW_SIZE_VER0, openat2 answers EINVAL before it reads either pointer (fs/open.c).
    let result = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            -1,
            std::ptr::null::<u8>(),
            std::ptr::null::<u8>(),
            0_usize,
        )
    };
    exists(result)
}

/// Can this process load programs that decide about devices (BPF_PROG_TYPE_CGROUP_DEVICE)?
///
/// # Errors
///
/// As [`crate::bpf::load_device_program`].
pub fn load_device_program() -> crate::Result<()> {
    // `mov32 r0, 0` and `exit`: refuse.
    let refuse_all = [0xb4, 0x95].map(|code| u64::from_ne_bytes([code, 0, 0, 0, 0, 0, 0, 0]));
    crate::bpf::load_device_program(&refuse_all).map(drop)
}

fn exists(result: libc::c_long) -> bool {
    result >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_what_carpel_needs() {
        assert!(has_clone3());
        assert!(has_mount_setattr());
        assert!(has_openat2());
    }

    #[test]
    fn a_number_that_is_no_system_call_does_not_exist() {
        // SAFETY: the number is beyond the table, so the kernel answers ENOSYS whatever the arguments.
        let result = unsafe { libc::syscall(100_000) };
        assert!(!exists(result));
    }
}
