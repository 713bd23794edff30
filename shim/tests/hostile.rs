//! Images, volumes and requests that attack the runtime while it makes a container: what they try is in
//! docs/security/known-vulnerabilities.md.
#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]
#![allow(clippy::panic, reason = "as above")]

mod support;

use carpel_shim_protocol::message::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use support::Pod;
use support::bind;
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

/// A file of the host that nothing may touch, and what it looks like.
struct Victim {
    path: PathBuf,
    before: String,
}

impl Victim {
    fn new(pod: &Pod) -> Self {
        let path = pod.directory.path().join("victim");
        support::write_file(&path, "the host's").unwrap();
        let before = Self::look(&path);
        Self { path, before }
    }

    fn look(path: &PathBuf) -> String {
        use std::os::unix::fs::MetadataExt;
        let found = fs::symlink_metadata(path).unwrap();
        let content = fs::read_to_string(path).unwrap();
        format!(
            "{content} {:o} {}:{} {}",
            found.mode(),
            found.uid(),
            found.gid(),
            found.ino()
        )
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert_eq!(Self::look(&self.path), self.before);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains("/victim"), "{mounts}");
    }
}

/// A directory of the host that becomes the container's /dev, with links to the victim where the runtime works.
fn hostile_dev(pod: &Pod, victim: &Victim) -> Mount {
    let dev = pod.directory.path().join("dev");
    fs::create_dir_all(dev.join("pts")).unwrap();
    for name in ["null", "console", "ptmx", "zero"] {
        symlink(&victim.path, dev.join(name)).unwrap();
    }
    bind(dev.to_str().unwrap(), "/dev", &["rbind", "rw"])
}

/// CVE-2025-31133: runc masked a file with the container's own /dev/null, which might be a link.
#[test]
fn root_masks_are_made_of_the_hosts_null() {
    needs_a_node!();
    let mut pod = Pod::new();
    let victim = Victim::new(&pod);
    let line = "cat /proc/keys > /share/keys; stat -c '%t:%T' /proc/keys > /share/kind; echo x > /proc/keys; exit 0";
    let mut create = pod.container("a", line);
    let hostile = hostile_dev(&pod, &victim);
    create
        .mounts
        .retain(|mount| !mount.destination.starts_with("/dev"));
    create.mounts.push(hostile);
    create.devices.clear();
    assert_eq!(pod.run_to_end(create).exit_code, 0);
    assert_eq!(pod.shared("keys"), "");
    assert_eq!(pod.shared("kind"), "1:3\n");
    victim.assert_untouched();
}

/// CVE-2025-52565: runc bound the terminal at a /dev/console that might be a link.
#[test]
fn root_a_terminal_is_bound_at_no_place_of_the_host() {
    needs_a_node!();
    let mut pod = Pod::new();
    let victim = Victim::new(&pod);
    let hostile = hostile_dev(&pod, &victim);
    let mut create = pod.container("a", "echo typed > /dev/console; exit 0");
    create.process.as_mut().unwrap().terminal = true;
    let ours = |mount: &Mount| matches!(mount.destination.as_str(), "/dev" | "/dev/mqueue");
    create.mounts.retain(|mount| !ours(mount));
    create.mounts.insert(1, hostile);
    create.devices.clear();
    // It may be refused; it may not succeed outside.
    if pod.create(create).is_ok() {
        drop(pod.start("a"));
        pod.exit_of("a");
    }
    victim.assert_untouched();
}

/// CVE-2026-41579: an image whose /dev is a link.
#[test]
fn root_a_link_for_dev_leads_nowhere() {
    needs_a_node!();
    let mut pod = Pod::new();
    let outside = pod.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, pod.directory.path().join("image/dev")).unwrap();
    let mut create = pod.container("a", "echo > /share/ran; exit 0");
    create.process.as_mut().unwrap().terminal = true;
    if pod.create(create).is_ok() {
        pod.start("a").unwrap();
        pod.exit_of("a");
    }
    // A mount of its own for /dev is not needed for the links and nodes in it.
    let mut create = pod.container("b", "exit 0");
    create
        .mounts
        .retain(|mount| !mount.destination.starts_with("/dev"));
    drop(pod.create(create));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

/// CVE-2025-52881, CVE-2019-16884, CVE-2019-19921: what the runtime writes to proc must not go to what a volume has there.
#[test]
fn root_attributes_are_written_to_the_real_proc() {
    needs_a_node!();
    let mut pod = Pod::new();
    let victim = Victim::new(&pod);
    let proc = pod.directory.path().join("proc");
    for directory in ["self/attr/apparmor", "thread-self/attr", "1", "sys/kernel"] {
        fs::create_dir_all(proc.join(directory)).unwrap();
    }
    for file in [
        "self/oom_score_adj",
        "1/oom_score_adj",
        "self/attr/exec",
        "self/attr/apparmor/exec",
    ] {
        symlink(&victim.path, proc.join(file)).unwrap();
    }
    let mut create = pod.container("a", "echo > /share/up; while :; do sleep 1000; done");
    create.mounts.retain(|mount| mount.destination != "/proc");
    create
        .mounts
        .insert(0, bind(proc.to_str().unwrap(), "/proc", &["rbind", "rw"]));
    create.process.as_mut().unwrap().oom_score_adj = Some(700);
    let pid = pod.create(create).unwrap().pid;
    pod.start("a").unwrap();
    pod.wait_for("up");
    let score = |pid: i32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score(pid), "700\n");
    let line = "echo > /share/exec; read x";
    let mut exec = exec_of("a", "e", &["sh", "-c", line]);
    exec.process.as_mut().unwrap().oom_score_adj = Some(800);
    let (input, keep) = rustix::pipe::pipe().unwrap();
    let null = fs::File::open("/dev/null").unwrap();
    use std::os::fd::AsFd;
    let descriptors = [input.as_fd(), null.as_fd(), null.as_fd()];
    let answer = pod.ask_with(request::Operation::Exec(exec), &descriptors).0;
    let response::Result::Exec(started) = answer else {
        panic!("{answer:?}");
    };
    pod.wait_for("exec");
    assert_eq!(score(started.pid), "800\n");
    drop(keep);
    victim.assert_untouched();
}

