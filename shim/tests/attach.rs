//! Clients at the streams of a container, and execs that are killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use carpel_shim_protocol::message::*;
use request::Operation;
use response::Result as Answer;
use rustix::pipe::PipeFlags;
use rustix::pipe::pipe_with;
use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use support::Pod;
use support::exec_of;

macro_rules! needs_a_node {
    () => {
        if let Some(obstacle) = support::obstacle() {
            println!("SKIP {obstacle}");
            return;
        }
    };
}

fn request(outputs: [bool; 2]) -> Attach {
    Attach {
        container_id: "a".into(),
        stdin: true,
        stdout: outputs[0],
        stderr: outputs[1],
        terminal: false,
    }
}

/// A client's ends of its pipes, and what the shim gave.
struct Client {
    stdout: File,
    stderr: File,
    given: Option<OwnedFd>,
}

fn attach(pod: &mut Pod) -> Client {
    let (stdout, to_stdout) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (stderr, to_stderr) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let descriptors = [to_stdout.as_fd(), to_stderr.as_fd()];
    let (answer, given) = pod.ask_with(Operation::Attach(request([true, true])), &descriptors);
    assert_eq!(answer, Answer::Attach(Attached {}));
    Client {
        stdout: stdout.into(),
        stderr: stderr.into(),
        given: given.into_iter().next(),
    }
}

