//! The daemon dies in the middle of a pull, at any moment: the store has whole images only, nothing of what was half
//! done stays, and the next pull works.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and its seed by printing"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use carpel_integration::image::Served;
use carpel_integration::node::Node;
use carpel_integration::request::{container, pod};
use carpel_integration::wait::wait_for;
use serde_json::Value;

/// Kills at random moments; `CRASH_KILLS` asks for another number.
const KILLS: u32 = 100;

const LAYERS: usize = 6;

/// How long the daemon may take to empty its trash.
const CLEAN_DEADLINE: Duration = Duration::from_secs(20);

/// Numbers that look random, from a seed that is printed (xorshift, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = std::env::var("CRASH_SEED").ok();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seed = seed.map_or_else(
            || u64::from(now.unwrap().subsec_nanos()),
            |seed| seed.parse().unwrap(),
        );
        println!("CRASH_SEED={seed}");
        Self(seed | 1)
    }

    /// Between nothing and `longest`.
    fn duration(&mut self, longest: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let share = (self.0 >> 11) as f64 / (1_u64 << 53) as f64;
        longest.mul_f64(share)
    }
}

/// `carpel image verify` in the node.
fn verify(node: &Node) -> Value {
    let output = node
        .command("bash")
        .args([
            "-c",
            "\"$NODE_CARPEL\" image verify --socket \"$NODE_SOCKET\" --output json",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("carpel image verify: {error}: {said}"));
    assert_eq!(
        output.status.success(),
        report["findings"] == serde_json::json!([])
    );
    report
}

/// The store, which may be mounted in the node only.
fn store(node: &Node) -> PathBuf {
    node.path_inside(node.work.join("root").to_str().unwrap())
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Waits until nothing is there that is not whole, and gives what `du` counts of the store.
fn size_when_clean(node: &Node) -> u64 {
    let root = store(node);
    wait_for("a store without leftovers", CLEAN_DEADLINE, || {
        let is_clean = entries(&root.join("ingest")).is_empty()
            && entries(&root.join("trash")).is_empty()
            && !entries(&root.join("snapshots"))
                .iter()
                .any(|name| name.starts_with('.'))
            && !entries(&root.join("images"))
                .iter()
                .any(|name| name.starts_with('.'));
        is_clean.then_some(())
    });
    let folders = ["blobs", "ingest", "images", "snapshots", "trash", "leases"];
    // What ext4 has not placed yet is counted when it is.
    let status = Command::new("sync").arg("-f").arg(&root).status().unwrap();
    assert!(status.success());
    let output = Command::new("du")
        .args(["--block-size=1", "--summarize", "--total"])
        .args(folders.map(|folder| root.join(folder)))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let total = text.lines().last().unwrap();
    total.split_whitespace().next().unwrap().parse().unwrap()
}

fn remove(node: &Node, name: &str) {
    node.tell(&["rmi", name]);
    let blobs = store(node).join("blobs/sha256");
    wait_for("the removed image's blobs to go", CLEAN_DEADLINE, || {
        entries(&blobs).is_empty().then_some(())
    });
}

/// What must hold whenever the daemon is up, in a store that has this image or none.
fn assert_whole(node: &Node, when: &str) {
    let report = verify(node);
    assert_eq!(report["findings"], serde_json::json!([]), "{when}");
    let listed = node.ask_json(&["images", "--output", "json"]);
    let images = listed["images"].as_array().unwrap().len();
    assert_eq!(report["summary"]["images"], images, "{when}");
    assert_eq!(report["summary"]["layers"], images * LAYERS, "{when}");
    let root = store(node);
    // Layers and blobs of no image are gone, and what was half done too.
    let clean = format!("{when}: a store without leftovers");
    wait_for(&clean, CLEAN_DEADLINE, || {
        let layers = entries(&root.join("snapshots"));
        let blobs = entries(&root.join("blobs/sha256"));
        let is_clean = layers.len() == images * LAYERS
            && blobs.len() == images * (LAYERS + 2)
            && entries(&root.join("ingest")).is_empty();
        is_clean.then_some(())
    });
}

/// Puts the store on a file system of its own in memory, ext4 with a journal: its syncs are real and wait for nobody
/// else's writes, so that a hundred pulls take minutes. The daemon is started again. Says whether it is there.
fn mount_store(node: &Node) -> bool {
    let script = "image=$(mktemp -p /dev/shm) && truncate -s 512M $image && mkfs.ext4 -q $image \
                  && mount -o loop $image $0; status=$?; rm -f $image; exit $status";
    node.kill_daemon();
    let output = node
        .command("bash")
        .args(["-c", script])
        .arg(node.work.join("root"))
        .output()
        .unwrap();
    let is_there = output.status.success();
    if !is_there {
        let said = String::from_utf8_lossy(&output.stderr);
        println!("no file system of its own for the store: {said}");
    }
    node.start_daemon();
    is_there
}

fn unmount_store(node: &Node) {
    node.kill_daemon();
    let root = node.work.join("root");
    let status = node.command("umount").arg(root).status().unwrap();
    assert!(status.success());
    node.start_daemon();
}

#[test]
fn root_a_hundred_kills_in_a_pull_leave_whole_images_only() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let is_mounted = mount_store(&node);
    let image = Served::start(&node, LAYERS);
    let mut random = Random::new();
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        let start = Instant::now();
        node.tell(&["pull", &image.name]);
        longest = longest.max(start.elapsed());
        assert_whole(&node, "after a pull");
        remove(&node, &image.name);
    }
    node.tell(&["pull", &image.name]);
    let clean = size_when_clean(&node);
    remove(&node, &image.name);
    println!("a pull takes {longest:?} and {clean} bytes");

    let asked = std::env::var("CRASH_KILLS").ok();
    let kills = asked.map_or(KILLS, |number| number.parse().unwrap());
    let (mut finished, mut in_part) = (0, 0);
    let start = Instant::now();
    for kill in 1..=kills {
        let delay = random.duration(longest);
        let mut pull = node
            .command("crictl")
            .args(["pull", &image.name])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A moment, not a state, is what is waited for.
        let moment = Instant::now() + delay;
        wait_for("the moment", delay + Duration::from_secs(5), || {
            (Instant::now() >= moment).then_some(())
        });
        let root = store(&node);
        node.kill_daemon();
        let left = entries(&root.join("ingest")).len() + entries(&root.join("snapshots")).len();
        let is_recorded = !entries(&root.join("images")).is_empty();
        in_part += u32::from(left > 0 && !is_recorded);
        finished += u32::from(is_recorded);
        pull.wait().unwrap();
        node.start_daemon();
        let when = format!("kill {kill} after {delay:?}");
        assert_whole(&node, &when);
        node.tell(&["pull", &image.name]);
        assert_whole(&node, &when);
        if kill < kills {
            remove(&node, &image.name);
        }
    }
    println!(
        "{kills} kills in {:?}: {in_part} in the middle, {finished} after the record was written",
        start.elapsed()
    );
    assert!(in_part > 0, "no kill came in the middle of a pull");
    assert_eq!(size_when_clean(&node), clean, "something leaks");

    let pod = node.run_pod(pod("after"));
    let mut request = container("after", &["/bin/busybox", "cat", "/data/5-19"]);
    request["image"]["image"] = image.name.clone().into();
    let started = node.start_container(&pod, &request);
    assert_eq!(node.wait_until_exited(&started)["exitCode"], 0);
    node.remove_pod(&pod);
    if is_mounted {
        unmount_store(&node);
    }
    image.stop(&node);
    node.finish();
}

