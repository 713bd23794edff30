//! What a program in a container can do to the processes of Carpel that it sees, tried by a program in a container
//! (`intruder/inside.rs`), which is this one itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test without a harness reports and panics"
)]

#[path = "intruder/inside.rs"]
mod inside;
mod support;

use carpel_shim_protocol::message::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd;
use support::Pod;
use support::bind;
use support::exec_of;

/// Its name and itself.
type Test = (&'static str, fn());

/// CAP_SYS_ADMIN, CAP_SYS_PTRACE, by number.
const ADMIN: u64 = 1 << 21;
const PTRACE: u64 = 1 << 19;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "inside") {
        return inside::run(&arguments);
    }
    let tests: [Test; 7] = [
        (
            "root_no_exec_shows_the_host_on_its_way_in",
            root_no_exec_shows_the_host_on_its_way_in,
        ),
        (
            "root_no_container_shows_the_host_while_it_is_created",
            root_no_container_shows_the_host_while_it_is_created,
        ),
        (
            "root_a_filter_may_deny_what_the_runtime_needs_on_its_way",
            root_a_filter_may_deny_what_the_runtime_needs_on_its_way,
        ),
        (
            "root_containers_and_execs_have_three_descriptors",
            root_containers_and_execs_have_three_descriptors,
        ),
        (
            "root_the_infra_process_has_nothing_to_take",
            root_the_infra_process_has_nothing_to_take,
        ),
        (
            "root_the_mount_namespace_of_the_infra_process_is_empty",
            root_the_mount_namespace_of_the_infra_process_is_empty,
        ),
        (
            "root_the_program_of_the_shim_cannot_be_changed_by_a_container",
            root_the_program_of_the_shim_cannot_be_changed_by_a_container,
        ),
    ];
    let wanted = |name: &str| {
        arguments
            .iter()
            .all(|part| name.contains(part.as_str()) || part.starts_with("--"))
    };
    for (name, test) in tests.into_iter().filter(|(name, _)| wanted(name)) {
        if let Some(reason) = support::obstacle() {
            println!("SKIP {reason}");
            continue;
        }
        test();
        println!("test {name} ... ok");
    }
}

/// A pod that shares its pid namespace, from a shim that is a sealed memfd, as the daemon starts it.
fn shared_pod() -> Pod {
    let path = std::env::var("CARPEL_SHIM").unwrap_or(env!("CARGO_BIN_EXE_carpel-shim").into());
    let program = fs::read(path).unwrap();
    let memfd = carpel_linux::memfd::sealed(c"carpel-shim", &program).unwrap();
    let path = format!("/proc/self/fd/{}", memfd.as_raw_fd());
    let mut pod = Pod::spawn_from(&path, &[]);
    pod.change(|sandbox| sandbox.pid = NamespaceSource::New.into());
    pod.create_sandbox();
    pod
}

/// A container with this program and what it needs of the host's libraries.
fn intruder(pod: &Pod, id: &str, capabilities: u64, arguments: &[&str]) -> CreateContainer {
    let mut line = vec!["/intruder", "inside"];
    line.extend(arguments);
    let mut create = pod.container_of(id, &line);
    create.pid = ContainerNamespace::NamespacePod.into();
    let own = std::env::current_exe().unwrap();
    let read_only = ["rbind", "ro"];
    create
        .mounts
        .push(bind(own.to_str().unwrap(), "/intruder", &read_only));
    for directory in ["/usr", "/lib", "/lib64"] {
        if fs::exists(directory).unwrap() {
            create.mounts.push(bind(directory, directory, &read_only));
        }
    }
    let log = pod.directory.path().join(format!("{id}.log"));
    create.log_path = log.to_str().unwrap().to_owned();
    let sets = create
        .process
        .as_mut()
        .unwrap()
        .capabilities
        .as_mut()
        .unwrap();
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        *set |= capabilities;
    }
    create
}

