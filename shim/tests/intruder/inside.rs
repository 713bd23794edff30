//! The intruder: a program in a container, as root with CAP_SYS_PTRACE, that tries what it can against process 1 of its
//! pid namespace and against its own descriptors. It prints a line for each attempt: `name: what came of it`.

use carpel_linux::namespace;
use carpel_linux::namespace::Namespaces;
use nix::sys::ptrace;
use nix::sys::uio::RemoteIoVec;
use nix::sys::uio::process_vm_readv;
use rustix::io::Errno;
use rustix::process::Pid;
use std::fs;
use std::fs::OpenOptions;
use std::io::IoSliceMut;
use std::os::fd::AsFd;

/// What it does, as its second argument says; the third is what it looks for.
pub(crate) fn run(arguments: &[String]) {
    match arguments.get(1).map(String::as_str) {
        Some("descriptors") => descriptors(),
        Some("attack") => attack(&arguments[2]),
        Some("enter") => enter(),
        Some("watch") => watch(&arguments[2]),
        other => panic!("{other:?}"),
    }
}

fn say(name: &str, outcome: impl std::fmt::Display) {
    println!("{name}: {outcome}");
}

/// Its own descriptors by number, without the one that lists them.
fn descriptors() {
    let listing = fs::read_dir("/proc/self/fd").unwrap();
    let mut found: Vec<String> = listing
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.retain(|number| {
        fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|path| !path.ends_with("fd"))
    });
    found.sort();
    say("descriptors", found.join(" "));
}

/// Everything that CAP_SYS_PTRACE opens.
fn attack(secret: &str) {
    for name in ["root", "cwd", "root/..", "cwd/..", "root/../../proc"] {
        say(name, entries(&format!("/proc/1/{name}")));
    }
    say("fd", entries("/proc/1/fd"));
    say(
        "environ",
        fs::read("/proc/1/environ").map_or_else(told, |bytes| bytes.len().to_string()),
    );
    say(
        "make a file in root",
        outcome(fs::File::create_new("/proc/1/root/made").map(drop)),
    );
    say(
        "make a file in cwd",
        outcome(fs::File::create_new("/proc/1/cwd/made").map(drop)),
    );
    let link = fs::read_link("/proc/1/exe").map(|link| link.display().to_string());
    say("exe", link.unwrap_or_else(told));
    for (name, options) in [
        ("write exe", OpenOptions::new().write(true)),
        ("append to exe", OpenOptions::new().append(true)),
        (
            "truncate exe",
            OpenOptions::new().write(true).truncate(true),
        ),
    ] {
        say(name, outcome(options.open("/proc/1/exe").map(drop)));
    }
    say("take descriptors", take_descriptors());
    for name in ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"] {
        let joined = join(name).map_or_else(|errno| errno.to_string(), |()| "joined".into());
        say(&format!("join {name}"), joined);
    }
    say("secret in memory", search_memory(secret));
    say("other processes", others());
    let first = nix::unistd::Pid::from_raw(1);
    say(
        "attach",
        outcome(ptrace::seize(first, ptrace::Options::empty())),
    );
    say(
        "make it open a socket",
        outcome(make_it_open_a_socket(first)),
    );
    say(
        "kill",
        outcome(nix::sys::signal::kill(
            first,
            nix::sys::signal::Signal::SIGKILL,
        )),
    );
}

