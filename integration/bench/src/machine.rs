//! What a run cost the machine: processor time of all processes, memory of some, cgroups that were made.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use carpel_bench_endpoint::TICKS_PER_SECOND;

use super::error::BenchError;

/// Processor time that the whole machine has used since it started, without idle time and waiting for disks.
pub(crate) fn busy_time() -> Result<Duration, BenchError> {
    let path = Path::new("/proc/stat");
    let text = read(path)?;
    let ticks = busy_ticks(&text).ok_or_else(|| BenchError::ProcessorTimes {
        path: path.to_owned(),
    })?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// `cpu user nice system idle iowait irq softirq steal …`
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let numbers: Vec<u64> = line
        .split_whitespace()
        .map_while(|number| number.parse().ok())
        .collect();
    let of = |index: usize| numbers.get(index).copied();
    Some(of(0)? + of(1)? + of(2)? + of(5)? + of(6)?)
}

/// Memory of a process, with what it shares divided by the number of sharers, in KiB; `None` if it is gone.
pub(crate) fn proportional_kib(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Processor time that a process has used; `None` if it is gone.
pub(crate) fn processor_time(pid: i32) -> Option<Duration> {
    sum_of_times(pid, 2)
}

/// The same with that of its children that it has waited for.
pub(crate) fn processor_time_with_children(pid: i32) -> Option<Duration> {
    sum_of_times(pid, 4)
}

/// utime, stime, cutime, cstime: proc_pid_stat(5).
fn sum_of_times(pid: i32, count: usize) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything; what follows it does not.
    let (_, fields) = stat.rsplit_once(") ")?;
    let times = fields.split(' ').skip(11).take(count);
    let ticks: Option<u64> = times.map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks? * 1000 / TICKS_PER_SECOND))
}

/// How many processes of the machine have ended and are not waited for.
pub(crate) fn zombies() -> usize {
    let Ok(entries) = fs::read_dir("/proc") else {
        return 0;
    };
    entries
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok())
        .filter(|stat| {
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('Z'))
        })
        .count()
}

/// Pids of the processes whose name starts with one of `names`. The kernel keeps 15 bytes of a name.
pub(crate) fn processes(names: &[String]) -> BTreeSet<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeSet::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            names.iter().any(|wanted| {
                let kept = wanted.get(..15).unwrap_or(wanted);
                name.trim_end().starts_with(kept)
            })
        })
        .collect()
}

/// The controllers of the cgroups that were made for a container: folders whose name holds its id, in any hierarchy.
pub(crate) fn controllers_of(container_id: &str) -> BTreeSet<String> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut controllers = BTreeSet::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let (Some(mount_point), Some(kind)) = (left.split(' ').nth(4), right.split(' ').next())
        else {
            continue;
        };
        let folder = match kind {
            "cgroup" | "cgroup2" => find(Path::new(mount_point), container_id, 6),
            _ => None,
        };
        match (folder, kind) {
            (Some(folder), "cgroup2") => {
                let there = fs::read_to_string(folder.join("cgroup.controllers"));
                let there = there.unwrap_or_default();
                controllers.insert("v2".to_owned());
                controllers.extend(there.split_whitespace().map(|name| format!("v2 {name}")));
            }
            (Some(_), _) => {
                let name = Path::new(mount_point).file_name().unwrap_or_default();
                controllers.insert(format!("v1 {}", name.to_string_lossy()));
            }
            (None, _) => {}
        }
    }
    controllers
}

/// The first folder below `folder` whose name holds `part`, at most `depth` levels down.
fn find(folder: &Path, part: &str, depth: usize) -> Option<PathBuf> {
    let depth = depth.checked_sub(1)?;
    let folders: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            entry.file_type().ok()?.is_dir().then(|| entry.path())
        })
        .collect();
    let named = |path: &&PathBuf| path.to_string_lossy().contains(part);
    folders
        .iter()
        .find(named)
        .cloned()
        .or_else(|| folders.iter().find_map(|folder| find(folder, part, depth)))
}

fn read(path: &Path) -> Result<String, BenchError> {
    fs::read_to_string(path).map_err(|source| BenchError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_all_but_idle_and_waiting() {
        let stat = "cpu  10 2 30 4000 500 6 7 8 0 0\ncpu0 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(10 + 2 + 30 + 6 + 7));
        assert_eq!(busy_ticks("intr 1\n"), None);
    }

    #[test]
    fn this_process_has_memory_and_a_name() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(proportional_kib(pid).is_some_and(|kib| kib > 0));
        assert!(processor_time(pid).is_some());
        assert_eq!(processor_time(i32::MAX), None);
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        assert!(processes(&[name.trim().to_owned()]).contains(&pid));
    }

    #[test]
    fn a_cgroup_is_found_by_a_part_of_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("a/b/carpel-1234.scope");
        fs::create_dir_all(&deep).unwrap();
        assert_eq!(find(directory.path(), "1234", 3), Some(deep));
        assert_eq!(find(directory.path(), "1234", 2), None);
    }
}
