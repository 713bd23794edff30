//! The shim itself: exec, reconnection, the deaths of its processes, and what is left behind.
#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]
#![allow(clippy::panic, reason = "as above")]

mod support;

use carpel_linux::socket;
use carpel_shim_protocol::message::request::Operation;
use carpel_shim_protocol::message::response::Result as Answer;
use carpel_shim_protocol::message::*;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use std::fs;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use support::Pod;
use support::exec_of;

/// Ends the test with the reason why it cannot run here, if there is one.
macro_rules! needs_a_node {
    () => {
        if let Some(reason) = support::obstacle() {
            println!("SKIP {reason}");
            return;
        }
    };
}

fn sleeping_pod() -> Pod {
    let mut pod = Pod::new();
    pod.run(pod.container("a", "echo > /share/up; while :; do sleep 1000; done"));
    pod.wait_for("up");
    pod
}

#[test]
fn root_an_exec_is_in_the_container() {
    needs_a_node!();
    let mut pod = sleeping_pod();
    let line = "cat /proc/1/cmdline; hostname; echo $(readlink /proc/self/ns/mnt); cat /proc/self/cgroup | grep ^0::; pwd; exit 5";
    let mut exec = exec_of("a", "e1", &["sh", "-c", line]);
    exec.process.as_mut().unwrap().working_directory = "/etc".into();
    let result = pod.exec(exec).unwrap();
    assert_eq!(
        (result.exited.exit_code, result.exited.timed_out),
        (5, false)
    );
    assert!(result.stdout.contains("pod-host\n"), "{}", result.stdout);
    assert!(result.stdout.contains("0::/\n/etc\n"), "{}", result.stdout);
    let result = pod
        .exec(exec_of("a", "e2", &["sh", "-c", "kill -9 $$"]))
        .unwrap();
    assert_eq!((result.exited.exit_code, result.exited.signal), (137, 9));
    let mut exec = exec_of("a", "e3", &["id", "-u"]);
    exec.process.as_mut().unwrap().user = Some(User {
        name: "alice".into(),
        ..User::default()
    });
    assert_eq!(pod.exec(exec).unwrap().stdout, "1000\n");
}

#[test]
fn root_an_exec_that_fails_says_why() {
    needs_a_node!();
    let mut pod = sleeping_pod();
    for (program, errno) in [("/bin/missing", 2), ("missing", 2), ("/etc/passwd", 13)] {
        let failure = pod.exec(exec_of("a", program, &[program])).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::FailureExecute);
        assert_eq!(
            (failure.errno, failure.step),
            (errno, format!("execute {program:?}"))
        );
    }
    let mut exec = exec_of("a", "directory", &["true"]);
    exec.process.as_mut().unwrap().working_directory = "/missing".into();
    let failure = pod.exec(exec).unwrap_err();
    assert_eq!(
        (failure.errno, failure.step.as_str()),
        (2, "enter working directory \"/missing\"")
    );
    let failure = pod.exec(exec_of("missing", "x", &["true"])).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::FailureNotFound);
    pod.create(pod.container("created", "true")).unwrap();
    let failure = pod.exec(exec_of("created", "x", &["true"])).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::FailureWrongState);
}

#[test]
fn root_at_its_deadline_an_exec_is_killed_with_all_of_its_session() {
    needs_a_node!();
    let mut pod = Pod::new();
    let mut create = pod.container("a", "echo > /share/up; while :; do sleep 1000; done");
    create.pid = ContainerNamespace::NamespaceHost.into();
    pod.run(create);
    pod.wait_for("up");
    let line = "sleep 1001 & echo $! > /share/child; echo $$ > /share/shell; sleep 1002";
    let mut exec = exec_of("a", "late", &["sh", "-c", line]);
    exec.timeout_nanoseconds = 200_000_000;
    let start = std::time::Instant::now();
    let result = pod.exec(exec).unwrap();
    let took = start.elapsed().as_millis();
    assert_eq!(
        (result.exited.exit_code, result.exited.timed_out),
        (137, true)
    );
    assert!((200..2000).contains(&took), "{took} ms");
    for name in ["child", "shell"] {
        let pid = pod.shared(name).trim().parse().unwrap();
        support::wait_until("the end of the exec", || !support::is_alive(pid));
    }
}

