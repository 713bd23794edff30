//! The log writer as a process, with real pipes, files, a full disk and a killed writer. `--bench` measures instead.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test without a harness reports and panics"
)]

#[path = "../src/log/mod.rs"]
#[allow(dead_code, unused_imports, reason = "their unit tests are the shim's")]
mod log;

#[path = "log_writer/bench.rs"]
mod bench;
#[path = "log_writer/support.rs"]
mod support;

use carpel_linux::mount;
use carpel_linux::namespace;
use log::LogEvent;
use log::LogWriter;
use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::process::Signal;
use std::fs;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use support::Pod;
use support::Source;
use support::bytes_of;
use support::payload;
use support::pipe;
use support::produce;

type Outcome = Result<(), &'static str>;

/// Its name and itself.
type Test = (&'static str, fn() -> Outcome);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("produce") => return support::produce_here(&arguments),
        Some("chunks") => return bench::chunks_here(&arguments),
        Some("--bench") => return bench::run(),
        _ => {}
    }
    let tests: [Test; 11] = [
        ("all_output_of_all_containers_arrives", all_output_arrives),
        (
            "reopening_under_load_loses_and_doubles_nothing",
            reopen_under_load,
        ),
        ("a_killed_writer_is_replaced", killed_writer),
        ("finish_does_not_wait_for_the_end", finish_with_open_pipe),
        ("a_terminal_ends_when_its_last_user_leaves", terminal),
        ("nothing_is_kept_without_a_path", discarded),
        ("a_removed_container_is_forgotten", removed),
        ("without_the_shim_output_is_written_to_its_end", shim_gone),
        ("stopping_leaves_no_process", stopped),
        ("root_a_full_disk_stops_no_container", full_disk),
        ("root_a_read_only_disk_stops_no_container", read_only_disk),
    ];
    let wanted = |name: &str| arguments.iter().all(|part| name.contains(part.as_str()));
    for (name, test) in tests.into_iter().filter(|(name, _)| wanted(name)) {
        match test() {
            Ok(()) => println!("test {name} ... ok"),
            Err(reason) => println!("test {name} ... SKIP {reason}"),
        }
    }
}

fn all_output_arrives() -> Outcome {
    let mut pod = Pod::new();
    let sources: Vec<Source> = (1..=4)
        .map(|seed| Source {
            seed,
            bytes: 16 << 20,
        })
        .collect();
    let mut producers = Vec::new();
    for pair in sources.chunks(2) {
        let (stdout, out_end) = pipe();
        let (stderr, err_end) = pipe();
        producers.push(produce(pair[0], out_end));
        producers.push(produce(pair[1], err_end));
        let id = format!("c{}", pair[0].seed);
        pod.add(&id, stdout, Some(stderr));
    }
    for mut producer in producers {
        assert!(producer.wait().unwrap().success());
    }
    for pair in sources.chunks(2) {
        let id = format!("c{}", pair[0].seed);
        assert_eq!(pod.finish(&id), 0);
        let log = fs::read(pod.path(&id)).unwrap();
        assert!(
            payload(&log, "stdout") == bytes_of(pair[0]),
            "stdout differs"
        );
        assert!(
            payload(&log, "stderr") == bytes_of(pair[1]),
            "stderr differs"
        );
    }
    Ok(())
}

