//! Parts of a node die on their own: a shim, an infra process, the machine. What
//! Carpel says afterwards is its own promise; containerd's shims differ.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and why it is skipped by a line"
)]

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use carpel_integration::crictl::text;
use carpel_integration::node::Node;
use carpel_integration::request::container;
use carpel_integration::request::pod;
use carpel_integration::wait::wait_for;
use serde_json::Value;

/// How long the daemon may take to notice a death.
const NOTICE_DEADLINE: Duration = Duration::from_secs(10);

/// The only process of the node with a name.
fn process_named(node: &Node, name: &str) -> u32 {
    let processes = node.processes();
    let found: Vec<u32> = processes
        .iter()
        .filter(|(_, named)| *named == name)
        .map(|(pid, _)| *pid)
        .collect();
    assert_eq!(found.len(), 1, "processes named {name}: {found:?}");
    found[0]
}

fn wait_until_not_ready(node: &Node, pod: &str) {
    wait_for("the pod to be NotReady", NOTICE_DEADLINE, || {
        let status = node.ask_json(&["inspectp", pod]);
        (status["status"]["state"] == "SANDBOX_NOTREADY").then_some(())
    });
}

fn assert_lost(status: &Value) {
    assert_eq!(status["state"], "CONTAINER_EXITED", "{status:#}");
    assert_eq!(status["reason"], "Unknown", "{status:#}");
    assert_eq!(status["exitCode"], 255, "{status:#}");
}

#[test]
fn root_a_killed_shim_takes_its_pod_with_it_and_no_other() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    node.warm_up();
    let before = node.inventory();
    let doomed = node.run_pod(pod("doomed"));
    let worker = node.start_container(&doomed, &container("worker", &["sleep", "1000"]));
    let shim = process_named(&node, "carpel-shim");
    let other = node.run_pod(pod("other"));
    let bystander = node.start_container(&other, &container("bystander", &["sleep", "1000"]));

    node.signal("KILL", shim);
    wait_until_not_ready(&node, &doomed.0);
    assert_lost(&node.wait_until_exited(&worker));
    assert_eq!(node.container_state(&bystander), "CONTAINER_RUNNING");
    assert_eq!(
        node.ask(&["exec", "-s", &bystander, "echo", "well"]),
        "well"
    );

    node.remove_pod(&doomed);
    node.remove_pod(&other);
    node.assert_nothing_left_since(&before);
    node.finish();
}

#[test]
fn root_a_shim_killed_while_the_daemon_is_dead_is_noticed_at_the_start() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    node.warm_up();
    let mut before = node.inventory();
    let doomed = node.run_pod(pod("doomed"));
    let worker = node.start_container(&doomed, &container("worker", &["sleep", "1000"]));
    let shim = process_named(&node, "carpel-shim");
    let daemon = node.daemon_pid();

    node.kill_daemon();
    node.signal("KILL", shim);
    node.start_daemon();
    wait_until_not_ready(&node, &doomed.0);
    assert_lost(&node.wait_until_exited(&worker));
    node.remove_pod(&doomed);
    before.remove(&format!("process {daemon}"));
    before.insert(format!("process {}", node.daemon_pid()));
    node.assert_nothing_left_since(&before);
    node.finish();
}

#[test]
fn root_a_killed_infra_process_makes_the_pod_not_ready() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    node.warm_up();
    let before = node.inventory();
    let pod = node.run_pod(pod("hollow"));
    let worker = node.start_container(&pod, &container("worker", &["sleep", "1000"]));
    node.signal("KILL", process_named(&node, "carpel-infra"));
    wait_until_not_ready(&node, &pod.0);
    node.tell(&["stopp", &pod.0]);
    assert_eq!(node.container_state(&worker), "CONTAINER_EXITED");
    node.tell(&["rmp", &pod.0]);
    node.assert_nothing_left_since(&before);
    node.finish();
}

/// A file system of a file, mounted in a node; frozen, every write to it hangs
/// in the kernel, where no signal is heard. It is thawed whatever happens: the
/// node could not end otherwise.
struct Disk<'node> {
    node: &'node Node,
    folder: PathBuf,
}

