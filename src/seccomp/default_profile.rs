//! What RuntimeDefault means: a list of what is allowed. It allows what the default profiles of the field allow
//! (containerd, CRI-O, Docker), so that an image that runs there runs here; what a call is good for and who it is for is
//! said beside it. Everything else is answered with EPERM, and what is newer than the list with ENOSYS.

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};

use super::architecture::Architecture;

/// Files and directories, by path and by descriptor.
const FILES: &str = "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 \
    faccessat faccessat2 fadvise64 fadvise64_64 arm_fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat \
    fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr file_getattr file_setattr flistxattr flock \
    fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd \
    getdents getdents64 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl lchown \
    lchown32 lgetxattr link linkat listmount listxattr listxattrat llistxattr lremovexattr lseek _llseek lsetxattr lstat \
    lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 readlink readlinkat removexattr \
    removexattrat rename renameat renameat2 rmdir setxattr setxattrat stat stat64 statfs statfs64 statmount statx symlink \
    symlinkat sync sync_file_range sync_file_range2 syncfs truncate truncate64 umask unlink unlinkat utime utimensat \
    utimensat_time64 utimes";

/// Reading and writing, pipes, readiness; aio, but not io_uring, whose operations a filter does not see.
const INPUT_AND_OUTPUT: &str = "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait \
    epoll_wait_old eventfd eventfd2 io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup \
    io_submit pipe pipe2 poll ppoll ppoll_time64 pread64 preadv preadv2 pselect6 pselect6_time64 pwrite64 pwritev \
    pwritev2 read readahead readv select _newselect sendfile sendfile64 signalfd signalfd4 splice tee vmsplice write \
    writev";

/// Memory of the process itself.
const MEMORY: &str = "brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall \
    mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect \
    process_mrelease remap_file_pages";

/// Processes, threads, their users and groups. What makes one is in `profile`: its flags matter.
const PROCESSES: &str = "capget capset execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait \
    futex_waitv futex_wake getcpu getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid \
    getpgrp getpid getppid getpriority getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid gettid \
    getuid getuid32 get_robust_list get_thread_area ioprio_get ioprio_set kill pause pidfd_open pidfd_send_signal prctl \
    prlimit64 restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend \
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam \
    sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval \
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield setfsgid \
    setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setpriority setregid setregid32 \
    setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setuid setuid32 set_robust_list \
    set_thread_area set_tid_address sigaction sigaltstack sigpending signal sigprocmask sigreturn sigsuspend tgkill tkill \
    ugetrlimit vfork wait4 waitid waitpid";

/// A process may confine itself further.
const CONFINEMENT: &str =
    "landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp";

/// Another process of the same user: needs CAP_SYS_PTRACE for more, and since 4.8 cannot be used to get past a filter.
const DEBUGGING: &str = "process_vm_readv process_vm_writev ptrace uretprobe";

/// Sockets but for `socket` itself, and System V and POSIX queues, semaphores, shared memory.
const COMMUNICATION: &str = "accept accept4 bind connect getpeername getsockname getsockopt ipc listen mq_getsetattr \
    mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget \
    msgrcv msgsnd recv recvfrom recvmmsg recvmmsg_time64 recvmsg semctl semget semop semtimedop semtimedop_time64 send \
    sendmmsg sendmsg sendto setsockopt shmat shmctl shmdt shmget shutdown socketcall socketpair";

/// Clocks and timers. Setting a clock needs CAP_SYS_TIME; adjtimex and clock_adjtime only tell without it.
const TIME: &str = "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime \
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create \
    timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create \
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times";

/// What the machine is and does.
const MACHINE: &str = "cachestat getrandom olduname sysinfo uname";

/// What C libraries and emulators of one architecture need.
const X86_FAMILY: &str = "arch_prctl modify_ldt";
const ARM_FAMILY: &str = "breakpoint cacheflush set_tls";

