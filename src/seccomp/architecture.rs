//! Architectures: how the kernel tells them apart, and which number a system call has on each.

use std::collections::HashMap;
use std::sync::OnceLock;

use oci_spec::runtime::Arch;

/// An architecture whose programs an x86-64 or an arm64 kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Architecture {
    X86_64,
    /// 32-bit programs, `int 0x80`.
    X86,
    /// 32-bit pointers, 64-bit registers: x86-64 to the kernel, but for a bit of the number.
    X32,
    Aarch64,
    Arm,
}

/// Set in every number of the x32 ABI (`__X32_SYSCALL_BIT`, asm/unistd.h).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// Calls that the x32 ABI has a number of its own for, in their order from 512 on (arch/x86/entry/syscalls/syscall_64.tbl).
const X32_OWN: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];
const X32_OWN_FIRST: u32 = 512;

/// Calls of arm alone, above all others (arch/arm/include/uapi/asm/unistd.h).
const ARM_OWN: [(&str, u32); 5] = [
    ("breakpoint", 0x000f_0001),
    ("cacheflush", 0x000f_0002),
    ("usr26", 0x000f_0003),
    ("usr32", 0x000f_0004),
    ("set_tls", 0x000f_0005),
];

/// Other names of a call: what profiles say, what the crate's tables say.
const ALIASES: [(&str, &str); 2] = [
    ("newfstatat", "fstatat"),
    ("sync_file_range2", "arm_sync_file_range"),
];

/// The first argument of `socketcall` (linux/net.h) by the call that it stands for.
const SOCKETCALL: [(&str, u64); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

/// The first argument of `ipc` (linux/ipc.h) by the call that it stands for.
const IPC: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

impl Architecture {
    /// All of them.
    #[cfg(test)]
    pub(super) const ALL: [Self; 5] =
        [Self::X86_64, Self::X86, Self::X32, Self::Aarch64, Self::Arm];

    /// This machine's, if there are tables of it.
    pub(super) fn native() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// Those whose programs a machine of this one runs.
    pub(super) fn family(self) -> &'static [Self] {
        match self {
            Self::X86_64 | Self::X86 | Self::X32 => &[Self::X86_64, Self::X86, Self::X32],
            Self::Aarch64 | Self::Arm => &[Self::Aarch64, Self::Arm],
        }
    }

    /// The one that a profile names; `None`: its programs do not run here.
    pub(super) fn of_profile(name: Arch) -> Option<Self> {
        match name {
            Arch::ScmpArchNative => Self::native(),
            Arch::ScmpArchX86_64 => Some(Self::X86_64),
            Arch::ScmpArchX86 => Some(Self::X86),
            Arch::ScmpArchX32 => Some(Self::X32),
            Arch::ScmpArchAarch64 => Some(Self::Aarch64),
            Arch::ScmpArchArm => Some(Self::Arm),
            _ => None,
        }
    }

    /// Its name in a profile.
    pub(super) fn in_profile(self) -> Arch {
        match self {
            Self::X86_64 => Arch::ScmpArchX86_64,
            Self::X86 => Arch::ScmpArchX86,
            Self::X32 => Arch::ScmpArchX32,
            Self::Aarch64 => Arch::ScmpArchAarch64,
            Self::Arm => Arch::ScmpArchArm,
        }
    }

    /// `seccomp_data.arch` (AUDIT_ARCH_*, linux/audit.h).
    pub(super) fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Are arguments 32 bits wide?
    pub(super) fn is_narrow(self) -> bool {
        matches!(self, Self::X86 | Self::Arm)
    }

    /// The number of a call; `None`: it has none here.
    pub(super) fn number(self, name: &str) -> Option<u32> {
        if self == Self::X32 {
            return x32(name);
        }
        let table = self.table();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
        let own = table.get(name).or_else(|| table.get(alias?.1)).copied();
        let arm = || ARM_OWN.iter().find(|(own, _)| *own == name);
        match self {
            Self::Arm => own.or_else(|| Some(arm()?.1)),
            _ => own,
        }
    }

    /// All calls of the crate's table. (Its own parser compares with every name in turn, and its iterator leaves out the
    /// last.)
    fn table(self) -> &'static HashMap<&'static str, u32> {
        static TABLES: [OnceLock<HashMap<&str, u32>>; 4] = [const { OnceLock::new() }; 4];
        let [x86_64, x86, aarch64, arm] = &TABLES;
        match self {
            Self::X86_64 | Self::X32 => {
                x86_64.get_or_init(|| named(|id| Some(syscalls::x86_64::Sysno::new(id)?.name())))
            }
            Self::X86 => {
                x86.get_or_init(|| named(|id| Some(syscalls::x86::Sysno::new(id)?.name())))
            }
            Self::Aarch64 => {
                aarch64.get_or_init(|| named(|id| Some(syscalls::aarch64::Sysno::new(id)?.name())))
            }
            Self::Arm => {
                arm.get_or_init(|| named(|id| Some(syscalls::arm::Sysno::new(id)?.name())))
            }
        }
    }

    /// What the table has.
    #[cfg(test)]
    pub(super) fn names(self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.table().keys().copied().collect();
        names.sort_unstable();
        names
    }

    /// The call that carries the named one too, and the first argument that says so: 32-bit x86 has `socketcall` and `ipc`.
    pub(super) fn carrier(self, name: &str) -> Option<(&'static str, u64)> {
        let find = |table: &[(&str, u64)]| {
            let found = table.iter().find(|(carried, _)| *carried == name);
            found.map(|(_, argument)| *argument)
        };
        if self != Self::X86 {
            return None;
        }
        let socket = find(&SOCKETCALL).map(|argument| ("socketcall", argument));
        socket.or_else(|| find(&IPC).map(|argument| ("ipc", argument)))
    }
}

