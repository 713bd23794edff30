//! Containers, from the shim's binary, without a daemon.
#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]
#![allow(clippy::panic, reason = "as above")]

mod support;

use carpel_shim_protocol::message::response::Result as Answer;
use carpel_shim_protocol::message::*;
use rustix::io::Errno;
use support::Pod;
use support::bind;
use support::mount;

/// Ends the test with the reason why it cannot run here, if there is one.
macro_rules! needs_a_node {
    () => {
        if let Some(reason) = support::obstacle() {
            println!("SKIP {reason}");
            return;
        }
    };
}

#[test]
fn root_a_container_runs_and_its_exit_is_recorded() {
    needs_a_node!();
    let mut pod = Pod::new();
    let created = pod.create(pod.container("a", "exit 42")).unwrap();
    assert!(created.pid > 0);
    let started = pod.start("a").unwrap();
    assert!(started.started_at_nanoseconds > 0);
    let exit = pod.exit_of("a");
    assert_eq!(
        (exit.exit_code, exit.signal, exit.killed_on_request),
        (42, 0, false)
    );
    let record =
        std::fs::read_to_string(pod.pod_directory().join("containers/a/exit.json")).unwrap();
    assert!(record.contains("\"exit_code\":42,"), "{record}");
    assert_eq!(pod.remove("a"), Answer::RemoveContainer(Done {}));
    pod.shut_down();
}

#[test]
fn root_a_container_killed_by_a_signal_exits_with_128_and_its_number() {
    needs_a_node!();
    let mut pod = Pod::new();
    // The shell is pid 1 of its namespace, where only a signal from outside kills it.
    pod.run(pod.container("a", "echo > /share/up; sleep 1000"));
    pod.wait_for("up");
    assert_eq!(
        pod.signal("a", 9, SignalScope::FirstProcess),
        Answer::SignalContainer(Done {})
    );
    let exit = pod.exit_of("a");
    assert_eq!(
        (exit.exit_code, exit.signal, exit.killed_on_request),
        (137, 9, true)
    );
    let mut create = pod.container("b", "kill -TERM $$; sleep 1000");
    create.pid = ContainerNamespace::NamespaceHost.into();
    let exit = pod.run_to_end(create);
    assert_eq!(
        (exit.exit_code, exit.signal, exit.killed_on_request),
        (143, 15, false)
    );
    assert!(
        matches!(pod.signal("b", 9, SignalScope::All), Answer::Failure(failure)
        if failure.kind() == FailureKind::FailureWrongState)
    );
}

#[test]
fn root_what_the_first_process_leaves_behind_is_killed() {
    needs_a_node!();
    let mut pod = Pod::new();
    let mut create = pod.container("a", "setsid sleep 1000 & echo $! > /share/pid");
    create.pid = ContainerNamespace::NamespaceHost.into();
    assert_eq!(pod.run_to_end(create).exit_code, 0);
    let pid = pod.shared("pid").trim().parse().unwrap();
    support::wait_until("the end of the orphan", || !support::is_alive(pid));
    let procs = pod.cgroup.join("a/cgroup.procs");
    support::wait_until("an empty cgroup", || {
        std::fs::read_to_string(&procs).unwrap().is_empty()
    });
}

