//! The demo's descendants: who they are, what they weigh, and their end.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::{Pid, Signal, WaitOptions};

/// A descendant.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// How far below the demo.
    pub(crate) depth: usize,
    /// Its command line, shortened; for the kernel's name in brackets if it has none.
    pub(crate) command: String,
    /// Memory, with what it shares divided by the number of sharers; `None` for a zombie.
    pub(crate) proportional_kib: Option<u64>,
    pub(crate) is_zombie: bool,
}

/// Makes every orphan below this process its child.
pub(crate) fn adopt_orphans() -> std::io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// All descendants, parents before their children.
pub(crate) fn descendants() -> Vec<Process> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for pid in all() {
        if let Some((parent, _)) = parent_and_state(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let mut ahead: Vec<(i32, usize)> = vec![(own, 0)];
    while let Some((pid, depth)) = ahead.pop() {
        if depth > 0 {
            found.push(describe(pid, depth));
        }
        for child in children.get(&pid).into_iter().flatten().rev() {
            ahead.push((*child, depth + 1));
        }
    }
    found
}

/// Kills descendants, and waits for those that are children. How many there were.
pub(crate) fn kill_all() -> usize {
    let left: Vec<Process> = descendants()
        .into_iter()
        .filter(|process| !process.is_zombie)
        .collect();
    for process in &left {
        if let Some(pid) = Pid::from_raw(process.pid) {
            // It may have ended by itself meanwhile.
            rustix::process::kill_process(pid, Signal::KILL).ok();
        }
    }
    left.len()
}

/// Collects children that have ended.
pub(crate) fn reap() {
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}

fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// proc_pid_stat(5): `pid (name) state parent …`; the name may hold anything, so it is skipped from its end.
fn parent_and_state(pid: i32) -> Option<(i32, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.to_owned();
    Some((fields.next()?.parse().ok()?, state))
}

fn describe(pid: i32, depth: usize) -> Process {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> = command
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| {
            String::from_utf8_lossy(word)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let command = if words.is_empty() {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("[{}]", name.trim_end())
    } else {
        shortened(&words.join(" "))
    };
    let command = match role(pid) {
        Some(role) => format!("carpel-shim, {role}"),
        None => command,
    };
    let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    Process {
        pid,
        depth,
        command,
        proportional_kib: memory
            .lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .and_then(|line| line.split_whitespace().next()?.parse().ok()),
        is_zombie: parent_and_state(pid).is_some_and(|(_, state)| state == "Z"),
    }
}

/// What one of Carpel's own processes of a pod is for: they all run the program of the shim, under these names.
fn role(pid: i32) -> Option<&'static str> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    match name.trim_end() {
        "carpel-shim" => Some("supervisor of the pod"),
        "carpel-infra" => Some("holder of its namespaces"),
        "carpel-log" => Some("writer of its logs"),
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        text.to_owned()
    } else {
        let start: String = text.chars().take(MOST).collect();
        format!("{start}…")
    }
}
