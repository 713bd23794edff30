//! SCMP_ACT_NOTIFY: a program of the host answers calls of a container and of its execs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use carpel_linux::seccomp;
use carpel_linux::socket;
use carpel_shim_protocol::message::*;
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::channel;
use support::Pod;
use support::exec_of;

/// An error that mkdir(2) does not return by itself.
const INVENTED: Errno = Errno::PROTO;

/// A listener that answers every call of whoever is sent to it with an error, and tells what it has heard: the state, then the
/// number of each call.
fn listen(place: &Path) -> (Receiver<String>, Receiver<i32>) {
    let listener = UnixListener::bind(place).unwrap();
    let (tell_state, states) = channel();
    let (tell_call, calls) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (tell_state, tell_call) = (tell_state.clone(), tell_call.clone());
            std::thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                let mut received = socket::receive(stream.unwrap().as_fd(), &mut buffer).unwrap();
                let state = String::from_utf8(buffer[..received.length].to_vec()).unwrap();
                let filter = received.descriptors.pop().unwrap();
                drop(tell_state.send(state));
                while let Ok(call) = seccomp::receive_notification(filter.as_fd()) {
                    seccomp::answer_notification(filter.as_fd(), call, INVENTED).unwrap();
                    tell_call.send(call.call).ok();
                }
            });
        }
    });
    (states, calls)
}

/// Notifies of mkdir(2).
fn filter() -> Vec<u8> {
    let mut filter = support::deny_filter(libc::SYS_mkdir, 0);
    // SECCOMP_RET_USER_NOTIF in the place of the errno.
    filter[20..24].copy_from_slice(&0x7fc0_0000_u32.to_ne_bytes());
    filter
}

fn notified(process: &mut Process, place: &Path) {
    process.seccomp = filter();
    process.seccomp_listener = Some(SeccompListener {
        path: place.to_str().unwrap().into(),
        metadata: r#""the metadata""#.into(),
        state: r#","id":"c","bundle":"/b""#.into(),
        oci_version: r#""1.2.0""#.into(),
    });
}

const LINE: &str =
    "mkdir /made 2>/share/told; test ! -e /made && echo not there >>/share/told; exec sleep 1000";

fn notified_container(
    pod: &Pod,
    id: &str,
    place: &Path,
    pid: ContainerNamespace,
) -> CreateContainer {
    let mut create = pod.container(id, LINE);
    create.pid = pid.into();
    notified(create.process.as_mut().unwrap(), place);
    create
}

fn state(pid: i32, first: i32, status: &str) -> String {
    format!(
        r#"{{"ociVersion":"1.2.0","fds":["seccompFd"],"pid":{pid},"metadata":"the metadata","state":{{"ociVersion":"1.2.0","status":"{status}","pid":{first},"id":"c","bundle":"/b"}}}}"#
    )
}

#[test]
fn root_a_listener_answers_calls_of_a_container_and_its_execs() {
    if let Some(reason) = support::obstacle() {
        println!("SKIP {reason}");
        return;
    }
    for (pid, no_new_privileges) in [
        (ContainerNamespace::NamespaceNew, false),
        (ContainerNamespace::NamespaceNew, true),
        (ContainerNamespace::NamespacePod, false),
        (ContainerNamespace::NamespacePod, true),
    ] {
        let mut pod = Pod::with(|sandbox| sandbox.pid = NamespaceSource::New.into());
        let place: PathBuf = pod.directory.path().join("listener.sock");
        let (states, calls) = listen(&place);
        let patience = support::PATIENCE;
        let mut create = notified_container(&pod, "c", &place, pid);
        create.process.as_mut().unwrap().no_new_privileges = no_new_privileges;
        let first = pod.create(create).unwrap().pid;
        pod.start("c").unwrap();
        assert_eq!(
            states.recv_timeout(patience).unwrap(),
            state(first, first, "created")
        );
        assert_eq!(
            i64::from(calls.recv_timeout(patience).unwrap()),
            libc::SYS_mkdir
        );
        support::wait_until("the container's answer", || {
            std::fs::read_to_string(pod.share().join("told"))
                .is_ok_and(|told| told.contains("not there"))
        });
        let told = pod.shared("told");
        assert!(
            told.starts_with("mkdir: can't create directory '/made': Protocol error"),
            "{told}"
        );

        let mut exec = exec_of(
            "c",
            "e",
            &[
                "sh",
                "-c",
                "mkdir /made 2>&1; grep CapEff /proc/self/status",
            ],
        );
        let process = exec.process.as_mut().unwrap();
        notified(process, &place);
        process.no_new_privileges = no_new_privileges;
        let told = pod.exec(exec).unwrap().stdout;
        assert_eq!(
            told,
            "mkdir: can't create directory '/made': Protocol error\nCapEff:\t00000000a80425fb\n"
        );
        let heard = states.recv_timeout(patience).unwrap();
        assert!(heard.contains(r#""status":"running""#), "{heard}");
        assert!(
            heard.contains(&format!(r#""pid":{first},"id":"c""#)),
            "{heard}"
        );
        pod.signal("c", 9, SignalScope::All);
        pod.exit_of("c");
        pod.shut_down();
    }
}

#[test]
fn root_a_listener_that_is_not_there_fails_the_start() {
    if let Some(reason) = support::obstacle() {
        println!("SKIP {reason}");
        return;
    }
    for pid in [
        ContainerNamespace::NamespaceNew,
        ContainerNamespace::NamespacePod,
    ] {
        let mut pod = Pod::with(|sandbox| sandbox.pid = NamespaceSource::New.into());
        let place = pod.directory.path().join("missing.sock");
        let create = notified_container(&pod, "c", &place, pid);
        pod.create(create).unwrap();
        let failure = pod.start("c").unwrap_err();
        assert_eq!(
            failure.step,
            format!("connect to the seccomp listener at {place:?}")
        );
        assert_eq!(failure.errno, Errno::NOENT.raw_os_error());
        assert_eq!(pod.exit_of("c").exit_code, 128);
        assert!(!pod.share().join("told").exists());
        // Nor does an exec begin, whoever has the container.
        pod.run(pod.container("d", "exec sleep 1000"));
        let mut exec = exec_of("d", "e", &["true"]);
        notified(exec.process.as_mut().unwrap(), &place);
        assert_eq!(pod.exec(exec).unwrap_err().step, failure.step);
        pod.signal("d", 9, SignalScope::All);
        pod.exit_of("d");
        pod.shut_down();
    }
}