#[test]
fn root_containers_share_the_namespaces_of_the_pod() {
    needs_a_node!();
    let mut pod = Pod::new();
    let line = |id: &str| {
        format!(
            "for n in net ipc uts mnt pid cgroup; do readlink /proc/self/ns/$n; done > /share/{id}"
        )
    };
    for id in ["a", "b"] {
        pod.run_to_end(pod.container(id, &line(id)));
    }
    let (a, b) = (pod.shared("a"), pod.shared("b"));
    let (a, b): (Vec<_>, Vec<_>) = (a.lines().collect(), b.lines().collect());
    assert_eq!(a[..3], b[..3]);
    for (left, right) in a[3..].iter().zip(&b[3..]) {
        // A number may be used again once the namespace is gone, so the host's is the one to differ from.
        let _both = (left, right);
    }
    let host = |name: &str| {
        let link = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        link.to_str().unwrap().to_owned()
    };
    for (index, name) in ["net", "ipc", "uts", "mnt", "pid", "cgroup"]
        .iter()
        .enumerate()
    {
        assert_ne!(a[index], host(name));
    }
    let exit = pod.run_to_end(pod.container(
        "c",
        "[ $(hostname) = pod-host ] && [ $(cat /proc/sys/kernel/shmmni) = 1234 ]",
    ));
    assert_eq!(exit.exit_code, 0);
    let mut create = pod.container(
        "d",
        "for n in net ipc uts; do readlink /proc/self/ns/$n; done > /share/d",
    );
    create.network = ContainerNamespace::NamespaceHost.into();
    create.ipc = ContainerNamespace::NamespaceHost.into();
    create.uts = ContainerNamespace::NamespaceHost.into();
    pod.run_to_end(create);
    let expected = format!("{}\n{}\n{}\n", host("net"), host("ipc"), host("uts"));
    assert_eq!(pod.shared("d"), expected);
}

#[test]
fn root_pid_namespaces_are_new_of_the_pod_of_a_target_or_of_the_host() {
    needs_a_node!();
    let mut pod = Pod::with(|sandbox| sandbox.pid = NamespaceSource::New.into());
    let with = |mut create: CreateContainer, mode: ContainerNamespace| {
        create.pid = mode.into();
        create
    };
    let line = |id: &str| format!("echo $$ $(readlink /proc/self/ns/pid) > /share/{id}");
    let exit = pod.run_to_end(pod.container("new", &line("new")));
    assert_eq!(exit.exit_code, 0);
    assert!(pod.shared("new").starts_with("1 "));
    pod.run_to_end(with(
        pod.container("host", &line("host")),
        ContainerNamespace::NamespaceHost,
    ));
    let own = std::fs::read_link("/proc/self/ns/pid").unwrap();
    assert!(pod.shared("host").trim().ends_with(own.to_str().unwrap()));
    // The pod's: pid 1 is the infra process, which shows nothing and reaps orphans.
    let look = "cat /proc/1/comm > /share/pod; ls /proc/1/root/ 2>&1 > /share/root; \
                sh -c 'sleep 0.05 & echo $! > /share/orphan'; while [ -d /proc/$(cat /share/orphan) ]; do :; done";
    let exit = pod.run_to_end(with(
        pod.container("pod", look),
        ContainerNamespace::NamespacePod,
    ));
    assert_eq!(exit.exit_code, 0);
    assert_eq!(pod.shared("pod"), "carpel-infra\n");
    assert_eq!(pod.shared("root"), "");
    // A target's.
    pod.run(pod.container("target", "echo > /share/up; sleep 1000"));
    pod.wait_for("up");
    let mut create = with(
        pod.container("debug", "cat /proc/1/cmdline > /share/debug"),
        ContainerNamespace::NamespaceTarget,
    );
    create.pid_target = "target".into();
    assert_eq!(pod.run_to_end(create.clone()).exit_code, 0);
    assert!(pod.shared("debug").contains("sleep"));
    create.container_id = "other".into();
    create.pid_target = "missing".into();
    let failure = pod.create(create).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::FailureInvalid);
    // Children of the shim after that are in its own namespace again.
    pod.run_to_end(with(
        pod.container("host2", &line("host2")),
        ContainerNamespace::NamespaceHost,
    ));
    assert!(pod.shared("host2").trim().ends_with(own.to_str().unwrap()));
    pod.shut_down();
}