/// CVE-2024-21626: a working directory by way of a descriptor that the runtime has left open.
#[test]
fn root_no_working_directory_leads_out_by_a_descriptor() {
    needs_a_node!();
    let mut pod = Pod::new();
    let marker = pod.directory.path().join("marker");
    support::write_file(&marker, "").unwrap();
    let marker = marker.to_str().unwrap();
    let look = format!(
        "if [ -e ../../../../../..{marker} ] || [ -e {marker} ]; then echo > /share/escaped; fi; exit 0"
    );
    pod.run(pod.container("sleeper", "echo > /share/up; while :; do sleep 1000; done"));
    pod.wait_for("up");
    for number in 0..20 {
        for (index, path) in [
            format!("/proc/self/fd/{number}"),
            format!("/proc/self/fd/{number}/.."),
            format!("/proc/thread-self/fd/{number}/../.."),
        ]
        .into_iter()
        .enumerate()
        {
            let id = format!("c{number}-{index}");
            let mut create = pod.container(&id, &look);
            create.process.as_mut().unwrap().working_directory = path.clone();
            if pod.create(create).is_ok() {
                drop(pod.start(&id));
                pod.exit_of(&id);
                pod.remove(&id);
            }
            let mut exec = exec_of("sleeper", &id, &["sh", "-c", &look]);
            exec.process.as_mut().unwrap().working_directory = path;
            drop(pod.exec(exec));
        }
    }
    assert!(!pod.share().join("escaped").exists());
}

/// CVE-2021-30465, CVE-2024-45310: a directory that a neighbour swaps for a link while mount points are made below it.
#[test]
fn root_a_swapped_directory_gets_nothing_outside() {
    needs_a_node!();
    let mut pod = Pod::new();
    let volume = pod.directory.path().join("volume");
    let outside = pod.directory.path().join("outside");
    for directory in [&volume, &outside] {
        fs::create_dir(directory).unwrap();
    }
    let outside_path = outside.to_str().unwrap().to_owned();
    // A place of the same path in the image: that is where the link should lead.
    fs::create_dir_all(
        pod.directory
            .path()
            .join("image")
            .join(outside_path.trim_start_matches('/')),
    )
    .unwrap();
    let swap = format!(
        "echo > /share/up; while :; do mkdir /volume/x; ln -sn {outside_path} /volume/y; rm -rf /volume/x; \
         ln -sn {outside_path} /volume/x; rm -f /volume/x /volume/y; done 2>/dev/null"
    );
    let shared = bind(volume.to_str().unwrap(), "/volume", &["rbind", "rw"]);
    let mut swapper = pod.container("swapper", &swap);
    swapper.mounts.push(shared.clone());
    pod.run(swapper);
    pod.wait_for("up");
    for round in 0..40 {
        let id = format!("c{round}");
        let mut create = pod.container(&id, "true");
        create.mounts.push(shared.clone());
        create
            .mounts
            .push(support::mount("tmpfs", "/volume/x/deep/made", &[]));
        create
            .mounts
            .push(bind("/dev/null", "/volume/x/file", &["bind"]));
        if pod.create(create).is_ok() {
            drop(pod.start(&id));
            pod.exit_of(&id);
        }
        pod.remove(&id);
    }
    pod.signal("swapper", 9, SignalScope::All);
    pod.exit_of("swapper");
    let found: Vec<_> = fs::read_dir(&outside).unwrap().collect();
    assert!(found.is_empty(), "{found:?}");
}

/// CVE-2020-15257: nothing of a pod listens on an abstract socket.
#[test]
fn root_no_socket_is_abstract() {
    needs_a_node!();
    let mut pod = Pod::new();
    let shim = pod.shim.id();
    let inodes: Vec<String> = fs::read_dir(format!("/proc/{shim}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect();
    assert!(!inodes.is_empty());
    let table = fs::read_to_string("/proc/net/unix").unwrap();
    let rows: Vec<&str> = table
        .lines()
        .filter(|row| {
            row.split_whitespace()
                .nth(6)
                .is_some_and(|inode| inodes.iter().any(|own| own == inode))
        })
        .collect();
    assert!(!rows.is_empty());
    for row in rows {
        let name = row.split_whitespace().nth(7).unwrap_or_default();
        assert!(!name.starts_with('@'), "{row}");
    }
    pod.shut_down();
}
