//! Figures of processes from /proc; one that ends meanwhile counts for nothing.

use std::fs;

use crate::pod::ProcessFigures;

/// What processes have in memory: proc_pid_statm(5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Resident {
    /// All of it; pages that processes share are counted for each.
    pub bytes: u64,
    /// Pages of files and shared memory.
    pub shared_bytes: u64,
}

/// What these processes have in memory.
pub(super) fn resident(pids: &[i32]) -> Resident {
    let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let mut all = Resident::default();
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let mut pages = text.split(' ').skip(1).map_while(|word| word.parse().ok());
        let resident: u64 = pages.next().unwrap_or(0);
        let shared: u64 = pages.next().unwrap_or(0);
        all.bytes += resident * page_bytes;
        // The two are not read at one moment.
        all.shared_bytes += shared.min(resident) * page_bytes;
    }
    all
}

/// Processes, threads, open files and sockets.
pub(super) fn figures(pids: &[i32]) -> ProcessFigures {
    let mut figures = ProcessFigures {
        open_files_limit: pids.first().and_then(|pid| open_files_limit(*pid)),
        ..ProcessFigures::default()
    };
    for pid in pids {
        let Some(threads) = threads(*pid) else {
            continue;
        };
        figures.processes += 1;
        figures.threads += threads;
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
        {
            let Ok(entry) = entry else { continue };
            figures.file_descriptors += 1;
            let target = fs::read_link(entry.path()).unwrap_or_default();
            if target
                .as_os_str()
                .as_encoded_bytes()
                .starts_with(b"socket:")
            {
                figures.sockets += 1;
            }
        }
    }
    figures
}

/// `num_threads` of proc_pid_stat(5): the 18th field from the name's closing parenthesis on.
fn threads(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(17)?
        .parse()
        .ok()
}

/// The soft limit in proc_pid_limits(5).
fn open_files_limit(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn this_process_is_counted_with_its_threads_files_and_sockets() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let before = figures(&[pid]);
        assert_eq!(before.processes, 1);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(before.open_files_limit, limit.current);
        let sockets: Vec<_> = (0..50)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let (leave, left) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || left.recv().is_err());
        let after = figures(&[pid]);
        // Other tests open and close some at the same time.
        assert!(after.sockets >= 50, "{after:?}");
        assert!(after.file_descriptors >= after.sockets, "{after:?}");
        assert!(after.threads >= 2, "{after:?}");
        drop((leave, sockets));
        thread.join().unwrap();
    }

    #[test]
    fn memory_of_this_process_is_counted_and_that_of_none_is_nothing() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let resident = resident(&[pid]);
        assert!(resident.bytes > resident.shared_bytes);
        assert!(resident.shared_bytes > 0);
        assert_eq!(super::resident(&[]), Resident::default());
        assert_eq!(figures(&[i32::MAX]), ProcessFigures::default());
    }
}