#[test]
fn root_an_exec_may_have_a_terminal() {
    needs_a_node!();
    let mut pod = sleeping_pod();
    let mut exec = exec_of("a", "tty", &["sh", "-c", "tty; [ -t 0 ] && exit 9"]);
    exec.process.as_mut().unwrap().terminal = true;
    let (answer, mut descriptors) = pod.ask_with(Operation::Exec(exec), &[]);
    assert!(matches!(answer, Answer::Exec(_)), "{answer:?}");
    let master = descriptors.pop().unwrap();
    let exited = pod.event(|body| match body {
        event::Body::ExecExited(exited) => Some(exited),
        _ => None,
    });
    assert_eq!(exited.exit_code, 9);
    let mut buffer = [0; 100];
    let read = rustix::io::read(&master, &mut buffer).unwrap();
    assert_eq!(&buffer[..read], b"/dev/pts/0\r\n");
}

#[test]
fn root_execs_end_with_their_container() {
    needs_a_node!();
    let mut pod = sleeping_pod();
    let null = fs::File::open("/dev/null").unwrap();
    let descriptors = [null.as_fd(), null.as_fd(), null.as_fd()];
    let exec = Operation::Exec(exec_of("a", "long", &["sleep", "1000"]));
    assert!(matches!(
        pod.ask_with(exec, &descriptors).0,
        Answer::Exec(_)
    ));
    pod.signal("a", 9, SignalScope::FirstProcess);
    let (mut container, mut exec) = (None, None);
    while container.is_none() || exec.is_none() {
        pod.event(|body| match body {
            event::Body::ContainerExited(_) | event::Body::ExecExited(_) => Some(body),
            _ => None,
        })
        .clone_into_either(&mut container, &mut exec);
    }
    assert_eq!(exec.unwrap().signal, 9);
}

/// Sorts the two events that a test waits for.
trait CloneIntoEither {
    fn clone_into_either(
        self,
        container: &mut Option<ContainerExited>,
        exec: &mut Option<ExecExited>,
    );
}

impl CloneIntoEither for event::Body {
    fn clone_into_either(
        self,
        container: &mut Option<ContainerExited>,
        exec: &mut Option<ExecExited>,
    ) {
        match self {
            Self::ContainerExited(exited) => *container = Some(exited),
            Self::ExecExited(exited) => *exec = Some(exited),
            _ => {}
        }
    }
}

fn connect(pod: &Pod) -> OwnedFd {
    let directory = fs::File::open(pod.pod_directory()).unwrap();
    socket::connect_in(directory.as_fd(), "shim.sock").unwrap()
}

fn is_closed(socket: &OwnedFd) -> bool {
    let mut wanted = [PollFd::new(socket, PollFlags::IN)];
    let timeout = rustix::event::Timespec {
        tv_sec: 5,
        tv_nsec: 0,
    };
    assert_eq!(rustix::event::poll(&mut wanted, Some(&timeout)), Ok(1));
    let mut buffer = [0; 16];
    !matches!(socket::receive(socket.as_fd(), &mut buffer), Ok(received) if received.length > 0)
}

