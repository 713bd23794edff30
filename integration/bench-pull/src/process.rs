//! What a pull cost a process: processor time and the most memory it had.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use carpel_bench_endpoint::TICKS_PER_SECOND;

use super::error::{self, BenchError};

/// Processor time of a process with all its threads, and with the children that it has waited for.
pub(crate) fn processor_time(pid: i32) -> Result<Duration, BenchError> {
    let path = PathBuf::from(format!("/proc/{pid}/stat"));
    let text = fs::read_to_string(&path).map_err(error::file("read", &path))?;
    let ticks = ticks(&text).ok_or(BenchError::Text { path })?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// utime, stime, cutime and cstime are the fields 14 to 17; the name before them may hold spaces.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields = rest.split(' ').skip(11).take(4);
    let numbers: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
    (numbers.len() == 4).then(|| numbers.iter().sum())
}

/// Lets the kernel forget the peak so far: proc_pid_clear_refs(5).
pub(crate) fn forget_peak(pid: i32) -> Result<(), BenchError> {
    let path = PathBuf::from(format!("/proc/{pid}/clear_refs"));
    let outcome = fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"5"));
    outcome.map_err(error::file("write", &path))
}

/// The most resident memory since then, in KiB.
pub(crate) fn peak_kib(pid: i32) -> Result<u64, BenchError> {
    let path = PathBuf::from(format!("/proc/{pid}/status"));
    let text = fs::read_to_string(&path).map_err(error::file("read", &path))?;
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or(BenchError::Text { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_of_process_and_children() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(127));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn the_peak_is_forgotten_and_found_again() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let mut memory = vec![1_u8; 64 << 20];
        memory[5] = 2;
        let with = peak_kib(pid).unwrap();
        assert!(with > 64 << 10, "{with} {}", memory.len());
        drop(memory);
        forget_peak(pid).unwrap();
        assert!(peak_kib(pid).unwrap() < with);
    }
}