fn reopen_under_load() -> Outcome {
    let mut pod = Pod::new();
    let source = Source {
        seed: 9,
        bytes: 48 << 20,
    };
    let (stdout, end) = pipe();
    let mut producer = produce(source, end);
    pod.add("c", stdout, None);
    let path = pod.path("c");
    pod.wait_until(|_| path.exists());
    let mut rotated: Vec<(std::path::PathBuf, u64)> = Vec::new();
    while producer.try_wait().unwrap().is_none() && rotated.len() < 200 {
        let old = path.with_extension(format!("{:03}", rotated.len()));
        fs::rename(&path, &old).unwrap();
        pod.writer.reopen("c").unwrap();
        let answer = pod.wait_for(|event| matches!(event, LogEvent::Reopened { .. }));
        assert_eq!(
            answer,
            LogEvent::Reopened {
                container_id: "c".into(),
                errno: 0
            }
        );
        let size = fs::metadata(&old).unwrap().len();
        rotated.push((old, size));
    }
    assert!(producer.wait().unwrap().success());
    assert_eq!(pod.finish("c"), 0);
    assert!(rotated.len() > 1, "it was over before anything was rotated");
    let mut whole = Vec::new();
    for (old, size) in &rotated {
        let log = fs::read(old).unwrap();
        assert_eq!(log.len() as u64, *size, "written to after the answer");
        whole.extend(log);
    }
    whole.extend(fs::read(&path).unwrap());
    assert!(
        payload(&whole, "stdout") == bytes_of(source),
        "the content differs"
    );

    // Into a directory that is gone: an error, and the old file goes on.
    let (stdout, end) = pipe();
    let folder = pod.folder.path().join("gone");
    fs::create_dir(&folder).unwrap();
    pod.add_at("d", &folder.join("d.log"), stdout);
    File::from(end.try_clone().unwrap())
        .write_all(b"one\n")
        .unwrap();
    let kept = pod.folder.path().join("kept");
    pod.wait_until(|_| fs::metadata(folder.join("d.log")).is_ok_and(|file| file.len() > 0));
    fs::rename(folder.join("d.log"), &kept).unwrap();
    fs::remove_dir(&folder).unwrap();
    pod.writer.reopen("d").unwrap();
    let answer = pod.wait_for(|event| matches!(event, LogEvent::Reopened { .. }));
    let errno = Errno::NOENT.raw_os_error();
    assert_eq!(
        answer,
        LogEvent::Reopened {
            container_id: "d".into(),
            errno
        }
    );
    File::from(end).write_all(b"two\n").unwrap();
    assert_eq!(pod.finish("d"), 0);
    assert_eq!(payload(&fs::read(kept).unwrap(), "stdout"), b"one\ntwo\n");
    Ok(())
}

fn killed_writer() -> Outcome {
    let mut pod = Pod::new();
    let (stdout, end) = pipe();
    let (other, other_end) = pipe();
    pod.add("c", stdout, None);
    let mut input = File::from(end);
    input.write_all(b"before\n").unwrap();
    let path = pod.path("c");
    pod.wait_until(|_| fs::metadata(&path).is_ok_and(|file| file.len() > 0));

    // Stopped, so that everything from here on is in the pipe, and the commands in the socket, when it is killed.
    let first = pod.writer.writer_pid().unwrap();
    rustix::process::kill_process(first, Signal::STOP).unwrap();
    let source = Source {
        seed: 3,
        bytes: 60_000,
    };
    input.write_all(&bytes_of(source)).unwrap();
    pod.add("d", other, None);
    File::from(other_end).write_all(b"added\n").unwrap();
    let old = path.with_extension("old");
    fs::rename(&path, &old).unwrap();
    pod.writer.reopen("c").unwrap();
    rustix::process::kill_process(first, Signal::KILL).unwrap();
    pod.reap();
    let second = pod.writer.writer_pid().unwrap();
    assert_ne!(first, second);
    pod.wait_for(|event| *event == LogEvent::WriterDied);
    pod.wait_for(|event| matches!(event, LogEvent::Reopened { errno: 0, .. }));
    input.write_all(b"after\n").unwrap();
    assert_eq!(pod.finish("c"), 0);
    assert_eq!(pod.finish("d"), 0);
    let mut whole = fs::read(&old).unwrap();
    whole.extend(fs::read(&path).unwrap());
    let mut expected = b"before\n".to_vec();
    expected.extend(bytes_of(source));
    expected.extend(b"after\n");
    assert!(payload(&whole, "stdout") == expected, "the content differs");
    assert_eq!(
        payload(&fs::read(pod.path("d")).unwrap(), "stdout"),
        b"added\n"
    );

    // Killed while somebody waits for the end of a container.
    let (stdout, end) = pipe();
    pod.add("e", stdout, None);
    rustix::process::kill_process(second, Signal::STOP).unwrap();
    File::from(end).write_all(b"last words").unwrap();
    pod.writer.finish("e");
    rustix::process::kill_process(second, Signal::KILL).unwrap();
    pod.reap();
    let finished = pod.wait_for(|event| matches!(event, LogEvent::Finished { .. }));
    assert_eq!(
        finished,
        LogEvent::Finished {
            container_id: "e".into(),
            lost_lines: 0
        }
    );
    assert_eq!(
        payload(&fs::read(pod.path("e")).unwrap(), "stdout"),
        b"last words"
    );
    Ok(())
}