/// The calls that make something durable or visible, and the one that makes the last file of a layer.
const ORDER: &str = "--trace=fsync,fdatasync,syncfs,rename,renameat,renameat2,openat";

#[test]
fn root_nothing_is_visible_before_it_is_durable() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let image = Served::start(&node, LAYERS);
    let traced = match node.traced(&[ORDER], &["pull", &image.name]) {
        Ok(traced) => traced,
        Err(why) => {
            println!("SKIP {why}");
            return;
        }
    };
    assert!(traced.is_success);
    let calls = traced.calls;
    let root = node.work.join("root").display().to_string();
    let before = |place: usize, name: &str, path: &str| {
        let earlier = &calls[..place];
        earlier
            .iter()
            .any(|call| call.name == name && call.text.contains(path))
    };
    let after = |place: usize, name: &str, path: &str| {
        let later = &calls[place..];
        later
            .iter()
            .any(|call| call.name == name && call.text.contains(path))
    };
    let (mut blobs, mut layers, mut records) = (0, 0, 0);
    for (place, call) in calls.iter().enumerate() {
        if !call.name.starts_with("rename") {
            continue;
        }
        let mut names = call.text.split('"').skip(1).step_by(2);
        let (Some(from), Some(to)) = (names.next(), names.next()) else {
            continue;
        };
        if to.starts_with(&format!("{root}/blobs/")) {
            blobs += 1;
            assert!(before(place, "fdatasync", from), "{}", call.text);
            assert!(after(place, "fsync", "/blobs/sha256"), "{}", call.text);
        } else if to.starts_with(&format!("{root}/snapshots/")) {
            layers += 1;
            // Layers share their syncs: one that began after the last file of this one was made.
            let record = format!("{from}/layer.json");
            let made = calls[..place]
                .iter()
                .position(|call| call.name == "openat" && call.text.contains(&record));
            let made = made.unwrap_or_else(|| panic!("{record} is not made"));
            let synced = calls[made..place]
                .iter()
                .any(|call| call.name == "syncfs" && call.text.contains("/snapshots"));
            assert!(synced, "{}", call.text);
            assert!(after(place, "fsync", "/snapshots"), "{}", call.text);
        } else if to.starts_with(&format!("{root}/images/")) {
            records += 1;
            assert!(before(place, "fsync", from), "{}", call.text);
            // The record names only what is durable itself.
            assert_eq!((blobs, layers), (LAYERS + 2, LAYERS), "{}", call.text);
        }
    }
    assert_eq!((blobs, layers, records), (LAYERS + 2, LAYERS, 1));
    image.stop(&node);
    node.finish();
}

