//! Starting a program in a cgroup, from a process with any number of threads: the daemon starts shims by it.
//!
//! Writing to `cgroup.procs` instead would wait for an RCU grace period, 10 to 20 ms a process; one that is born in its
//! cgroup (clone3, CLONE_INTO_CGROUP) pays nothing.

#![allow(unsafe_code, reason = "fork and exec from a process with threads")]

use crate::Error;
use crate::Result;
use crate::error::last_errno;
use rustix::io::Errno;
use rustix::process::Pid;
use std::ffi::CStr;
use std::ffi::CString;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;

/// As in `clone`: libc's constant is 0 on glibc targets.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// linux/sched.h
const CLONE_PIDFD: u64 = 0x1000;
/// linux/sched.h: handled signals have their default action in the child; Linux 5.5.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
#[cfg(target_arch = "x86_64")]
/// linux/sched.h
const CLONE_VM: u64 = 0x100;
#[cfg(target_arch = "x86_64")]
/// linux/sched.h
const CLONE_VFORK: u64 = 0x4000;
/// Exit code of a child that could not execute; the parent has the errno by then.
const FAILED: i32 = 127;

/// A program and how it is started.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// The executable, such as a sealed memfd; `O_PATH` suffices.
    pub program: BorrowedFd<'a>,
    /// Its arguments, the name first.
    pub arguments: &'a [CString],
    /// NAME=value.
    pub environment: &'a [CString],
    /// Standard input, output and error. Nothing else is passed on that is close-on-exec.
    pub standard: [BorrowedFd<'a>; 3],
    /// A cgroup v2 directory to be born in; none: the caller's.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Starts the program and returns its number and its pidfd; it is a child of the caller and leads a session of its own, in `/`.
///
/// # Errors
///
/// As clone3(2), or as execveat(2) in the child, which has been reaped then.
pub fn spawn(spawn: &Spawn<'_>) -> Result<(Pid, OwnedFd)> {
    let pointers = |strings: &[CString]| {
        let pointers = strings.iter().map(|string| string.as_ptr());
        pointers.chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let (arguments, environment) = (pointers(spawn.arguments), pointers(spawn.environment));
    let (told, tell) = Error::of(
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC),
        || "pipe2(O_CLOEXEC)".into(),
    )?;
    let image = Image {
        spawn,
        arguments: &arguments,
        environment: &environment,
        tell: tell.as_raw_fd(),
    };
    let mut pidfd: RawFd = -1;
    // SAFETY: every field of clone_args is a number, for which zero bytes are a valid value.
    let mut request: libc::clone_args = unsafe { std::mem::zeroed() };
    request.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
    request.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    request.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    if let Some(cgroup) = spawn.cgroup {
        request.flags |= CLONE_INTO_CGROUP;
        request.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    let result = start(&mut request, &image);
    let Some(pid) = i32::try_from(result).ok().and_then(Pid::from_raw) else {
        let errno = i32::try_from(-result).unwrap_or(0);
        return Err(Error::new(
            format!("clone3({:#x})", request.flags),
            Errno::from_raw_os_error(errno),
        ));
    };
    // SAFETY: clone3 succeeded with CLONE_PIDFD, so the kernel wrote a new close-on-exec descriptor that nobody owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    drop(tell);
    let mut errno = [0; 4];
    match rustix::io::retry_on_intr(|| rustix::io::read(&told, &mut errno)) {
        Ok(0) => Ok((pid, pidfd)),
        _ => {
            let id = rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&pidfd));
            let options = rustix::process::WaitIdOptions::EXITED;
            let reaped = rustix::io::retry_on_intr(|| rustix::process::waitid(id.clone(), options));
            // ECHILD: another part of the caller has reaped it, which is as good.
            if let Err(errno) = reaped.map(|_status| ())
                && errno != Errno::CHILD
            {
                return Err(Error::new("waitid(P_PIDFD)", errno));
            }
            let errno = Errno::from_raw_os_error(i32::from_ne_bytes(errno));
            Err(Error::new(
                format!("execveat({:?})", spawn.arguments.first()),
                errno,
            ))
        }
    }
}