fn finish_with_open_pipe() -> Outcome {
    let mut pod = Pod::new();
    let (stdout, end) = pipe();
    pod.add("c", stdout, None);
    File::from(end.try_clone().unwrap())
        .write_all(b"line\nunfinished")
        .unwrap();
    assert_eq!(pod.finish("c"), 0);
    let log = fs::read(pod.path("c")).unwrap();
    assert_eq!(payload(&log, "stdout"), b"line\nunfinished");
    assert!(log.ends_with(b" stdout P unfinished\n"));
    // Nobody reads any more.
    assert_eq!(rustix::io::write(&end, b"x"), Err(Errno::PIPE));
    // Who is not known has nothing to finish.
    assert_eq!(pod.finish("c"), 0);
    Ok(())
}

fn terminal() -> Outcome {
    use rustix::pty::OpenptFlags;
    let mut pod = Pod::new();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let Ok(master) = rustix::pty::openpt(flags) else {
        return Err("no terminals here");
    };
    rustix::pty::unlockpt(&master).unwrap();
    let user = carpel_linux::terminal::open_peer(master.as_fd()).unwrap();
    pod.add("c", master, None);
    File::from(user).write_all(b"hello\nthere").unwrap();
    assert_eq!(pod.finish("c"), 0);
    let log = fs::read(pod.path("c")).unwrap();
    assert_eq!(payload(&log, "stdout"), b"hello\r\nthere");
    Ok(())
}

fn discarded() -> Outcome {
    let mut pod = Pod::new();
    let (stdout, end) = pipe();
    pod.writer.add("c", b"", stdout, None).unwrap();
    let mut producer = produce(
        Source {
            seed: 5,
            bytes: 4 << 20,
        },
        end,
    );
    assert!(producer.wait().unwrap().success());
    assert_eq!(pod.finish("c"), 0);
    assert_eq!(fs::read_dir(pod.folder.path()).unwrap().count(), 0);
    Ok(())
}

fn removed() -> Outcome {
    let mut pod = Pod::new();
    let (stdout, end) = pipe();
    pod.add("c", stdout, None);
    let (second, _second_end) = pipe();
    let twice = pod.writer.add("c", b"", second, None);
    assert_eq!(twice, Err(Errno::EXIST));
    pod.writer.remove("c");
    assert_eq!(pod.writer.reopen("c"), Err(Errno::NOENT));
    pod.wait_until(|_| rustix::io::write(&end, b"x") == Err(Errno::PIPE));
    Ok(())
}

fn shim_gone() -> Outcome {
    let mut pod = Pod::new();
    let (stdout, end) = pipe();
    pod.add("c", stdout, None);
    let process = pod.writer.writer_pid().unwrap();
    let path = pod.path("c");
    pod.writer = LogWriter::new();
    let mut input = File::from(end);
    input.write_all(b"said without a shim\n").unwrap();
    drop(input);
    let status = rustix::process::waitpid(Some(process), rustix::process::WaitOptions::empty());
    assert_eq!(status.unwrap().unwrap().1.exit_status(), Some(0));
    assert_eq!(
        payload(&fs::read(path).unwrap(), "stdout"),
        b"said without a shim\n"
    );
    Ok(())
}

fn stopped() -> Outcome {
    let mut pod = Pod::new();
    let (stdout, _end) = pipe();
    pod.add("c", stdout, None);
    let process = pod.writer.writer_pid();
    pod.writer.stop();
    assert_eq!(pod.writer.writer_pid(), None);
    // Reaped, although a container's output had not ended.
    let none = rustix::process::waitpid(process, rustix::process::WaitOptions::empty());
    assert_eq!(none.err(), Some(Errno::CHILD));
    Ok(())
}