/// What a capability opens. The capability itself is checked by the kernel; without it there is no need for the call.
const BY_CAPABILITY: [(caps::Capability, &str); 13] = [
    (caps::Capability::CAP_DAC_READ_SEARCH, "open_by_handle_at"),
    (
        caps::Capability::CAP_SYS_ADMIN,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount \
        open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 \
        unshare",
    ),
    (caps::Capability::CAP_SYS_BOOT, "reboot"),
    (caps::Capability::CAP_SYS_CHROOT, "chroot"),
    (
        caps::Capability::CAP_SYS_MODULE,
        "delete_module finit_module init_module",
    ),
    (caps::Capability::CAP_SYS_PACCT, "acct"),
    (
        caps::Capability::CAP_SYS_PTRACE,
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    (caps::Capability::CAP_SYS_RAWIO, "ioperm iopl"),
    (
        caps::Capability::CAP_SYS_TIME,
        "clock_settime clock_settime64 settimeofday stime",
    ),
    (caps::Capability::CAP_SYS_TTY_CONFIG, "vhangup"),
    (
        caps::Capability::CAP_SYS_NICE,
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    (caps::Capability::CAP_SYSLOG, "syslog"),
    (caps::Capability::CAP_BPF, "bpf"),
];

/// The flags of clone(2) that make a namespace: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// AF_VSOCK: a way to the hypervisor and its other guests that no network namespace keeps.
const VSOCK: u64 = 40;

/// What personality(2) may set: nothing (`PER_LINUX`), `PER_LINUX32`, each with UNAME26; all ones only asks.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

const PERMISSION_DENIED: u32 = 1;
const NO_SUCH_CALL: u32 = 38;

/// The profile of a container with these capabilities, one bit each by number.
pub fn default_profile(capabilities: u64) -> LinuxSeccomp {
    let native = Architecture::native();
    let mut entries = Vec::new();
    let mut allowed: Vec<&str> = [
        FILES,
        INPUT_AND_OUTPUT,
        MEMORY,
        PROCESSES,
        CONFINEMENT,
        DEBUGGING,
        COMMUNICATION,
        TIME,
        MACHINE,
    ]
    .iter()
    .flat_map(|group| group.split_whitespace())
    .collect();
    allowed.extend(
        match native {
            Some(Architecture::Aarch64 | Architecture::Arm) => ARM_FAMILY,
            _ => X86_FAMILY,
        }
        .split_whitespace(),
    );
    for (capability, calls) in BY_CAPABILITY {
        if capabilities & capability.bitmask() != 0 {
            allowed.extend(calls.split_whitespace());
        }
    }
    if capabilities & caps::Capability::CAP_PERFMON.bitmask() != 0 {
        allowed.push("perf_event_open");
    }
    entries.push(entry(&allowed, Action::ScmpActAllow, &[]));
    entries.push(allow_if(
        "socket",
        argument(Operator::ScmpCmpNe, VSOCK, None),
    ));
    for personality in PERSONALITIES {
        entries.push(allow_if(
            "personality",
            argument(Operator::ScmpCmpEq, personality, None),
        ));
    }
    if capabilities & caps::Capability::CAP_SYS_ADMIN.bitmask() == 0 {
        let no_namespace = argument(Operator::ScmpCmpMaskedEq, NAMESPACE_FLAGS, Some(0));
        entries.push(allow_if("clone", no_namespace));
        // Its flags are behind a pointer, where no filter sees them; the C library then takes clone.
        let mut clone3 = entry(&["clone3"], Action::ScmpActErrno, &[]);
        clone3.set_errno_ret(Some(NO_SUCH_CALL));
        entries.push(clone3);
    }
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(Action::ScmpActErrno);
    profile.set_default_errno_ret(Some(PERMISSION_DENIED));
    profile.set_architectures(native.map(architectures));
    profile.set_syscalls(Some(entries));
    profile
}

fn architectures(native: Architecture) -> Vec<Arch> {
    let family = native.family().iter();
    family
        .map(|architecture| architecture.in_profile())
        .collect()
}

fn entry(names: &[&str], action: Action, arguments: &[LinuxSeccompArg]) -> LinuxSyscall {
    let mut entry = LinuxSyscall::default();
    entry.set_names(names.iter().map(|name| (*name).to_owned()).collect());
    entry.set_action(action);
    entry.set_args((!arguments.is_empty()).then(|| arguments.to_vec()));
    entry
}

fn allow_if(name: &str, argument: LinuxSeccompArg) -> LinuxSyscall {
    entry(&[name], Action::ScmpActAllow, &[argument])
}

/// A comparison of the first argument.
fn argument(operator: Operator, value: u64, value_two: Option<u64>) -> LinuxSeccompArg {
    let mut argument = LinuxSeccompArgBuilder::default()
        .index(0_usize)
        .op(operator)
        .value(value);
    if let Some(value_two) = value_two {
        argument = argument.value_two(value_two);
    }
    // Every field has a default: there is nothing to be missing.
    argument.build().unwrap_or_default()
}
