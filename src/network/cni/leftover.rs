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

/// Kills the plugins that work for these sandboxes and waits for their end.
pub(super) fn end_plugins_of(sandboxes: &BTreeSet<&str>) {
    if sandboxes.is_empty() {
        return;
    }
    let mut dying = Vec::new();
    for pid in processes() {
        if !works_for(pid, sandboxes) {
            continue;
        }
        // Looked at again by a descriptor: the number may have been given to another meanwhile.
        let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        if works_for(pid, sandboxes) {
            tracing::warn!(
                pid = pid.as_raw_nonzero().get(),
                "a CNI plugin that the daemon before left running is killed"
            );
            match pidfd_send_signal(&descriptor, Signal::KILL) {
                Ok(()) => dying.push(descriptor),
                Err(errno) => tracing::debug!(%errno, "it has ended"),
            }
        }
    }
    let deadline = Instant::now() + PATIENCE;
    for descriptor in dying {
        wait_for_end(&descriptor, deadline);
    }
}

fn wait_for_end(process: &OwnedFd, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).unwrap_or_default();
    let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left));
    if !matches!(ended, Ok(1..)) {
        tracing::warn!(?ended, "a killed CNI plugin does not end");
    }
}

fn processes() -> impl Iterator<Item = Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
}

fn works_for(pid: Pid, sandboxes: &BTreeSet<&str>) -> bool {
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let Ok(environment) = fs::read(process.join("environ")) else {
        return false;
    };
    let names_one = environment
        .split(|byte| *byte == 0)
        .filter_map(|variable| variable.strip_prefix(b"CNI_CONTAINERID="))
        .any(|id| std::str::from_utf8(id).is_ok_and(|id| sandboxes.contains(id)));
    names_one
        && ["pid", "mnt"].iter().all(|kind| {
            matches!(
                (namespace(&process, kind), namespace(Path::new("/proc/thread-self"), kind)),
                (Ok(its), Ok(own)) if its == own
            )
        })
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
}