#[test]
fn root_a_new_connection_replaces_the_old_one_and_gets_what_it_missed() {
    needs_a_node!();
    let mut pod = Pod::new();
    pod.run(pod.container("a", "until [ -e /share/go ]; do sleep 0.01; done; exit 3"));
    pod.create(pod.container("b", "true")).unwrap();
    let seen = pod.hello(0).event_sequence;
    // The daemon dies; the container goes on, and its exit is recorded.
    pod.socket = socket::pair().unwrap().0;
    support::write_file(&pod.share().join("go"), "").unwrap();
    let record = pod.pod_directory().join("containers/a/exit.json");
    support::wait_until("the record", || record.exists());
    pod.socket = connect(&pod);
    let state = pod.hello(seen);
    assert_eq!(state.version, 1);
    assert_eq!(state.shim_pid, i32::try_from(pod.shim.id()).unwrap());
    assert!(state.infra_pid > 0 && !state.infra_exited);
    let stages: Vec<_> = state
        .containers
        .iter()
        .map(|container| (container.container_id.as_str(), container.stage()))
        .collect();
    assert_eq!(
        stages,
        [
            ("a", container_state::Stage::Exited),
            ("b", container_state::Stage::Created)
        ]
    );
    assert_eq!(state.containers[0].exit.as_ref().unwrap().exit_code, 3);
    assert_eq!(pod.exit_of("a").exit_code, 3);
    // Nothing of what was seen comes again.
    let newer = pod.hello(state.event_sequence);
    assert_eq!(newer.event_sequence, state.event_sequence);
    assert!(pod.events.is_empty());
    // Another one takes over.
    let new = connect(&pod);
    let old = std::mem::replace(&mut pod.socket, new);
    assert_eq!(pod.hello(0).containers.len(), 2);
    assert!(is_closed(&old));
    assert_eq!(pod.start("b").map(|_| ()), Ok(()));
    pod.shut_down();
}

#[test]
fn root_only_root_may_connect() {
    needs_a_node!();
    let mut pod = Pod::new();
    let open = |path: &Path| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    };
    open(pod.directory.path());
    open(&pod.pod_directory());
    open(&pod.pod_directory().join("shim.sock"));
    let directory = pod.pod_directory();
    // The user of this one thread only.
    let foreign = std::thread::spawn(move || {
        let directory = fs::File::open(directory).unwrap();
        carpel_linux::credentials::set_user(1000).unwrap();
        socket::connect_in(directory.as_fd(), "shim.sock").unwrap()
    });
    assert!(is_closed(&foreign.join().unwrap()));
    let notice = pod.event(|body| match body {
        event::Body::Notice(notice) => Some(notice.text),
        _ => None,
    });
    assert_eq!(notice, "a connection of uid 1000 was refused");
}

#[test]
fn root_garbage_ends_the_connection_and_nothing_else() {
    needs_a_node!();
    let mut pod = sleeping_pod();
    socket::send(pod.socket.as_fd(), b"\xff\xff\xff", &[]).unwrap();
    assert!(is_closed(&pod.socket));
    pod.socket = connect(&pod);
    assert_eq!(
        pod.hello(0).containers[0].stage(),
        container_state::Stage::Running
    );
}

#[test]
fn root_a_killed_infra_process_is_told() {
    needs_a_node!();
    let mut pod = sleeping_pod();
    let infra = pod.hello(0).infra_pid;
    let name = fs::read_to_string(format!("/proc/{infra}/comm")).unwrap();
    assert_eq!(name, "carpel-infra\n");
    assert_eq!(
        fs::read_dir(format!("/proc/{infra}/fd")).unwrap().count(),
        0
    );
    let status = fs::read_to_string(format!("/proc/{infra}/status")).unwrap();
    for line in [
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(line), "{line} is not in\n{status}");
    }
    let pid = rustix::process::Pid::from_raw(infra).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let exited = pod.event(|body| match body {
        event::Body::InfraExited(exited) => Some(exited),
        _ => None,
    });
    assert_eq!((exited.exit_code, exited.signal), (137, 9));
    let state = pod.hello(0);
    assert!(state.infra_exited && state.infra_pid == 0);
    // Stopping goes on as ever.
    pod.signal("a", 9, SignalScope::All);
    assert!(pod.exit_of("a").killed_on_request);
    pod.shut_down();
}