#[test]
fn root_the_file_systems_are_as_asked() {
    needs_a_node!();
    let mut pod = Pod::new();
    let check = "set -e
        ! touch /sys/x 2>/dev/null
        ! touch /sys/fs/cgroup/x 2>/dev/null
        [ \"$(cat /proc/self/cgroup | grep ^0::)\" = 0::/ ]
        ! echo 1 > /proc/sys/kernel/panic
        [ $(stat -c %a /tmp) = 755 ]
        [ $(readlink /dev/fd) = /proc/self/fd ]
        [ $(readlink /dev/ptmx) = pts/ptmx ]
        [ \"$(stat -c '%t:%T %a' /dev/null)\" = '1:3 666' ]
        echo x > /dev/null
        [ -c /dev/tty ]
        [ $(ls /dev/pts) = ptmx ]
        echo from-the-container > /file
        [ -z \"$(ls /proc/acpi 2>/dev/null)\" ]
        [ -z \"$(cat /proc/keys 2>/dev/null)\" ]
        [ $(ls /proc/self/fd | wc -l) -le 5 ]
        [ $(umask) = 0022 ]";
    let check = check.replace("wc -l", "grep -c .");
    let exit = pod.run_to_end(pod.container("a", &check));
    assert_eq!(exit.exit_code, 0);
    let upper = pod.directory.path().join("containers/a/upper/file");
    assert_eq!(
        std::fs::read_to_string(upper).unwrap(),
        "from-the-container\n"
    );
    assert!(!pod.directory.path().join("image/file").exists());
    let mut create = pod.container(
        "b",
        "! touch /file 2>/dev/null && touch /share/b && [ $(pwd) = /made/here ]",
    );
    create.root.as_mut().unwrap().readonly = true;
    create.process.as_mut().unwrap().working_directory = "/made/here".into();
    assert_eq!(pod.run_to_end(create).exit_code, 0);
}

#[test]
fn root_binds_are_read_only_recursive_and_follow_their_source() {
    needs_a_node!();
    let mut pod = Pod::new();
    let host = pod.directory.path().join("host");
    std::fs::create_dir_all(host.join("directory")).unwrap();
    support::write_file(&host.join("directory/file"), "content").unwrap();
    std::os::unix::fs::symlink("directory/file", host.join("link")).unwrap();
    let path = |name: &str| host.join(name).to_str().unwrap().to_owned();
    let check = "set -e
        [ $(cat /mnt/deep/file) = content ]
        ! echo x > /mnt/deep/file
        [ $(cat /through-link) = content ]
        echo changed > /through-link
        ! touch /rro/x
        [ $(stat -c %a /new) = 1777 ]";
    let mut create = pod.container("a", check);
    create.mounts.extend([
        bind(
            &path("directory/file"),
            "/mnt/deep/file",
            &["bind", "ro", "rprivate"],
        ),
        bind(&path("link"), "/through-link", &["rbind", "rprivate"]),
        bind(
            &path("directory"),
            "/rro",
            &["rbind", "rro", "nosuid", "noexec"],
        ),
        mount("tmpfs", "/new", &["size=64k", "mode=1777", "nosuid"]),
    ]);
    assert_eq!(pod.run_to_end(create).exit_code, 0);
    assert_eq!(
        std::fs::read_to_string(host.join("directory/file")).unwrap(),
        "changed\n"
    );
    let mut create = pod.container("b", "true");
    create.mounts.push(bind(&path("missing"), "/x", &["rbind"]));
    let failure = pod.create(create).unwrap_err();
    assert_eq!(failure.errno, 2);
    assert!(
        failure.step.contains("missing") && failure.step.contains("/x"),
        "{failure:?}"
    );
    let mut create = pod.container("c", "true");
    create
        .mounts
        .push(bind(&path("directory"), "/etc/passwd/below", &["rbind"]));
    assert_eq!(pod.create(create).unwrap_err().errno, 20);
}

#[test]
fn root_no_mount_escapes_by_a_link_of_the_image() {
    needs_a_node!();
    let mut pod = Pod::new();
    let victim = pod.directory.path().join("victim");
    std::fs::create_dir(&victim).unwrap();
    let image = pod.directory.path().join("image");
    std::os::unix::fs::symlink(&victim, image.join("absolute")).unwrap();
    std::os::unix::fs::symlink("../../../../..", image.join("up")).unwrap();
    let mut create = pod.container("a", "true");
    create.mounts.push(mount("tmpfs", "/absolute/below", &[]));
    create
        .mounts
        .push(bind("/dev/null", "/up/etc/made", &["bind"]));
    create.masked_paths.push("/absolute".into());
    assert_eq!(pod.run_to_end(create).exit_code, 0);
    assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
    assert!(!std::path::Path::new("/etc/made").exists());
    // proc must be where it says, or the masks would be put elsewhere.
    std::os::unix::fs::symlink("/tmp", image.join("link-to-proc")).unwrap();
    let mut create = pod.container("b", "true");
    create.mounts.push(mount("proc", "/link-to-proc", &[]));
    assert_eq!(pod.create(create).unwrap_err().errno, 40);
}

#[test]
fn root_a_program_that_cannot_be_executed_says_why() {
    needs_a_node!();
    let mut pod = Pod::new();
    let image = pod.directory.path().join("image");
    for (name, text) in [("forbidden", "#!/bin/sh\n"), ("garbage", "garbage")] {
        support::write_file(&image.join("bin").join(name), text).unwrap();
    }
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(image.join("bin/garbage"), executable).unwrap();
    let table = [
        ("/bin/missing", 2),
        ("missing", 2),
        ("/etc/passwd/x", 20),
        ("forbidden", 13),
        ("/etc", 13),
        ("garbage", 8),
    ];
    for (index, (program, errno)) in table.into_iter().enumerate() {
        let id = format!("c{index}");
        pod.create(pod.container_of(&id, &[program])).unwrap();
        let failure = pod.start(&id).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::FailureExecute, "{failure:?}");
        assert_eq!(
            (failure.errno, failure.step),
            (errno, format!("execute {program:?}"))
        );
        assert_eq!(pod.exit_of(&id).exit_code, 128);
        let state = pod
            .hello(0)
            .containers
            .into_iter()
            .find(|container| container.container_id == id)
            .unwrap();
        assert_eq!(state.stage(), container_state::Stage::Exited);
    }
}

#[test]
fn root_users_are_those_of_the_container() {
    needs_a_node!();
    let mut pod = Pod::new();
    let mut run = |id: &str, user: User| -> Result<String, Failure> {
        let mut create = pod.container(
            id,
            "id > /tmp/id; echo $(id -u) $(id -g) $(id -G) $HOME > /share/id; true",
        );
        create.process.as_mut().unwrap().user = Some(user);
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(pod.share(), std::fs::Permissions::from_mode(0o777)).unwrap();
        // Whoever comes after another may not own what that one made.
        drop(std::fs::remove_file(pod.share().join("id")));
        let created = pod.create(create)?;
        pod.start(id).unwrap();
        assert_eq!(pod.exit_of(id).exit_code, 0);
        let user = created.user.unwrap();
        let seen = pod.shared("id");
        assert!(
            seen.starts_with(&format!("{} {} ", user.uid, user.gid)),
            "{seen} {user:?}"
        );
        Ok(seen.trim().to_owned())
    };
    let named = |name: &str| User {
        name: name.into(),
        ..User::default()
    };
    assert_eq!(run("a", User::default()).unwrap(), "0 0 0 /root");
    assert_eq!(
        run("b", named("alice")).unwrap(),
        "1000 1001 1001 /home/alice"
    );
    assert_eq!(
        run("c", named("alice:staff")).unwrap(),
        "1000 50 50 /home/alice"
    );
    assert_eq!(run("d", named("77:88")).unwrap(), "77 88 88 /");
    let merged = User {
        merge_groups: true,
        additional_gids: vec![7],
        ..named("alice")
    };
    assert_eq!(
        run("e", merged).unwrap(),
        "1000 1001 1001 7 50 60 /home/alice"
    );
    let failure = run("f", named("nobody-of-that-name")).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::FailureInvalid);
    assert_eq!(failure.step, "look up user \"nobody-of-that-name\"");
    let failure = run("g", named("alice:no-such-group")).unwrap_err();
    assert_eq!(failure.step, "look up group \"no-such-group\"");
}

#[test]
fn root_rights_are_taken_away() {
    needs_a_node!();
    let mut pod = Pod::new();
    let line = "grep -E '^(Cap|NoNewPrivs|Seccomp:|SigBlk|SigIgn)' /proc/self/status > /share/status; mkdir /tmp/x; echo $? > /share/mkdir; \
                cat /proc/self/limits > /share/limits";
    let mut create = pod.container("a", line);
    let process = create.process.as_mut().unwrap();
    process.no_new_privileges = true;
    process.seccomp = support::deny_filter(libc::SYS_mkdir, 95);
    process.rlimits = vec![Rlimit {
        resource: 7,
        soft: 99,
        hard: 100,
    }];
    process.user = Some(User {
        uid: 1000,
        gid: 1000,
        ..User::default()
    });
    process.capabilities = Some(CapabilitySets {
        bounding: 0x2400,
        effective: 0x400,
        permitted: 0x400,
        inheritable: 0x400,
        ambient: 0x400,
    });
    std::fs::set_permissions(
        pod.share(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    pod.run_to_end(create);
    let status = pod.shared("status");
    for line in [
        "CapInh:\t0000000000000400",
        "CapPrm:\t0000000000000400",
        "CapEff:\t0000000000000400",
        "CapBnd:\t0000000000002400",
        "CapAmb:\t0000000000000400",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "SigBlk:\t0000000000000000",
        "SigIgn:\t0000000000000000",
    ] {
        assert!(
            status.lines().any(|found| found == line),
            "{line} is not in\n{status}"
        );
    }
    assert_eq!(pod.shared("mkdir"), "1\n");
    let limits = pod.shared("limits");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("99"));
    // Without no_new_privs the filter is loaded while there are rights to do so.
    let mut create = pod.container("b", "mkdir /tmp/y || exit 7");
    create.process.as_mut().unwrap().seccomp = support::deny_filter(libc::SYS_mkdir, 95);
    assert_eq!(pod.run_to_end(create).exit_code, 7);
}

#[test]
fn root_an_oom_score_that_is_not_allowed_is_noticed_only() {
    needs_a_node!();
    let mut pod = Pod::new();
    let mut create = pod.container("a", "cat /proc/self/oom_score_adj > /share/score");
    create.process.as_mut().unwrap().oom_score_adj = Some(500);
    pod.run_to_end(create);
    assert_eq!(pod.shared("score"), "500\n");
    let mut create = pod.container("b", "cat /proc/self/oom_score_adj > /share/score");
    create.process.as_mut().unwrap().oom_score_adj = Some(-998);
    pod.create(create).unwrap();
    let allowed = carpel_linux::credentials::bounding_set().unwrap() & (1 << 24) != 0;
    if !allowed {
        let text = pod.event(|body| match body {
            event::Body::Notice(notice) => Some(notice.text),
            _ => None,
        });
        assert!(text.contains("container b: oom_score_adj -998"), "{text}");
    }
    pod.start("b").unwrap();
    assert_eq!(pod.exit_of("b").exit_code, 0);
    assert_eq!(pod.shared("score") == "-998\n", allowed);
}

#[test]
fn root_a_terminal_is_the_controlling_one() {
    needs_a_node!();
    let mut pod = Pod::new();
    let mut create = pod.container("a", "tty > /share/tty; echo x > /dev/tty && [ -c /dev/console ] && [ -t 0 ] && [ -t 2 ] && exit 3");
    create.process.as_mut().unwrap().terminal = true;
    assert_eq!(pod.run_to_end(create).exit_code, 3);
    assert_eq!(pod.shared("tty"), "/dev/pts/0\n");
}

#[test]
fn root_requests_may_be_repeated_and_wrong_ones_are_refused() {
    needs_a_node!();
    let mut pod = Pod::new();
    let create = pod.container("a", "sleep 1000");
    let first = pod.create(create.clone()).unwrap();
    assert_eq!(pod.create(create.clone()).unwrap(), first);
    let started = pod.start("a").unwrap();
    assert_eq!(pod.start("a").unwrap(), started);
    assert!(
        matches!(pod.remove("a"), Answer::Failure(failure) if failure.kind() == FailureKind::FailureWrongState)
    );
    for answer in [
        pod.remove("missing"),
        pod.signal("missing", 9, SignalScope::All),
    ] {
        assert!(
            matches!(answer, Answer::Failure(failure) if failure.kind() == FailureKind::FailureNotFound)
        );
    }
    for id in ["", "..", "a/b", ".hidden"] {
        let bad = CreateContainer {
            container_id: id.into(),
            ..create.clone()
        };
        assert_eq!(
            pod.create(bad).unwrap_err().kind(),
            FailureKind::FailureInvalid,
            "{id:?}"
        );
    }
    // One that never ran can be removed, and its name used again.
    let create = pod.container("b", "true");
    let pid = pod.create(create.clone()).unwrap().pid;
    assert_eq!(pod.remove("b"), Answer::RemoveContainer(Done {}));
    assert!(!support::is_alive(pid));
    assert_eq!(pod.run_to_end(create).exit_code, 0);
    // The same sandbox once more, and another one.
    let sandbox = pod.sandbox();
    let again = pod.ask(request::Operation::CreateSandbox(sandbox.clone()));
    assert!(matches!(again, Answer::CreateSandbox(_)));
    let other = CreateSandbox {
        sandbox_id: "other".into(),
        ..sandbox
    };
    let refused = pod.ask(request::Operation::CreateSandbox(other));
    assert!(
        matches!(refused, Answer::Failure(failure) if failure.kind() == FailureKind::FailureWrongState)
    );
    pod.shut_down();
}

/// A container of 120 layers above one of busybox, below a directory of that name.
fn many_layers(pod: &Pod, id: &str, folder: &str) -> CreateContainer {
    let line = "[ ${#LARGE} = 100000 ] && [ -e /layer-119 ] && [ -e /layer-0 ]";
    let mut create = pod.container(id, line);
    let large = format!("LARGE={}", "x".repeat(100_000));
    create
        .process
        .as_mut()
        .unwrap()
        .environment
        .push(large.into_bytes());
    let folder = pod.directory.path().join(folder);
    let mut lower: Vec<String> = Vec::new();
    for number in 0..120 {
        let name = format!("layer-{number}");
        let directory = folder.join(&name);
        std::fs::create_dir_all(directory.join(&name)).unwrap();
        lower.push(directory.to_str().unwrap().to_owned());
    }
    let base = folder.join("base");
    support::make_busybox(&base);
    lower.push(base.to_str().unwrap().to_owned());
    create.root.as_mut().unwrap().lower = lower;
    create
}

#[test]
fn root_a_large_request_and_many_layers_are_taken() {
    needs_a_node!();
    let mut pod = Pod::new();
    // Names that are too long for a page together, but not relative to their directory.
    let create = many_layers(&pod, "a", "a-long-name-of-a-directory-of-layers");
    assert_eq!(pod.run_to_end(create).exit_code, 0);
    // A colon in a name needs the new interface.
    let create = many_layers(&pod, "b", "layers:");
    match pod.create(create) {
        Ok(_) => {
            pod.start("b").unwrap();
            assert_eq!(pod.exit_of("b").exit_code, 0);
        }
        // lowerdir+ came with Linux 6.5.
        Err(failure) => println!("SKIP the kernel has no lowerdir+: {failure:?}"),
    }
}

/// An image of two layers as a volume at /volume: the upper one hides a file, and has links that lead out of it.
fn image_volume(pod: &Pod, sub_path: &str) -> Mount {
    use std::os::unix::fs::symlink;
    let layer = |name: &str| pod.directory.path().join("volume").join(name);
    let (top, bottom) = (layer("top"), layer("bottom"));
    if !top.exists() {
        std::fs::create_dir_all(bottom.join("etc")).unwrap();
        std::fs::create_dir_all(top.join("etc")).unwrap();
        for (file, text) in [
            (bottom.join("etc/low"), "low"),
            (bottom.join("etc/both"), "wrong"),
            (top.join("etc/both"), "both"),
        ] {
            use std::io::Write;
            let mut file = std::fs::File::create(file).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        symlink("/share", top.join("absolute")).unwrap();
        symlink("../../../../../etc", top.join("relative")).unwrap();
    }
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    Mount {
        destination: "/volume".into(),
        source: "sha256:1".into(),
        r#type: "image".into(),
        options: vec!["ro".into(), "rprivate".into()],
        lower: vec![path(&top), path(&bottom)],
        sub_path: sub_path.into(),
        ..Mount::default()
    }
}

#[test]
fn root_an_image_is_mounted_whole_or_in_part_and_nobody_can_write_to_it() {
    needs_a_node!();
    let mut pod = Pod::new();
    for (id, sub_path, line) in [
        ("a", "", "cat /volume/etc/low /volume/etc/both"),
        ("b", "etc", "cat /volume/low /volume/both"),
        ("c", "etc/../etc/./", "cat /volume/low /volume/both"),
        // Resolved in the image, whose root is as far up as it goes.
        ("d", "relative", "cat /volume/low /volume/both"),
        ("e", "../../../etc", "cat /volume/low /volume/both"),
        ("f", "/etc/both", "echo -n low; cat /volume"),
    ] {
        let write = "! touch /volume/new /volume/etc/new 2>/dev/null";
        // Even with all capabilities, which the containers of this test have.
        let remount = "! mount -o remount,rw,bind /volume || ! touch /volume/new /volume/etc/new";
        let line = format!("{{ {line}; }} >/share/{id} && {write} && {remount} 2>/dev/null");
        let mut create = pod.container(id, &line);
        create.mounts.push(image_volume(&pod, sub_path));
        let exit = pod.run_to_end(create);
        assert_eq!(
            (exit.exit_code, pod.shared(id)),
            (0, "lowboth".to_owned()),
            "{sub_path:?}"
        );
    }
    for (id, sub_path, errno) in [
        ("x", "missing", Errno::NOENT),
        // Not the host's and not the container's /share.
        ("y", "absolute", Errno::NOENT),
        ("z", "etc/low/below", Errno::NOTDIR),
    ] {
        let mut create = pod.container(id, "true");
        create.mounts.push(image_volume(&pod, sub_path));
        let failure = pod.create(create).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::FailureImageVolume);
        assert_eq!(failure.errno, errno.raw_os_error(), "{failure:?}");
        assert!(failure.step.contains(sub_path), "{failure:?}");
    }
    let host = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let folder = pod.directory.path().to_str().unwrap();
    assert!(!host.contains(&format!("{folder}/volume")), "{host}");
    pod.shut_down();
}

#[test]
fn root_the_log_is_complete_when_the_exit_is_told() {
    needs_a_node!();
    let mut pod = Pod::new();
    let path = pod.directory.path().join("log");
    let line = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; echo -n error >&2";
    let mut create = pod.container("a", line);
    create.log_path = path.to_str().unwrap().to_owned();
    let exit = pod.run_to_end(create);
    assert_eq!((exit.exit_code, exit.lost_log_lines), (0, 0));
    let log = std::fs::read_to_string(&path).unwrap();
    assert_eq!(log.lines().count(), 2001);
    assert!(log.contains(" stdout F line 1999\n"), "{log}");
    let error = log.lines().find(|line| line.contains(" stderr ")).unwrap();
    assert!(error.ends_with(" error"), "{error}");
}

#[test]
fn root_the_output_of_a_terminal_is_logged() {
    needs_a_node!();
    let mut pod = Pod::new();
    let path = pod.directory.path().join("log");
    let mut create = pod.container("a", "echo out; echo error >&2");
    create.log_path = path.to_str().unwrap().to_owned();
    create.process.as_mut().unwrap().terminal = true;
    pod.run_to_end(create);
    let log = std::fs::read_to_string(&path).unwrap();
    let texts: Vec<_> = log
        .lines()
        .map(|line| line.splitn(4, ' ').last().unwrap().trim())
        .collect();
    assert_eq!(texts, ["out", "error"]);
}

#[test]
fn root_a_log_is_opened_again_on_request() {
    needs_a_node!();
    let mut pod = Pod::new();
    let path = pod.directory.path().join("log");
    let line = "echo one; echo > /share/up; until [ -e /share/go ]; do sleep 0.01; done; echo two";
    let mut create = pod.container("a", line);
    create.log_path = path.to_str().unwrap().to_owned();
    pod.run(create);
    pod.wait_for("up");
    support::wait_until("the first line", || {
        // The writer makes the file when it has heard of the container.
        std::fs::read_to_string(&path).is_ok_and(|log| log.ends_with("one\n"))
    });
    std::fs::rename(&path, path.with_extension("1")).unwrap();
    let reopen = |id: &str| {
        request::Operation::ReopenLog(ReopenLog {
            container_id: id.into(),
        })
    };
    assert_eq!(pod.ask(reopen("a")), Answer::ReopenLog(Done {}));
    assert!(
        matches!(pod.ask(reopen("missing")), Answer::Failure(failure) if failure.kind() == FailureKind::FailureNotFound)
    );
    support::write_file(&pod.share().join("go"), "").unwrap();
    pod.exit_of("a");
    let log = std::fs::read_to_string(&path).unwrap();
    assert!(
        log.lines().count() == 1 && log.ends_with(" stdout F two\n"),
        "{log}"
    );
}

#[test]
fn root_standard_input_is_null_or_a_pipe_that_stays_open() {
    needs_a_node!();
    let mut pod = Pod::new();
    let exit = pod.run_to_end(pod.container("a", "cat; exit 4"));
    assert_eq!(exit.exit_code, 4);
    let mut create = pod.container("b", "echo > /share/up; cat; exit 4");
    create.stdin = true;
    pod.run(create);
    pod.wait_for("up");
    let state = pod.hello(0);
    let stage = state
        .containers
        .iter()
        .find(|container| container.container_id == "b")
        .unwrap()
        .stage();
    assert_eq!(stage, container_state::Stage::Running);
}

#[test]
fn root_an_exit_that_cannot_be_recorded_is_told_and_recorded_later() {
    needs_a_node!();
    let mut pod = Pod::new();
    pod.run(pod.container("a", "until [ -e /share/go ]; do sleep 0.01; done; exit 6"));
    // A file in the place of the directory stands for a disk that takes no files.
    let directory = pod.pod_directory().join("containers/a");
    std::fs::remove_dir(&directory).unwrap();
    support::write_file(&directory, "").unwrap();
    support::write_file(&pod.share().join("go"), "").unwrap();
    assert_eq!(pod.exit_of("a").exit_code, 6);
    let state = pod.hello(u64::MAX);
    assert_eq!(state.containers[0].exit.as_ref().unwrap().exit_code, 6);
    std::fs::remove_file(&directory).unwrap();
    std::fs::create_dir(&directory).unwrap();
    let record = directory.join("exit.json");
    support::wait_until("the record", || record.exists());
    assert!(
        std::fs::read_to_string(record)
            .unwrap()
            .contains("\"exit_code\":6,")
    );
}
