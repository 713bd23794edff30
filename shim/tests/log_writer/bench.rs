//! Throughput and CPU time of the writer, and what it costs when it is idle.

use super::support::Pod;
use super::support::pipe;
use std::fs;
use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::process::Stdio;
use std::time::Instant;

const MEBIBYTES: usize = 512;

pub(crate) fn run() {
    for chunk in [64 << 10, 4 << 10, 100] {
        measure(chunk);
    }
}

/// Lines of 100 bytes, written by `dd`-like writes of one chunk, through the writer and directly.
fn measure(chunk: usize) {
    let mut pod = Pod::new();
    let bytes = if chunk < 1000 {
        MEBIBYTES << 18
    } else {
        MEBIBYTES << 20
    };
    let direct = File::create(pod.path("direct")).unwrap();
    let begin = Instant::now();
    assert!(
        chunks(chunk, bytes, direct.into())
            .wait()
            .unwrap()
            .success()
    );
    let direct = begin.elapsed().as_secs_f64();
    fs::remove_file(pod.path("direct")).unwrap();

    let (stdout, end) = pipe();
    pod.add("c", stdout, None);
    let before = memory(&pod);
    let begin = Instant::now();
    let mut producer = chunks(chunk, bytes, end.into());
    assert!(producer.wait().unwrap().success());
    let produced = begin.elapsed().as_secs_f64();
    let pid = pod.writer.writer_pid().unwrap();
    pod.wait_until(|_| false_after_drained(&pod_path(&pid)));
    let all = begin.elapsed().as_secs_f64();
    let (user, system) = cpu_seconds(&pod);
    let gigabytes = bytes as f64 / 1e9;
    println!(
        "chunk {chunk}: direct {:.0} MB/s, producer {:.0} MB/s, all {:.0} MB/s, {:.2} + {:.2} CPU s/GB, idle before {before}",
        gigabytes * 1e3 / direct,
        gigabytes * 1e3 / produced,
        gigabytes * 1e3 / all,
        user / gigabytes,
        system / gigabytes,
    );
    let idle = Instant::now();
    pod.wait_until(|_| idle.elapsed().as_secs() >= 3);
    println!("  idle after: {}", memory(&pod));
    assert_eq!(pod.finish("c"), 0);
}

fn pod_path(pid: &rustix::process::Pid) -> String {
    format!("/proc/{}/wchan", pid.as_raw_nonzero())
}

/// Whether the writer waits again.
fn false_after_drained(wchan: &str) -> bool {
    fs::read_to_string(wchan).is_ok_and(|place| place.contains("poll"))
}

fn chunks(chunk: usize, bytes: usize, output: Stdio) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["chunks", &chunk.to_string(), &bytes.to_string()])
        .stdout(output)
        .spawn()
        .unwrap()
}

/// The producer of the measurement.
pub(crate) fn chunks_here(arguments: &[String]) {
    let chunk: usize = arguments[1].parse().unwrap();
    let bytes: usize = arguments[2].parse().unwrap();
    let line = [[b'x'; 99].as_slice(), b"\n"].concat();
    let lines = line.repeat(chunk.div_ceil(100));
    let mut output = File::from(rustix::io::dup(rustix::stdio::stdout()).unwrap());
    for _ in 0..bytes / lines.len() {
        output.write_all(&lines).unwrap();
    }
}

/// User and system time.
fn cpu_seconds(pod: &Pod) -> (f64, f64) {
    let pid = pod.writer.writer_pid().unwrap().as_raw_nonzero();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    let seconds = |field: &str| field.parse::<f64>().unwrap() / 100.0;
    (seconds(fields[11]), seconds(fields[12]))
}

/// Proportional and own memory in KiB.
fn memory(pod: &Pod) -> String {
    let pid = pod.writer.writer_pid().unwrap().as_raw_nonzero();
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let wanted = ["Rss:", "Pss:", "Private_Dirty:", "Anonymous:"];
    let lines = rollup
        .lines()
        .filter(|line| wanted.iter().any(|name| line.starts_with(name)));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join(", ")
}