/// What the child becomes, made ready in the parent.
struct Image<'a> {
    spawn: &'a Spawn<'a>,
    arguments: &'a [*const libc::c_char],
    environment: &'a [*const libc::c_char],
    tell: RawFd,
}

/// As vfork(2): the child borrows the caller's memory, on a stack of its own, and the calling thread goes on when it has become the
/// program or has ended. A copy of the memory would cost copying and dropping the page tables of a large process, and then a
/// fault for each page that its other threads write. Returns the child's number, or a negative errno.
#[cfg(target_arch = "x86_64")]
fn start(request: &mut libc::clone_args, image: &Image<'_>) -> i64 {
    /// Enough for `child`, which calls nothing deep, without optimisation too.
    const STACK: usize = 32 * 1024;
    #[repr(align(16))]
    struct Stack(#[expect(dead_code, reason = "only the child writes it")] [u8; STACK]);
    let mut stack = std::mem::MaybeUninit::<Stack>::uninit();
    request.flags |= CLONE_VM | CLONE_VFORK;
    request.stack = stack.as_mut_ptr().addr() as u64;
    request.stack_size = STACK as u64;
    let mut result = libc::SYS_clone3;
    // SAFETY: clone3(request, size): `request` is a clone_args of that size, whose pidfd points to a live i32 and whose stack is
    // memory that nobody else uses. CLONE_VFORK suspends this thread, and so keeps its frame with all that `image` borrows, until
    // the child has left the memory. The child starts with that stack, 16 byte aligned as its call needs, calls `child` with a
    // pointer to `image` and never comes back: `child` takes no lock and allocates nothing, and with CLONE_CLEAR_SIGHAND no
    // handler of this process runs in it. The syscall instruction changes rax, rcx and r11 alone.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") result,
            in("rdi") std::ptr::from_mut(request),
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") std::ptr::from_ref(image),
            in("r13") child as extern "C" fn(&Image<'_>) -> !,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// As fork(2). Returns the child's number, or a negative errno.
#[cfg(not(target_arch = "x86_64"))]
fn start(request: &mut libc::clone_args, image: &Image<'_>) -> i64 {
    // SAFETY: `request` is a clone_args of the given size, whose pidfd points to a live i32. Without CLONE_VM the child has a copy
    // of the memory. The caller may have threads, so the child calls `child` alone, which takes no lock and allocates nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            std::ptr::from_mut(request),
            size_of::<libc::clone_args>(),
        )
    };
    match result {
        0 => child(image),
        failed if failed < 0 => -i64::from(last_errno().raw_os_error()),
        pid => pid,
    }
}

/// Between clone and exec: no allocation, no lock, no destructor. Of the memory, which may be the parent's, it writes its own stack
/// and the thread's errno.
extern "C" fn child(image: &Image<'_>) -> ! {
    let errno = replace(image.spawn, image.arguments, image.environment);
    // SAFETY: write takes an open descriptor and four bytes that live during the call.
    unsafe { libc::write(image.tell, std::ptr::from_ref(&errno).cast(), 4) };
    // SAFETY: _exit takes a number and never returns; it runs nothing of this process.
    unsafe { libc::_exit(FAILED) }
}

/// Becomes the program; returns the errno of what failed.
fn replace(
    spawn: &Spawn<'_>,
    arguments: &[*const libc::c_char],
    environment: &[*const libc::c_char],
) -> i32 {
    // SAFETY: sigset_t is an array of words, for which zero bytes are the empty set.
    let nothing: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `nothing` is a valid sigset_t; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const nothing, std::ptr::null_mut()) };
    // SAFETY: setsid takes nothing. It cannot fail: a fresh child leads no group.
    unsafe { libc::setsid() };
    // SAFETY: chdir takes a path that ends with NUL and lives for ever. "/" can always be entered by root.
    unsafe { libc::chdir(c"/".as_ptr()) };
    // Above the standard numbers first: one of the three may be another's target.
    let mut copies = [0; 3];
    for (copy, descriptor) in copies.iter_mut().zip(spawn.standard) {
        // SAFETY: fcntl(F_DUPFD_CLOEXEC) takes an open descriptor (borrowed) and a number.
        *copy = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 10) };
    }
    for (number, copy) in (0..).zip(copies) {
        // SAFETY: dup2 takes numbers; this process has a table of descriptors of its own, of which it uses none but those placed
        // here, the program and the pipe, and the copies were made above 10. A bad copy fails with EBADF.
        if unsafe { libc::dup2(copy, number) } < 0 {
            return last_errno().raw_os_error();
        }
    }
    // SAFETY: execveat(descriptor, "", arguments, environment, AT_EMPTY_PATH): the descriptor is open, the path is a
    // NUL-terminated empty string, and both arrays hold pointers to NUL-terminated strings and end in a null pointer.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            spawn.program.as_raw_fd(),
            CStr::as_ptr(c""),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_errno().raw_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::path::PathBuf;

    fn run(program: &str, arguments: &[CString], cgroup: Option<BorrowedFd<'_>>) -> Result<String> {
        let program = std::fs::File::open(program).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let spawned = spawn(&Spawn {
            program: program.as_fd(),
            arguments,
            environment: &[c"A=B".to_owned()],
            standard: [null.as_fd(), write.as_fd(), write.as_fd()],
            cgroup,
        });
        drop(write);
        let (_pid, pidfd) = spawned?;
        let mut text = String::new();
        std::fs::File::from(read).read_to_string(&mut text).unwrap();
        let id = rustix::process::WaitId::PidFd(pidfd.as_fd());
        let status = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED);
        assert_eq!(status.unwrap().unwrap().exit_status(), Some(0));
        Ok(text)
    }

    #[test]
    fn a_program_gets_its_arguments_and_streams() {
        let line = [c"sh", c"-c", c"echo $A; echo $0 >&2", c"name"].map(CStr::to_owned);
        assert_eq!(run("/bin/sh", &line, None).unwrap(), "B\nname\n");
    }

    #[test]
    fn what_is_no_program_is_an_error() {
        let error = run("/etc/passwd", &[c"x".to_owned()], None).unwrap_err();
        assert_eq!(error.errno(), Errno::ACCESS);
    }

    #[test]
    fn many_threads_start_programs_at_once_while_others_allocate() {
        let round = |number: usize| {
            let name = CString::new(format!("name-{number}")).unwrap();
            let line = [
                c"sh".to_owned(),
                c"-c".to_owned(),
                c"echo $0; exit 0".to_owned(),
                name,
            ];
            let expected = format!("name-{number}\n");
            let said: Vec<String> = (0..20)
                .map(|_| run("/bin/sh", &line, None).unwrap())
                .collect();
            assert!(said.iter().all(|text| *text == expected), "{said:?}");
            let error = run("/etc/passwd", &line, None).unwrap_err();
            assert_eq!(error.errno(), Errno::ACCESS);
        };
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || round(number));
            }
        });
    }

    #[test]
    fn a_program_finds_no_signal_blocked() {
        crate::signal::block_only(&[libc::SIGUSR1]);
        let line = [c"cat", c"/proc/self/status"].map(CStr::to_owned);
        let text = run("/bin/cat", &line, None).unwrap();
        assert!(text.contains("\nSigBlk:\t0000000000000000\n"), "{text}");
    }

    #[test]
    fn root_the_program_is_born_in_its_cgroup() {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
        let found = roots
            .iter()
            .find(|path| path.join("cgroup.procs").exists() && !path.join("tasks").exists());
        let name = format!("carpel-test-spawn-{}", std::process::id());
        let Some(path) = found.map(|root| root.join(&name)) else {
            println!("SKIP no cgroup2 is mounted");
            return;
        };
        if let Err(error) = std::fs::create_dir(&path) {
            println!("SKIP {error}");
            return;
        }
        let directory = std::fs::File::open(&path).unwrap();
        let line = [c"cat", c"/proc/self/cgroup"].map(CStr::to_owned);
        let text = run("/bin/cat", &line, Some(directory.as_fd()));
        std::fs::remove_dir(&path).unwrap();
        let text = text.unwrap();
        assert!(
            text.lines()
                .any(|line| line.starts_with("0::") && line.ends_with(&name)),
            "{text}"
        );
    }
}