#[test]
fn root_a_disk_that_refuses_leaves_whole_images_only() {
    let Some(node) = Node::start_carpel() else {
        return;
    };
    let image = Served::start(&node, LAYERS);
    let renames = "rename,renameat,renameat2";
    for (calls, fault, folder) in [
        ("fdatasync", "error=EIO", ""),
        ("syncfs", "error=EIO", ""),
        ("syncfs", "error=ENOSPC", ""),
        ("fsync", "error=EIO", "blobs/sha256"),
        ("fsync", "error=EIO", "snapshots"),
        ("fsync", "error=EIO", "images"),
        (renames, "error=EIO", ""),
        (renames, "error=ENOSPC", ""),
        ("fdatasync", "signal=KILL", ""),
        ("syncfs", "signal=KILL", ""),
        ("fsync", "signal=KILL", "blobs/sha256"),
        ("fsync", "signal=KILL", "snapshots"),
        ("fsync", "signal=KILL", "images"),
        (renames, "signal=KILL", ""),
    ] {
        // strace counts calls for each thread: the first one of every thread fails.
        let when = format!("--inject={calls}:{fault}:when=1");
        let trace = format!("--trace={calls}");
        let mut options = vec![trace.as_str(), &when];
        let path = node.work.join("root").join(folder).display().to_string();
        if !folder.is_empty() {
            options.extend(["--trace-path", &path]);
        }
        let traced = match node.traced(&options, &["pull", &image.name]) {
            Ok(traced) => traced,
            Err(why) => {
                println!("SKIP {why}");
                return;
            }
        };
        let when = format!("{when} {folder}");
        assert!(!traced.is_success, "{when}");
        if fault.contains("KILL") {
            let daemon = node.daemon_pid();
            wait_for("the daemon's end", CLEAN_DEADLINE, || {
                (!node.is_running(daemon)).then_some(())
            });
            node.start_daemon();
            assert_whole(&node, &when);
        }
        assert_eq!(verify(&node)["findings"], serde_json::json!([]), "{when}");
        // Layers of the failed pull may be on their way still, to fail too: that is not the next one's failure.
        let pulled = node.crictl(&["pull", &image.name]);
        assert!(pulled.status.success(), "{when}: {pulled:?}");
        // What could not even be moved to the trash stays until the next start.
        node.kill_daemon();
        node.start_daemon();
        assert_whole(&node, &when);
        remove(&node, &image.name);
    }
    image.stop(&node);
    node.finish();
}