impl<'node> Disk<'node> {
    /// Mounts one over a folder, or says why not.
    fn mount(node: &'node Node, folder: &Path) -> Result<Self, String> {
        let image = node.work.join("disk");
        let script = "truncate -s 32M $0 && mkfs.ext4 -q $0 && mount -o loop $0 $1";
        let output = node
            .command("bash")
            .args(["-c", script])
            .args([image.as_path(), folder])
            .output()
            .unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let folder = folder.to_path_buf();
        Ok(Self { node, folder })
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let status = self
            .node
            .command(program)
            .args(arguments)
            .arg(&self.folder)
            .status()
            .unwrap();
        assert!(status.success(), "{program}: {status}");
    }

    fn thaw(self) {
        self.run("fsfreeze", &["--unfreeze"]);
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // After `thaw` it is an error, and of no interest.
        let thawed = self
            .node
            .command("fsfreeze")
            .arg("--unfreeze")
            .arg(&self.folder)
            .output();
        if let Err(error) = thawed {
            println!("not thawed: {error}");
        }
    }
}

/// Asserts that a call of crictl succeeds soon.
fn tells_within(node: &Node, limit: Duration, arguments: &[&str]) {
    let start = Instant::now();
    node.tell(arguments);
    let took = start.elapsed();
    assert!(took < limit, "crictl {}: {took:?}", arguments.join(" "));
}

#[test]
fn root_a_log_on_a_frozen_file_system_delays_no_stop() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    node.warm_up();
    let before = node.inventory();
    let pod = node.run_pod(pod("frozen"));
    let disk = match Disk::mount(&node, &node.work.join("logs/frozen")) {
        Ok(disk) => disk,
        Err(why) => {
            println!("SKIP no file system can be mounted from a file: {why}");
            return;
        }
    };
    let loud = ["sh", "-c", "while :; do echo tick; sleep 0.02; done"];
    let first = node.start_container(&pod, &container("first", &loud));
    let second = node.start_container(&pod, &container("second", &loud));
    let log = text(&node.ask_json(&["inspect", &first]), "/status/logPath");
    let log = node.path_inside(&log);
    wait_for("the first line", NOTICE_DEADLINE, || {
        std::fs::metadata(&log)
            .is_ok_and(|file| file.len() > 0)
            .then_some(())
    });
    disk.run("fsfreeze", &["--freeze"]);
    let writer = process_named(&node, "carpel-log");
    let stat = node.proc().join(writer.to_string()).join("stat");
    wait_for("the log writer to hang", NOTICE_DEADLINE, || {
        let stat = std::fs::read_to_string(&stat).unwrap();
        stat.contains(") D ").then_some(())
    });

    let soon = Duration::from_secs(5);
    tells_within(&node, soon, &["exec", "-s", &first, "true"]);
    tells_within(&node, soon, &["stop", "--timeout", "0", &first]);
    assert_eq!(node.container_state(&first), "CONTAINER_EXITED");
    tells_within(&node, soon, &["rm", "--keep-logs", &first]);
    tells_within(&node, soon, &["stopp", &pod.0]);
    let status = node.wait_until_exited(&second);
    assert_eq!(status["exitCode"], 137, "{status:#}");
    wait_until_not_ready(&node, &pod.0);

    disk.thaw();
    node.tell(&["rmp", &pod.0]);
    let folder = node.work.join("logs/frozen");
    let undone = node.command("umount").arg(folder).status().unwrap();
    assert!(undone.success());
    node.assert_nothing_left_since(&before);
    node.finish();
}

#[test]
fn root_after_a_reboot_pods_are_not_ready_and_can_be_removed() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    node.warm_up();
    let pod = node.run_pod(pod("rebooted"));
    let running = node.start_container(&pod, &container("running", &["sleep", "1000"]));
    let exited = node.start_container(&pod, &container("exited", &["sh", "-c", "exit 5"]));
    node.wait_until_exited(&exited);
    let address = node.ask_json(&["inspectp", &pod.0])["status"]["network"]["ip"].clone();

    node.reboot();
    node.start_daemon();

    wait_until_not_ready(&node, &pod.0);
    assert_lost(&node.wait_until_exited(&running));
    // Exit records are live state, and went with /run.
    assert_lost(&node.wait_until_exited(&exited));
    node.remove_pod(&pod);
    assert_eq!(node.ask(&["pods", "--quiet"]), "");

    // The address is free again: the same pod can run once more.
    let again = node.run_pod(self::pod("rebooted"));
    let status = node.ask_json(&["inspectp", &again.0]);
    assert!(
        status["status"]["network"]["ip"].is_string(),
        "had {address}"
    );
    node.remove_pod(&again);
    node.undo_boot_id();
    node.finish();
}