/// What the intruder has said, by attempt.
fn report(pod: &Pod, id: &str) -> BTreeMap<String, String> {
    let log = fs::read_to_string(pod.directory.path().join(format!("{id}.log"))).unwrap();
    log.lines()
        .filter_map(|line| line.splitn(4, ' ').nth(3)?.split_once(": "))
        .map(|(name, outcome)| (name.to_owned(), outcome.to_owned()))
        .collect()
}

fn run_intruder(pod: &mut Pod, create: CreateContainer) -> BTreeMap<String, String> {
    let id = create.container_id.clone();
    let exit = pod.run_to_end(create);
    let log = fs::read_to_string(pod.directory.path().join(format!("{id}.log"))).unwrap();
    assert_eq!(exit.exit_code, 0, "{log}");
    report(pod, &id)
}

#[track_caller]
fn assert_outcomes(found: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (name, outcome) in expected {
        let found = found.get(*name).map(String::as_str);
        assert_eq!(found, Some(*outcome), "{name}");
    }
}

fn root_containers_and_execs_have_three_descriptors() {
    let mut pod = shared_pod();
    let three = [("descriptors", "0 1 2")];
    let plain = intruder(&pod, "plain", 0, &["descriptors"]);
    assert_outcomes(&run_intruder(&mut pod, plain), &three);
    let mut with_input = intruder(&pod, "input", 0, &["descriptors"]);
    with_input.stdin = true;
    assert_outcomes(&run_intruder(&mut pod, with_input), &three);
    let mut terminal = intruder(&pod, "terminal", 0, &["descriptors"]);
    terminal.process.as_mut().unwrap().terminal = true;
    let found = run_intruder(&mut pod, terminal);
    assert_eq!(found["descriptors"].trim(), "0 1 2");
    // Beside others, and by exec.
    let mut sleeper = intruder(&pod, "sleeper", 0, &[]);
    sleeper.process.as_mut().unwrap().arguments = vec![b"sleep".to_vec(), b"1000".to_vec()];
    pod.run(sleeper);
    let line = ["/intruder", "inside", "descriptors"];
    for round in 0..3 {
        let exec = exec_of("sleeper", &format!("e{round}"), &line);
        assert_eq!(pod.exec(exec).unwrap().stdout, "descriptors: 0 1 2\n");
    }
    pod.signal("sleeper", 9, SignalScope::All);
    pod.exit_of("sleeper");
    pod.shut_down();
}

fn root_the_infra_process_has_nothing_to_take() {
    const SECRET: &str = "a-secret-of-another-container";
    let mut pod = shared_pod();
    // Somebody else in the pod has a secret; the shim has heard of it.
    let mut other = pod.container_of("other", &["/bin/sleep", "1000"]);
    other.pid = ContainerNamespace::NamespacePod.into();
    other
        .process
        .as_mut()
        .unwrap()
        .environment
        .push(format!("SECRET={SECRET}").into_bytes());
    pod.run(other);
    let attack = intruder(&pod, "a", PTRACE, &["attack", SECRET]);
    let found = run_intruder(&mut pod, attack);
    assert_outcomes(
        &found,
        &[
            // Nothing to be found, and nothing above it.
            ("root", "0"),
            ("cwd", "0"),
            ("root/..", "0"),
            ("cwd/..", "0"),
            ("root/../../proc", "No such file or directory (os error 2)"),
            ("fd", "0"),
            ("environ", "0"),
            ("make a file in root", "Read-only file system (os error 30)"),
            ("make a file in cwd", "Read-only file system (os error 30)"),
            ("exe", "/memfd:carpel-shim (deleted)"),
            ("take descriptors", "0"),
            ("secret in memory", "0 times, memory read: true"),
            // Neither the shim nor its log writer.
            ("other processes", "carpel-infra sleep"),
            ("attach", "done"),
            ("make it open a socket", "EPERM: Operation not permitted"),
        ],
    );
    for name in ["write exe", "append to exe", "truncate exe"] {
        assert_ne!(found[name], "done", "{name}");
    }
    for name in ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"] {
        let outcome = &found[&format!("join {name}")];
        assert_ne!(outcome, "joined", "{name}");
    }
    // It may be traced, and killed by nobody inside: whoever becomes it has less than before.
    let infra = pod.hello(0).infra_pid;
    let status = fs::read_to_string(format!("/proc/{infra}/status")).unwrap();
    for line in [
        "Uid:\t65535\t65535\t65535\t65535",
        "Groups:\t ",
        "CapPrm:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(
            status.lines().any(|found| found == line),
            "{line} is not in\n{status}"
        );
    }
    pod.signal("other", 9, SignalScope::All);
    pod.exit_of("other");
    pod.shut_down();
}