/// No table goes further.
const NUMBERS: u32 = 1024;

fn named(name: impl Fn(usize) -> Option<&'static str>) -> HashMap<&'static str, u32> {
    let numbers = (0..NUMBERS).filter_map(|number| Some((name(number as usize)?, number)));
    numbers.collect()
}

fn x32(name: &str) -> Option<u32> {
    if let Some(index) = X32_OWN.iter().position(|own| *own == name) {
        return Some(X32_BIT | (X32_OWN_FIRST + u32::try_from(index).ok()?));
    }
    Architecture::X86_64
        .number(name)
        .map(|number| X32_BIT | number)
}

#[cfg(test)]
mod tests {
    use super::Architecture;

    #[test]
    fn calls_have_the_numbers_of_the_kernels_tables() {
        use Architecture::{Aarch64, Arm, X32, X86, X86_64};
        for (architecture, name, number) in [
            (X86_64, "read", Some(0)),
            (X86_64, "clone3", Some(435)),
            (X86_64, "umount", None),
            (X86_64, "umount2", Some(166)),
            (X86, "umount", Some(22)),
            (X86, "socketcall", Some(102)),
            (X86, "clock_gettime64", Some(403)),
            (X32, "read", Some(0x4000_0000)),
            (X32, "ioctl", Some(0x4000_0202)),
            (X32, "pwritev2", Some(0x4000_0223)),
            (X86_64, "file_setattr", Some(469)),
            (Aarch64, "openat", Some(56)),
            (Aarch64, "newfstatat", Some(79)),
            (Arm, "sync_file_range2", Some(341)),
            (Aarch64, "open", None),
            (Arm, "set_tls", Some(0x000f_0005)),
            (Arm, "open", Some(5)),
            (Arm, "no_such_call", None),
        ] {
            assert_eq!(architecture.number(name), number, "{architecture:?} {name}");
        }
    }

    #[test]
    fn this_machines_numbers_are_those_of_its_c_library() {
        let Some(native) = Architecture::native() else {
            return;
        };
        for (name, number) in [
            ("openat2", libc::SYS_openat2),
            ("execve", libc::SYS_execve),
            ("keyctl", libc::SYS_keyctl),
            ("faccessat2", libc::SYS_faccessat2),
        ] {
            assert_eq!(native.number(name).map(i64::from), Some(number), "{name}");
        }
    }
}