#[test]
fn root_a_sandbox_that_cannot_be_made_is_undone() {
    needs_a_node!();
    let mut pod = Pod::spawn();
    type Change = fn(&mut CreateSandbox);
    let table: [(&str, Change); 4] = [
        ("cgroup", |sandbox| {
            sandbox.infra_cgroup.push_str("/missing")
        }),
        ("sysctl", |sandbox| {
            sandbox.sysctls[0].name = "kernel.panic".into()
        }),
        ("pod's directory", |sandbox| {
            sandbox.directory.push_str("/missing")
        }),
        ("hostname", |sandbox| sandbox.hostname = "x".repeat(100)),
    ];
    for (word, change) in table {
        let mut sandbox = pod.sandbox();
        change(&mut sandbox);
        match pod.ask(Operation::CreateSandbox(sandbox)) {
            Answer::Failure(failure) => assert!(failure.step.contains(word), "{failure:?}"),
            other => panic!("{other:?}"),
        }
    }
    let answer = pod.ask(Operation::CreateSandbox(pod.sandbox()));
    assert!(matches!(answer, Answer::CreateSandbox(_)), "{answer:?}");
    pod.shut_down();
}

/// What a test might leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    mounts: usize,
    descriptors: usize,
    children: usize,
}

fn left(shim: u32) -> Left {
    let count = |path: String| fs::read_dir(path).unwrap().count();
    let children = fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
    Left {
        mounts: fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .lines()
            .count(),
        descriptors: count(format!("/proc/{shim}/fd")),
        children: children.split_whitespace().count(),
    }
}

#[test]
fn root_nothing_is_left_of_what_came_and_went() {
    needs_a_node!();
    let mut pod = Pod::new();
    let shim = pod.shim.id();
    let mut round = |number: usize| {
        let id = format!("c{number}");
        pod.run(pod.container(&id, "echo > /share/up; while :; do sleep 1000; done"));
        pod.exec(exec_of(&id, &id, &["true"])).unwrap();
        pod.exec(exec_of(&id, "missing", &["/missing"]))
            .unwrap_err();
        pod.signal(&id, 9, SignalScope::All);
        pod.exit_of(&id);
        pod.remove(&id);
        // One that cannot be made, one that cannot be started, one that is not wanted any more.
        let mut bad = pod.container("bad", "true");
        bad.process.as_mut().unwrap().user = Some(User {
            name: "no-such-user".into(),
            ..User::default()
        });
        pod.create(bad).unwrap_err();
        pod.create(pod.container_of("unstartable", &["/missing"]))
            .unwrap();
        pod.start("unstartable").unwrap_err();
        pod.exit_of("unstartable");
        pod.remove("unstartable");
        fs::remove_dir(pod.cgroup.join("unstartable")).unwrap();
        pod.create(pod.container("unwanted", "true")).unwrap();
        pod.remove("unwanted");
    };
    round(0);
    support::wait_until("the end of the cleaner", || left(shim).children == 2);
    let first = left(shim);
    for number in 1..4 {
        // A process that takes mounts down may end a little later.
        round(number);
        support::wait_until("the state before", || left(shim) == first);
    }
    let cgroup = pod.cgroup.clone();
    pod.shut_down();
    let names: Vec<_> = fs::read_dir(pod.pod_directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["containers"]);
    assert!(
        support::remove_cgroups(&cgroup),
        "something is left in the pod's cgroups"
    );
}

