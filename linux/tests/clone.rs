//! clone3 from a process with one thread (the reason for a `main` of its own).
#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]
#![allow(
    clippy::print_stdout,
    reason = "the report of a test without a harness"
)]

use carpel_linux::clone::CloneRequest;
use carpel_linux::clone::Cloned;
use carpel_linux::clone::clone_process;
use carpel_linux::namespace::Namespaces;
use carpel_linux::process::exit_now;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::path::PathBuf;

fn main() {
    type Test = fn() -> Result<(), &'static str>;
    let tests: [(&str, Test); 4] = [
        ("a_caller_with_threads_is_refused", refuses_threads),
        ("root_the_child_is_in_the_cgroup", child_is_in_the_cgroup),
        ("root_the_child_is_pid_1_of_a_new_namespace", child_is_pid_1),
        (
            "the_child_keeps_only_what_it_is_given",
            child_keeps_descriptors,
        ),
    ];
    for (name, test) in tests {
        match test() {
            Ok(()) => println!("test {name} ... ok"),
            Err(reason) => println!("test {name} ... SKIP {reason}"),
        }
    }
}

/// The exit code of a child that runs `child`.
fn run(
    request: &CloneRequest<'_>,
    child: impl FnOnce(carpel_linux::clone::ChildProcess) -> i32,
) -> i32 {
    match clone_process(request).unwrap() {
        Cloned::Child(process) => exit_now(child(process)),
        Cloned::Parent { pidfd, .. } => {
            let id = WaitId::PidFd(pidfd.as_fd());
            let status = rustix::process::waitid(id, WaitIdOptions::EXITED)
                .unwrap()
                .unwrap();
            status.exit_status().unwrap()
        }
    }
}

fn refuses_threads() -> Result<(), &'static str> {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || receiver.recv());
    let error = clone_process(&CloneRequest::default()).unwrap_err();
    assert_eq!(error.errno(), Errno::AGAIN);
    drop(sender);
    assert!(thread.join().unwrap().is_err());
    Ok(())
}

fn cgroup_root() -> Option<PathBuf> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.join("cgroup.procs").exists() && !path.join("tasks").exists())
}

fn child_is_in_the_cgroup() -> Result<(), &'static str> {
    let root = cgroup_root().ok_or("no cgroup2 is mounted")?;
    let name = format!("carpel-test-{}", std::process::id());
    let path = root.join(&name);
    fs::create_dir(&path).map_err(|_error| "no right to make a cgroup")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
    let request = CloneRequest {
        cgroup: Some(directory.as_fd()),
        ..CloneRequest::default()
    };
    let code = run(&request, |_process| {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let found = own
            .lines()
            .any(|line| line.starts_with("0::") && line.ends_with(&name));
        i32::from(!found)
    });
    fs::remove_dir(Path::new(&path)).unwrap();
    assert_eq!(code, 0, "the child is not in {}", path.display());
    Ok(())
}

fn child_is_pid_1() -> Result<(), &'static str> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root");
    }
    let request = CloneRequest {
        namespaces: Namespaces::PID | Namespaces::UTS | Namespaces::IPC,
        ..CloneRequest::default()
    };
    let code = run(&request, |_process| {
        rustix::process::getpid().as_raw_nonzero().get()
    });
    assert_eq!(code, 1);
    Ok(())
}

fn child_keeps_descriptors() -> Result<(), &'static str> {
    let null = fs::File::open("/dev/null").unwrap();
    let (left, right) = carpel_linux::socket::pair().unwrap();
    let code = run(&CloneRequest::default(), |process| {
        let kept = [null.as_fd(), null.as_fd(), null.as_fd(), left.as_fd()];
        let owned = process.keep_only(&kept).unwrap();
        let [socket] = owned.as_slice() else {
            return 100;
        };
        carpel_linux::socket::send(socket.as_fd(), b"x", &[]).unwrap();
        // 0, 1, 2, the socket, and the directory that is being read.
        i32::try_from(fs::read_dir("/proc/self/fd").unwrap().count()).unwrap()
    });
    assert_eq!(code, 5);
    let mut buffer = [0; 4];
    drop(left);
    assert_eq!(
        carpel_linux::socket::receive(right.as_fd(), &mut buffer)
            .unwrap()
            .length,
        1
    );
    // The child was the other holder of its end.
    assert_eq!(
        carpel_linux::socket::receive(right.as_fd(), &mut buffer)
            .unwrap()
            .length,
        0
    );
    Ok(())
}