fn full_disk() -> Outcome {
    let mut pod = Pod::new();
    let disk = small_disk(&pod)?;
    let filler = disk.join("filler");
    let mut file = File::create(&filler).unwrap();
    file.write_all(&vec![0; 700 << 10]).unwrap();
    drop(file);
    lines_are_lost(&mut pod, &disk, Errno::NOSPC, || {
        fs::remove_file(&filler).unwrap();
    });
    unmount(&disk);
    Ok(())
}

fn read_only_disk() -> Outcome {
    let mut pod = Pod::new();
    let disk = small_disk(&pod)?;
    let remount = |flags| rustix::mount::mount_remount(&disk, flags, "size=16m").unwrap();
    remount(MountFlags::RDONLY);
    lines_are_lost(
        &mut pod,
        &disk,
        Errno::ROFS,
        || remount(MountFlags::empty()),
    );
    unmount(&disk);
    Ok(())
}

/// A file system of 1 MiB in the pod's folder, mounted for this process alone.
fn small_disk(pod: &Pod) -> Result<PathBuf, &'static str> {
    if !rustix::process::geteuid().is_root() {
        return Err("not root");
    }
    namespace::unshare(namespace::Namespaces::MOUNT).unwrap();
    mount::set_propagation("/", mount::Propagation::Private, mount::Depth::Recursive).unwrap();
    let disk = pod.folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let target: OwnedFd = File::open(&disk).unwrap().into();
    mount::mount("tmpfs", target.as_fd(), "tmpfs", 0, "size=1m").unwrap();
    Ok(disk)
}

fn unmount(disk: &Path) {
    rustix::mount::unmount(disk, rustix::mount::UnmountFlags::DETACH).unwrap();
}

/// A container writes to a log on a disk that does not take it, for this reason, and again when it does: the container
/// is not held up, and the lines that are missing are counted.
fn lines_are_lost(pod: &mut Pod, disk: &Path, reason: Errno, mend: impl FnOnce()) {
    let path = disk.join("c.log");
    let (stdout, end) = pipe();
    pod.add_at("c", &path, stdout);
    let source = Source {
        seed: 8,
        bytes: 4 << 20,
    };
    let mut producer = produce(source, end.try_clone().unwrap());
    let reason = reason.raw_os_error();
    pod.wait_for(|event| matches!(event, LogEvent::Trouble { errno, .. } if *errno == reason));
    assert!(
        producer.wait().unwrap().success(),
        "the producer is not held up"
    );

    pod.wait_until(|_| rustix::io::ioctl_fionread(&end) == Ok(0));

    // The next lines are written, and that it is over is told.
    mend();
    let mut input = File::from(end);
    let mut more = 0;
    let over = pod.wait_until(|events| {
        if more < 200 {
            input.write_all(b"room again\n").unwrap();
            more += 1;
        }
        events
            .iter()
            .any(|event| matches!(event, LogEvent::Trouble { errno: 0, .. }))
    });
    assert!(over.iter().any(
        |event| matches!(event, LogEvent::Trouble { errno: 0, lost_lines, .. } if *lost_lines > 0)
    ));
    let lost = pod.finish("c");
    assert_lines_are_whole(&path, source, lost, more);
}

/// Every line in the log is one that was produced, in their order, and those that are missing have been counted.
fn assert_lines_are_whole(path: &Path, source: Source, lost: u64, more: usize) {
    let produced = support::log_lines(&bytes_of(source), more);
    let log = fs::read(path).unwrap();
    assert!(log.ends_with(b"room again\n"));
    let mut expected = produced.iter();
    let mut found = 0;
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        let line = &line[support::TIME..];
        assert!(
            expected.any(|produced| produced == line),
            "not a produced line: {line:?}"
        );
        found += 1;
    }
    assert_eq!(found + lost, produced.len() as u64);
    assert!(lost > 0);
}