fn read(file: &mut File, length: usize) -> String {
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn rest(file: &mut File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// A container that repeats its input, once on each output, until its input ends.
fn repeating_pod(log: bool) -> Pod {
    let mut pod = Pod::new();
    let line =
        "echo up > /share/up; while read line; do echo out $line; echo err $line >&2; done; exit 6";
    let mut create = pod.container("a", line);
    create.stdin = true;
    if log {
        create.log_path = log_of(&pod);
    }
    pod.run(create);
    pod.wait_for("up");
    pod
}

fn log_of(pod: &Pod) -> String {
    let path = pod.directory.path().join("log");
    path.to_str().unwrap().to_owned()
}

#[test]
fn root_clients_share_input_and_output_and_the_log_has_all() {
    needs_a_node!();
    let mut pod = repeating_pod(true);
    let mut one = attach(&mut pod);
    let mut other = attach(&mut pod);
    for (number, client) in [&one, &other].into_iter().enumerate() {
        let mut stdin = File::from(client.given.as_ref().unwrap().try_clone().unwrap());
        stdin.write_all(format!("{number}\n").as_bytes()).unwrap();
    }
    for client in [&mut one, &mut other] {
        assert_eq!(read(&mut client.stdout, 12), "out 0\nout 1\n");
        assert_eq!(read(&mut client.stderr, 12), "err 0\nerr 1\n");
    }
    // One that leaves is forgotten; the other goes on.
    drop(one);
    let mut stdin = File::from(other.given.take().unwrap());
    stdin.write_all(b"2\n").unwrap();
    assert_eq!(read(&mut other.stdout, 6), "out 2\n");
    let close = CloseStdin {
        container_id: "a".into(),
    };
    assert_eq!(
        pod.ask(Operation::CloseStdin(close)),
        Answer::CloseStdin(Done {})
    );
    drop(stdin);
    assert_eq!(pod.exit_of("a").exit_code, 6);
    assert_eq!(rest(&mut other.stdout), "");
    assert_eq!(rest(&mut other.stderr), "err 2\n");
    let log = std::fs::read_to_string(log_of(&pod)).unwrap();
    assert_eq!(log.lines().count(), 6, "{log}");
}

#[test]
fn root_without_a_log_the_clients_read_all_the_same() {
    needs_a_node!();
    let mut pod = repeating_pod(false);
    let mut client = attach(&mut pod);
    let mut stdin = File::from(client.given.take().unwrap());
    stdin.write_all(b"x\n").unwrap();
    assert_eq!(read(&mut client.stdout, 6), "out x\n");
}

/// A client that does not read is dropped; the container, its log and another client do not wait for it.
#[test]
fn root_a_slow_client_is_dropped_and_nobody_waits_for_it() {
    needs_a_node!();
    let mut pod = Pod::new();
    let line = "echo up > /share/up; read line; i=0; while [ $i -lt 20000 ]; do echo $i 0123456789; i=$((i+1)); done";
    let mut create = pod.container("a", line);
    create.stdin = true;
    create.log_path = log_of(&pod);
    pod.run(create);
    pod.wait_for("up");
    let mut slow = attach(&mut pod);
    let mut quick = attach(&mut pod);
    let mut stdout = quick.stdout.try_clone().unwrap();
    // Its pipe is as large as a daemon makes it, and somebody empties it.
    let reader = std::thread::spawn(move || rest(&mut stdout));
    rustix::pipe::fcntl_setpipe_size(&quick.stdout, 1 << 20).unwrap();
    let mut stdin = File::from(slow.given.take().unwrap());
    stdin.write_all(b"\n").unwrap();
    assert_eq!(pod.exit_of("a").lost_log_lines, 0);
    let log = std::fs::read_to_string(log_of(&pod)).unwrap();
    assert_eq!(log.lines().count(), 20_000);
    assert_eq!(reader.join().unwrap().lines().count(), 20_000);
    assert_eq!(rest(&mut quick.stderr), "");
    // What fitted into its pipe, then the end of both.
    let got = rest(&mut slow.stdout);
    assert!(!got.is_empty() && got.len() <= 64 << 10, "{}", got.len());
    assert_eq!(rest(&mut slow.stderr), "");
}

#[test]
fn root_a_terminal_is_given_for_input_and_size() {
    needs_a_node!();
    let mut pod = Pod::new();
    let line = "echo up > /share/up; read line; echo \"got $line\"; stty size; exec sleep 1000";
    let mut create = pod.container("a", line);
    create.process.as_mut().unwrap().terminal = true;
    pod.run(create);
    pod.wait_for("up");
    let (stdout, to_stdout) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let attach = Attach {
        terminal: true,
        ..request([true, false])
    };
    let (answer, given) = pod.ask_with(Operation::Attach(attach), &[to_stdout.as_fd()]);
    assert_eq!(answer, Answer::Attach(Attached {}));
    drop(to_stdout);
    let master = given.into_iter().next().unwrap();
    let mut size = rustix::termios::tcgetwinsize(&master).unwrap();
    (size.ws_row, size.ws_col) = (33, 99);
    rustix::termios::tcsetwinsize(&master, size).unwrap();
    rustix::io::write(&master, b"typed\n").unwrap();
    let mut stdout = File::from(stdout);
    let expected = "typed\r\ngot typed\r\n33 99\r\n";
    assert_eq!(read(&mut stdout, expected.len()), expected);
}

#[test]
fn root_attach_is_refused_where_there_is_nothing_to_attach_to() {
    needs_a_node!();
    let mut pod = Pod::new();
    let create = pod.container("a", "sleep 1000");
    pod.create(create).unwrap();
    let kind = |answer: Answer| match answer {
        Answer::Failure(failure) => failure.kind(),
        other => panic!("{other:?}"),
    };
    let null = File::open("/dev/null").unwrap();
    let two: [BorrowedFd<'_>; 2] = [null.as_fd(), null.as_fd()];
    let ask = |pod: &mut Pod, id: &str, descriptors: &[BorrowedFd<'_>]| {
        let attach = Attach {
            container_id: id.into(),
            ..request([true, true])
        };
        kind(pod.ask_with(Operation::Attach(attach), descriptors).0)
    };
    assert_eq!(ask(&mut pod, "a", &two), FailureKind::FailureWrongState);
    assert_eq!(ask(&mut pod, "b", &two), FailureKind::FailureNotFound);
    pod.start("a").unwrap();
    assert_eq!(ask(&mut pod, "a", &two[..1]), FailureKind::FailureInvalid);
    // It has no stdin: none is given.
    let (answer, given) = pod.ask_with(Operation::Attach(request([true, true])), &two);
    assert_eq!((answer, given.len()), (Answer::Attach(Attached {}), 0));
}

#[test]
fn root_an_exec_is_killed_with_its_process_group() {
    needs_a_node!();
    let mut pod = Pod::new();
    let mut create = pod.container("a", "sleep 1000");
    // So that its pids are those of the test.
    create.pid = ContainerNamespace::NamespaceHost.into();
    pod.run(create);
    let line = "sleep 1001 & echo $! > /share/pid; mv /share/pid /share/child; sleep 1002";
    let exec = exec_of("a", "e", &["sh", "-c", line]);
    let null = File::open("/dev/null").unwrap();
    let descriptors = [null.as_fd(), null.as_fd(), null.as_fd()];
    let (answer, _) = pod.ask_with(Operation::Exec(exec), &descriptors);
    assert!(matches!(answer, Answer::Exec(_)), "{answer:?}");
    pod.wait_for("child");
    let kill = || {
        Operation::KillExec(KillExec {
            exec_id: "e".into(),
        })
    };
    assert_eq!(pod.ask(kill()), Answer::KillExec(Done {}));
    let exited = pod.event(|body| match body {
        event::Body::ExecExited(exited) => Some(exited),
        _ => None,
    });
    assert_eq!((exited.signal, exited.timed_out), (9, false));
    let child = pod.shared("child").trim().parse().unwrap();
    support::wait_until("the end of its child", || !support::is_alive(child));
    let answer = pod.ask(kill());
    assert!(
        matches!(&answer, Answer::Failure(failure) if failure.kind() == FailureKind::FailureNotFound),
        "{answer:?}"
    );
}