#[test]
fn root_the_shim_and_its_infra_process_are_small() {
    needs_a_node!();
    let mut pod = sleeping_pod();
    for _ in 0..20 {
        pod.exec(exec_of("a", "x", &["true"])).unwrap();
    }
    let state = pod.hello(0);
    let mut total = 0;
    for (name, pid) in [("shim", state.shim_pid), ("infra", state.infra_pid)] {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let value = |key: &str| -> u64 {
            let line = rollup.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let dirty = value("Private_Dirty:") + value("Shared_Dirty:");
        println!(
            "{name}: {} KiB resident, {} KiB proportional, {dirty} KiB dirty",
            value("Rss:"),
            value("Pss:")
        );
        total += dirty;
    }
    // The build for tests is not the small one; this only catches a buffer that was forgotten.
    assert!(total < 2048, "{total} KiB");
}

#[test]
fn root_shutting_down_ends_what_runs() {
    needs_a_node!();
    let mut pod = sleeping_pod();
    pod.create(pod.container("created", "true")).unwrap();
    let null = fs::File::open("/dev/null").unwrap();
    let descriptors = [null.as_fd(), null.as_fd(), null.as_fd()];
    pod.ask_with(
        Operation::Exec(exec_of("a", "long", &["sleep", "1000"])),
        &descriptors,
    );
    pod.shut_down();
    let record = fs::read_to_string(pod.pod_directory().join("containers/a/exit.json")).unwrap();
    assert!(
        record.contains("\"signal\":9,") && record.contains("\"killed_on_request\":true"),
        "{record}"
    );
    assert!(support::remove_cgroups(&pod.cgroup));
}

#[test]
fn root_an_exec_goes_where_the_container_has_moved_its_processes() {
    needs_a_node!();
    let mut pod = sleeping_pod();
    // A domain with domain controllers enabled takes no process (EBUSY); where there is no controller, a threaded
    // subtree is refused alike (EOPNOTSUPP), which is no delegation.
    let leaf = pod.cgroup.join("a");
    let controllers = fs::read_to_string(leaf.join("cgroup.controllers")).unwrap();
    let Some(controller) = controllers.split_whitespace().next() else {
        println!("SKIP no controller in cgroup2");
        return;
    };
    let inner = leaf.join("init.scope");
    fs::create_dir(&inner).unwrap();
    for pid in fs::read_to_string(leaf.join("cgroup.procs"))
        .unwrap()
        .lines()
    {
        support::write_file(&inner.join("cgroup.procs"), pid).unwrap();
    }
    if let Err(error) = support::write_file(
        &leaf.join("cgroup.subtree_control"),
        &format!("+{controller}"),
    ) {
        println!("SKIP {controller} cannot be delegated: {error}");
        return;
    }
    let result = pod
        .exec(exec_of("a", "e", &["cat", "/proc/self/cgroup"]))
        .unwrap();
    assert!(
        result.stdout.contains("0::/init.scope\n"),
        "{}",
        result.stdout
    );
}

#[test]
fn root_a_log_writer_that_hangs_delays_neither_the_exit_nor_the_end() {
    needs_a_node!();
    let mut pod = sleeping_pod();
    // Stopped, as it would be on a frozen file system.
    let writer = pod.child("carpel-log");
    rustix::process::kill_process(writer, rustix::process::Signal::STOP).unwrap();
    let start = std::time::Instant::now();
    pod.exec(exec_of("a", "e", &["true"])).unwrap();
    pod.create(pod.container("b", "true")).unwrap();
    pod.start("b").unwrap();
    assert!(
        start.elapsed().as_millis() < 900,
        "exec, create and start do not wait for the log"
    );
    pod.signal("a", 9, SignalScope::All);
    assert!(pod.exit_of("a").killed_on_request);
    assert!(start.elapsed().as_millis() < 3000);
    pod.remove("a");
    pod.shut_down();
}

#[test]
fn root_a_killed_log_writer_is_replaced() {
    needs_a_node!();
    let mut pod = Pod::new();
    let path = pod.directory.path().join("log");
    let mut create = pod.container(
        "a",
        "echo one; until [ -e /share/go ]; do sleep 0.01; done; echo two",
    );
    create.log_path = path.to_str().unwrap().to_owned();
    pod.run(create);
    support::wait_until("the first line", || {
        fs::read_to_string(&path)
            .unwrap_or_default()
            .ends_with("one\n")
    });
    let writer = pod.child("carpel-log");
    rustix::process::kill_process(writer, rustix::process::Signal::KILL).unwrap();
    let notice = pod.event(|body| match body {
        event::Body::Notice(notice) => Some(notice.text),
        _ => None,
    });
    assert_eq!(notice, "the log writer died and is replaced");
    support::write_file(&pod.share().join("go"), "").unwrap();
    assert_eq!(pod.exit_of("a").exit_code, 0);
    let log = fs::read_to_string(&path).unwrap();
    let texts: Vec<_> = log
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(texts, ["one", "two"]);
    assert_ne!(pod.child("carpel-log"), writer);
}

/// Runs a program in the shim's mount namespace.
fn on_the_host(pod: &Pod, line: &str) -> String {
    let shim = pod.shim.id().to_string();
    let output = std::process::Command::new("nsenter")
        .args(["-t", &shim, "-m", "sh", "-c", line])
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn all_capabilities() -> CapabilitySets {
    let all = u64::MAX >> 23;
    CapabilitySets {
        bounding: all,
        effective: all,
        permitted: all,
        inheritable: 0,
        ambient: 0,
    }
}

#[test]
fn root_mounts_spread_as_asked() {
    needs_a_node!();
    // A host of its own, whose mounts are shared as systemd's are.
    let mut pod = Pod::spawn_by(&["unshare", "--mount", "--propagation", "shared"]);
    pod.create_sandbox();
    let host = pod.directory.path().join("host");
    fs::create_dir(&host).unwrap();
    let host = host.to_str().unwrap().to_owned();
    on_the_host(
        &pod,
        &format!(
            "mount -t tmpfs host {host} && mkdir {host}/private {host}/slave {host}/shared {host}/from"
        ),
    );
    let line = "echo > /share/up; until [ -e /share/go ]; do sleep 0.01; done; \
                ls /slave /private > /share/seen; mount -t tmpfs inside /shared/inside && echo > /shared/inside/file; \
                echo > /share/mounted; sleep 1000";
    let mut create = pod.container("a", line);
    on_the_host(&pod, &format!("mkdir {host}/shared/inside"));
    create.process.as_mut().unwrap().capabilities = Some(all_capabilities());
    create.root_propagation = "shared".into();
    for (name, option) in [
        ("private", "rprivate"),
        ("slave", "rslave"),
        ("shared", "rshared"),
    ] {
        let source = format!("{host}/{name}");
        create.mounts.push(support::bind(
            &source,
            &format!("/{name}"),
            &["rbind", option],
        ));
    }
    pod.run(create);
    pod.wait_for("up");
    for name in ["private", "slave"] {
        on_the_host(
            &pod,
            &format!(
                "mkdir {host}/{name}/mnt && mount -t tmpfs x {host}/{name}/mnt && echo > {host}/{name}/mnt/{name}-file"
            ),
        );
    }
    support::write_file(&pod.share().join("go"), "").unwrap();
    pod.wait_for("mounted");
    let seen = on_the_host(
        &pod,
        &format!(
            "ls {host}/shared/inside; cat {}/share/seen",
            pod.directory.path().display()
        ),
    );
    // The container's mount reached the host; the directories are seen by both modes, the mount below by one.
    assert!(seen.starts_with("file\n"), "{seen}");
    let listed = pod
        .exec(exec_of(
            "a",
            "e",
            &["sh", "-c", "ls /slave/mnt /private/mnt"],
        ))
        .unwrap()
        .stdout;
    assert_eq!(listed, "/private/mnt:\n\n/slave/mnt:\nslave-file\n");
    // Nothing of the container itself was spread.
    let mounts = on_the_host(&pod, "cat /proc/self/mounts");
    assert!(
        !mounts.contains("/pod/root") && !mounts.contains("overlay"),
        "{mounts}"
    );
    pod.shut_down();
}
