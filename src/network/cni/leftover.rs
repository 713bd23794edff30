//! Plugins that a dead daemon left running. A DEL must not run beside the ADD that it undoes, so they are killed first.
//!
//! They are known by the variables of the specification, which their own children inherit (an IPAM plugin, iptables),
//! and by being in the daemon's own namespaces: a container cannot pose as one.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long what was killed may take to go.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a process may take from its fork to what it executes. Only a busy machine needs more than a millisecond.
const START: Duration = Duration::from_secs(1);
/// How often such a process is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Kills the plugins that work for these sandboxes and waits for their end.
pub(super) fn end_plugins_of(sandboxes: &BTreeSet<&str>) {
    // A daemon that is started again has the arguments of the one before.
    let daemon = fs::read("/proc/self/cmdline").unwrap_or_default();
    end_plugins_of_a_daemon(&daemon, sandboxes);
}

fn end_plugins_of_a_daemon(daemon: &[u8], sandboxes: &BTreeSet<&str>) {
    if sandboxes.is_empty() {
        return;
    }
    let started = Instant::now();
    let mut dying = Vec::new();
    loop {
        let mut starting = None;
        for pid in processes() {
            match role(pid, daemon, sandboxes) {
                Role::Other => {}
                Role::Starting => starting = pidfd_open(pid, PidfdFlags::empty()).ok().or(starting),
                Role::Plugin => dying.extend(kill(pid, daemon, sandboxes)),
            }
        }
        match starting {
            Some(process) if started.elapsed() < START => {
                wait_for_end(&process, LOOK);
            }
            _ => break,
        }
    }
    let deadline = Instant::now() + PATIENCE;
    for process in dying {
        let left = deadline.saturating_duration_since(Instant::now());
        if !wait_for_end(&process, left) {
            tracing::warn!("a killed CNI plugin does not end");
        }
    }
}

fn kill(pid: Pid, daemon: &[u8], sandboxes: &BTreeSet<&str>) -> Option<OwnedFd> {
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // Looked at again by the descriptor: the number may have been given to another meanwhile.
    if role(pid, daemon, sandboxes) != Role::Plugin {
        return None;
    }
    tracing::warn!(
        pid = pid.as_raw_nonzero().get(),
        "a CNI plugin that the daemon before left running is killed"
    );
    match pidfd_send_signal(&process, Signal::KILL) {
        Ok(()) => Some(process),
        Err(errno) => {
            tracing::debug!(%errno, "it has ended");
            None
        }
    }
}

/// Whether it has ended by then.
fn wait_for_end(process: &OwnedFd, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).unwrap_or_default();
    let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit));
    matches!(ended, Ok(1..))
}

fn processes() -> impl Iterator<Item = Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
}

/// What a process is to the sandboxes that are to be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Plugin,
    /// Not yet what it will be: a child of the dead daemon before execve, or a process in the midst of one.
    Starting,
    Other,
}

fn role(pid: Pid, daemon: &[u8], sandboxes: &BTreeSet<&str>) -> Role {
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let read = |name: &str| fs::read(process.join(name));
    let (Ok(environment), Ok(arguments)) = (read("environ"), read("cmdline")) else {
        return Role::Other;
    };
    let names_one = environment
        .split(|byte| *byte == 0)
        .filter_map(|variable| variable.strip_prefix(b"CNI_CONTAINERID="))
        .any(|id| std::str::from_utf8(id).is_ok_and(|id| sandboxes.contains(id)));
    // The kernel shows neither until execve has laid them out. Without a program it is the kernel's, or a zombie.
    let in_execve = environment.is_empty()
        && arguments.is_empty()
        && fs::read_link(process.join("exe")).is_ok();
    let is_child = arguments == daemon && !is_own(pid);
    let role = match (names_one, in_execve || is_child) {
        (true, _) => Role::Plugin,
        (false, true) => Role::Starting,
        (false, false) => return Role::Other,
    };
    let is_near = ["pid", "mnt"].iter().all(|kind| {
        matches!(
            (namespace(&process, kind), namespace(Path::new("/proc/thread-self"), kind)),
            (Ok(its), Ok(own)) if its == own
        )
    });
    if is_near { role } else { Role::Other }
}

fn is_own(pid: Pid) -> bool {
    u32::try_from(pid.as_raw_nonzero().get()).is_ok_and(|pid| pid == std::process::id())
}

fn namespace(process: &Path, kind: &str) -> io::Result<PathBuf> {
    fs::read_link(process.join("ns").join(kind))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn root_a_plugin_of_a_dead_daemon_is_killed_and_no_other() {
        let start = |id: &str| {
            Command::new("sleep")
                .arg("100")
                .env("CNI_CONTAINERID", id)
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        };
        let unique = format!("test-{}", std::process::id());
        let (mut mine, mut other) = (start(&unique), start("another-of-the-test"));
        end_plugins_of(&BTreeSet::from([unique.as_str()]));
        let status = mine.wait().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9)
        );
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }

    /// A shell stands for the child: it has the arguments of "the daemon", and no id, until it executes the plugin.
    #[test]
    fn root_a_child_that_is_not_a_plugin_yet_is_waited_for() {
        let unique = format!("child-{}", std::process::id());
        let text = format!("sleep 0.2; CNI_CONTAINERID={unique} exec sleep 100");
        let mut child = Command::new("sh").args(["-c", &text]).spawn().unwrap();
        let file = format!("/proc/{}/cmdline", child.id());
        let shell = format!("sh\0-c\0{text}\0");
        while fs::read(&file).unwrap() != shell.as_bytes() {
            std::thread::yield_now();
        }
        end_plugins_of_a_daemon(shell.as_bytes(), &BTreeSet::from([unique.as_str()]));
        let ended = child.try_wait().unwrap();
        assert_eq!(
            ended.and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status)),
            Some(9)
        );
    }
}