fn root_the_mount_namespace_of_the_infra_process_is_empty() {
    let mut pod = shared_pod();
    let enter = intruder(&pod, "a", PTRACE | ADMIN, &["enter"]);
    let found = run_intruder(&mut pod, enter);
    assert_outcomes(
        &found,
        &[
            ("join mnt", "joined"),
            ("root", "0"),
            ("made", "Read-only file system (os error 30)"),
            ("climbed", "0"),
        ],
    );
    let infra = pod.hello(0).infra_pid;
    let mounts = fs::read_to_string(format!("/proc/{infra}/mountinfo")).unwrap();
    assert_eq!(mounts.lines().count(), 1, "{mounts}");
    pod.shut_down();
}

/// CVE-2019-5736: the container makes the runtime's own program its own, then writes to it.
fn root_the_program_of_the_shim_cannot_be_changed_by_a_container() {
    let mut pod = shared_pod();
    let shim = pod.shim.id();
    let before = fs::read(format!("/proc/{shim}/exe")).unwrap();
    let image = pod.directory.path().join("image/bin/self");
    support::write_file(&image, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&image, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // As its own program, and by an exec: the interpreter is whatever runs then.
    pod.create(pod.container_of("self", &["/bin/self"]))
        .unwrap();
    drop(pod.start("self"));
    pod.exit_of("self");
    let line = "while :; do for p in /proc/[0-9]*; do (echo x > $p/exe) 2>/dev/null && echo $p > /share/written; done; done";
    let mut writer = pod.container("writer", line);
    writer.pid = ContainerNamespace::NamespacePod.into();
    let sets = writer
        .process
        .as_mut()
        .unwrap()
        .capabilities
        .as_mut()
        .unwrap();
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        *set |= PTRACE;
    }
    pod.run(writer);
    for round in 0..20 {
        drop(pod.exec(exec_of("writer", &format!("e{round}"), &["/bin/self"])));
        pod.exec(exec_of("writer", &format!("t{round}"), &["true"]))
            .unwrap();
    }
    pod.signal("writer", 9, SignalScope::All);
    pod.exit_of("writer");
    assert!(!pod.share().join("written").exists());
    assert!(fs::read(format!("/proc/{shim}/exe")).unwrap() == before);
    pod.shut_down();
}

/// A watcher that runs in the pod with CAP_SYS_PTRACE.
fn watched_pod(pid: ContainerNamespace) -> Pod {
    let mut pod = shared_pod();
    let marker = pod.directory.path().join("marker");
    support::write_file(&marker, "").unwrap();
    let mut watcher = intruder(&pod, "a", PTRACE, &["watch", marker.to_str().unwrap()]);
    watcher.pid = pid.into();
    pod.run(watcher);
    let log = pod.directory.path().join("a.log");
    support::wait_until("the watcher", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("watching"))
    });
    pod
}