/// Lets the traced process, which waits in a system call, make socket(AF_UNIX, SOCK_STREAM, 0) with that instruction.
#[cfg(target_arch = "x86_64")]
fn make_it_open_a_socket(first: nix::unistd::Pid) -> nix::Result<()> {
    ptrace::interrupt(first)?;
    nix::sys::wait::waitpid(first, None)?;
    let before = ptrace::getregs(first)?;
    let mut call = before;
    // Nothing is to be restarted.
    call.orig_rax = u64::MAX;
    call.rip -= 2;
    (call.rax, call.rdi, call.rsi, call.rdx) = (41, 1, 1, 0);
    ptrace::setregs(first, call)?;
    ptrace::step(first, None)?;
    nix::sys::wait::waitpid(first, None)?;
    let result = ptrace::getregs(first)?.rax.cast_signed();
    ptrace::setregs(first, before)?;
    // In order: one that is let go in single steps by its tracer's end dies of them.
    ptrace::detach(first, None)?;
    match i32::try_from(-result) {
        Ok(number) if number > 0 => Err(nix::errno::Errno::from_raw(number)),
        _ => Ok(()),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn make_it_open_a_socket(_first: nix::unistd::Pid) -> nix::Result<()> {
    Err(nix::errno::Errno::EPERM)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn outcome<E: std::fmt::Display>(result: Result<(), E>) -> String {
    result.map_or_else(told, |()| "done".into())
}

fn entries(directory: &str) -> String {
    match fs::read_dir(directory) {
        Ok(found) => found.count().to_string(),
        Err(error) => error.to_string(),
    }
}

fn first() -> Pid {
    Pid::from_raw(1).unwrap()
}

/// How many descriptors of process 1 can be had by pidfd_getfd.
fn take_descriptors() -> String {
    let flags = rustix::process::PidfdFlags::empty();
    let pidfd = rustix::process::pidfd_open(first(), flags).unwrap();
    let taken = (0..64).filter(|number| {
        let flags = rustix::process::PidfdGetfdFlags::empty();
        rustix::process::pidfd_getfd(&pidfd, *number, flags).is_ok()
    });
    taken.count().to_string()
}

fn join(name: &str) -> Result<(), Errno> {
    let file = fs::File::open(format!("/proc/1/ns/{name}")).map_err(|_error| Errno::ACCESS)?;
    namespace::join(file.as_fd(), Namespaces::NONE).map_err(|error| error.errno())
}

/// Reads all memory of process 1 that can be read, and looks for a text.
fn search_memory(secret: &str) -> String {
    let maps = fs::read_to_string("/proc/1/maps").unwrap_or_default();
    let (mut bytes, mut hits) = (0_usize, 0_usize);
    for line in maps.lines() {
        let range = line.split(' ').next().unwrap_or_default();
        let Some((start, end)) = range.split_once('-') else {
            continue;
        };
        let parse = |text: &str| usize::from_str_radix(text, 16).unwrap_or_default();
        let (base, len) = (parse(start), parse(end).saturating_sub(parse(start)));
        let mut buffer = vec![0; len];
        let mut local = [IoSliceMut::new(&mut buffer)];
        let remote = [RemoteIoVec { base, len }];
        if let Ok(read) = process_vm_readv(nix::unistd::Pid::from_raw(1), &mut local, &remote) {
            bytes += read;
            let found = buffer[..read].windows(secret.len());
            hits += found.filter(|window| *window == secret.as_bytes()).count();
        }
    }
    format!("{hits} times, memory read: {}", bytes > 100_000)
}

/// Names of the processes that it sees, without its own kind.
fn others() -> String {
    let mut names: Vec<String> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| name != "intruder")
        .collect();
    names.sort();
    names.dedup();
    names.join(" ")
}

/// With CAP_SYS_ADMIN too: what is in the mount namespace of process 1.
fn enter() {
    say(
        "join mnt",
        join("mnt").map_or_else(told, |()| "joined".into()),
    );
    say("root", entries("/"));
    say("made", outcome(fs::File::create_new("/made").map(drop)));
    say("climbed", entries("/../.."));
}

/// Watches for new processes of its pid namespace that show a file of the host or have a right that this one has not, until
/// it is told to stop. It traces what it can, for a moment, and tells how many it has looked at.
fn watch(marker: &str) {
    println!("watching: yes");
    let own = capabilities(&fs::read_to_string("/proc/self/status").unwrap()).unwrap();
    let (mut looks, mut last, mut traced) = (0_u64, 0, 0_u32);
    while !looks.is_multiple_of(1024) || !std::path::Path::new("/share/stop").exists() {
        looks += 1;
        // The number that was given out last in this pid namespace ends /proc/loadavg.
        let load = fs::read_to_string("/proc/loadavg").unwrap();
        let newest: u32 = load.trim().rsplit(' ').next().unwrap().parse().unwrap();
        for pid in [newest, newest + 1] {
            if let Some(found) = beyond(pid, marker, own) {
                say("seen", found);
                return;
            }
        }
        // Once a process: being traced must not harm it, either.
        if newest != last {
            let pid = nix::unistd::Pid::from_raw(newest.try_into().unwrap());
            if ptrace::seize(pid, ptrace::Options::empty()).is_ok() {
                traced += 1;
                if let Some(found) = beyond(newest, marker, own) {
                    say("seen", found);
                    return;
                }
                // Only what is stopped can be let go.
                ptrace::interrupt(pid)
                    .and_then(|()| nix::sys::wait::waitpid(pid, None))
                    .and_then(|_stopped| ptrace::detach(pid, None))
                    .ok();
            }
            last = newest;
        }
    }
    say("traced", traced > 0);
    say("seen", "nothing");
}

/// What a process shows that is not the pod's: a way to the host's root, a program of the host, a capability.
fn beyond(pid: u32, marker: &str, own: u64) -> Option<String> {
    let up = "/..".repeat(12);
    let mut ways = vec![format!("root{marker}"), format!("root{up}{marker}")];
    ways.push(format!("cwd{up}{marker}"));
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
    {
        let number = entry.ok()?.file_name().into_string().unwrap();
        ways.push(format!("fd/{number}{marker}"));
        ways.push(format!("fd/{number}{up}{marker}"));
    }
    if let Some(way) = ways
        .into_iter()
        .find(|way| fs::metadata(format!("/proc/{pid}/{way}")).is_ok())
    {
        return Some(format!("the host by {way}"));
    }
    let exe = fs::read_link(format!("/proc/{pid}/exe"));
    if let Some(exe) = exe.ok().filter(|exe| exe.starts_with(marker)) {
        return Some(format!("program {}", exe.display()));
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let more = capabilities(&status)? & !own;
    (more != 0 && !is_harmless(&status)).then(|| format!("capabilities {more:#x}"))
}

/// Permitted, effective and inheritable capabilities in a status file, together.
fn capabilities(status: &str) -> Option<u64> {
    let sets = ["CapPrm:", "CapEff:", "CapInh:"].iter().map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
    });
    sets.into_iter().try_fold(0, |all, set| Some(all | set?))
}

/// The process that opens proc on kernels before 6.17: a filter keeps it, and who takes it over, from using what it has.
fn is_harmless(status: &str) -> bool {
    let has = |line: &str| status.lines().any(|found| found == line);
    has("Name:\tcarpel-proc") && has("Seccomp:\t2") && has("NoNewPrivs:\t1")
}