#[track_caller]
fn assert_nothing_seen(pod: &mut Pod) {
    support::write_file(&pod.share().join("stop"), "").unwrap();
    support::wait_until("the watcher's end", || {
        report(pod, "a").contains_key("seen")
    });
    let found = report(pod, "a");
    assert_outcomes(&found, &[("seen", "nothing"), ("traced", "true")]);
    pod.signal("a", 9, SignalScope::All);
    support::wait_until("the watcher's exit", || {
        pod.hello(0)
            .containers
            .iter()
            .all(|container| container.exit.is_some())
    });
    pod.shut_down();
}

/// A process that is about to become an exec's program has the host's root and rights at first: nobody in the container may
/// see it then.
fn root_no_exec_shows_the_host_on_its_way_in() {
    for pid in [
        ContainerNamespace::NamespacePod,
        ContainerNamespace::NamespaceNew,
    ] {
        let mut pod = watched_pod(pid);
        for round in 0..200 {
            let exec = exec_of("a", &format!("e{round}"), &["true"]);
            let result = pod.exec(exec);
            assert!(result.is_ok(), "{result:?}, {:?}", report(&pod, "a"));
        }
        assert_nothing_seen(&mut pod);
    }
}

/// Nor may anybody see a container in that state while it is created, with whatever filter it will have.
fn root_no_container_shows_the_host_while_it_is_created() {
    for pid in [
        ContainerNamespace::NamespacePod,
        ContainerNamespace::NamespaceTarget,
    ] {
        let own = match pid {
            ContainerNamespace::NamespaceTarget => ContainerNamespace::NamespaceNew,
            other => other,
        };
        let mut pod = watched_pod(own);
        for round in 0..50 {
            let id = format!("b{round}");
            let line = "echo $$ >/share/pid; read own rest </proc/self/stat; echo $own >/share/own";
            let mut create = pod.container(&id, line);
            create.pid = pid.into();
            create.pid_target = "a".into();
            let process = create.process.as_mut().unwrap();
            process.no_new_privileges = round % 3 == 0;
            if round % 3 != 2 {
                process.seccomp = support::deny_filter(libc::SYS_getpriority, 1);
            }
            let created = pod.create(create).unwrap();
            let root = format!("/proc/{}/root", created.pid);
            assert!(fs::exists(format!("{root}/bin/busybox")).unwrap(), "{root}");
            pod.start(&id).unwrap();
            assert_eq!(pod.exit_of(&id).exit_code, 0);
            // Its proc is that of the namespace which it is in.
            assert!(pod.shared("pid").trim().parse::<u32>().unwrap() > 1);
            assert!(!pod.shared("own").trim().is_empty());
            pod.remove(&id);
        }
        assert_nothing_seen(&mut pod);
    }
}

/// A filter that does not let the way to the program pass is loaded at its end.
fn root_a_filter_may_deny_what_the_runtime_needs_on_its_way() {
    let mut pod = shared_pod();
    for (round, call) in [libc::SYS_clone, libc::SYS_setsid, libc::SYS_recvmsg]
        .into_iter()
        .enumerate()
    {
        let id = format!("a{round}");
        let mut create = pod.container(
            &id,
            "grep -E 'Seccomp:|CapPrm' /proc/self/status >/share/status; exec sleep 1000",
        );
        create.pid = ContainerNamespace::NamespacePod.into();
        let filter = support::deny_filter(call, 1);
        create.process.as_mut().unwrap().seccomp.clone_from(&filter);
        if call == libc::SYS_clone {
            create.process.as_mut().unwrap().arguments = vec![b"sleep".to_vec(), b"1000".to_vec()];
        }
        pod.run(create);
        let mut exec = exec_of(
            &id,
            &id,
            &["grep", "-E", "Seccomp:|CapPrm|CapEff", "/proc/self/status"],
        );
        exec.process.as_mut().unwrap().seccomp = filter;
        let told = pod.exec(exec).unwrap().stdout;
        assert_eq!(
            told,
            "CapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n"
        );
        pod.signal(&id, 9, SignalScope::All);
        pod.exit_of(&id);
    }
    pod.shut_down();
}
