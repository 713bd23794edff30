//! Tests of snapshots on a temporary folder; the one that mounts needs root.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;

fn chain_id(digit: char) -> ChainId {
    format!("sha256:{}", digit.to_string().repeat(64))
        .parse()
        .unwrap()
}

fn store() -> (tempfile::TempDir, Snapshots) {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(folder.path()).unwrap();
    (folder, snapshots)
}

fn add_layer(snapshots: &Snapshots, digit: char, file: &str) {
    let staging = snapshots.stage(&chain_id(digit)).unwrap();
    File::create(staging.path().join(file)).unwrap();
    staging.commit().unwrap();
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited for 20 seconds");
        std::thread::yield_now();
    }
}

#[test]
fn a_layer_is_visible_after_its_commit_and_after_a_restart() {
    let (folder, snapshots) = store();
    let staging = snapshots.stage(&chain_id('a')).unwrap();
    File::create(staging.path().join("file")).unwrap();
    assert_eq!(snapshots.layer(&chain_id('a')), None);
    let path = staging.commit().unwrap();
    assert!(path.join("file").exists());
    assert_eq!(snapshots.layer(&chain_id('a')), Some(path.clone()));
    let usage = snapshots.usage();
    assert_eq!(usage.inodes, 2);
    let again = Snapshots::open(folder.path()).unwrap();
    assert_eq!(again.layer(&chain_id('a')), Some(path));
    assert_eq!(again.usage(), usage);
    assert_eq!(again.chain_ids(), [chain_id('a')]);
    // Numbers are never given twice.
    add_layer(&again, 'b', "file");
    assert_ne!(again.layer(&chain_id('a')), again.layer(&chain_id('b')));
}

#[test]
fn an_abandoned_or_killed_unpacking_leaves_nothing() {
    let (folder, snapshots) = store();
    drop(snapshots.stage(&chain_id('a')).unwrap());
    let killed = snapshots.stage(&chain_id('b')).unwrap();
    File::create(killed.path().join("file")).unwrap();
    // A killed process runs no destructor.
    std::mem::forget(killed);
    let snapshots = Snapshots::open(folder.path()).unwrap();
    assert_eq!(count(snapshots.layers_folder()), 0);
    assert_eq!(snapshots.layer(&chain_id('b')), None);
    wait_until(|| count(&folder.path().join("trash")) == 0);
}

#[test]
fn the_second_commit_of_a_chain_keeps_the_first() {
    let (_folder, snapshots) = store();
    let first = snapshots.stage(&chain_id('a')).unwrap();
    let second = snapshots.stage(&chain_id('a')).unwrap();
    let path = first.commit().unwrap();
    assert_eq!(second.commit().unwrap(), path);
    wait_until(|| count(snapshots.layers_folder()) == 1);
}

#[test]
fn a_layer_with_a_broken_record_is_discarded_at_open() {
    let (folder, snapshots) = store();
    add_layer(&snapshots, 'a', "file");
    let path = snapshots.layer(&chain_id('a')).unwrap();
    File::create(path.with_file_name("layer.json")).unwrap();
    let snapshots = Snapshots::open(folder.path()).unwrap();
    assert_eq!(snapshots.layer(&chain_id('a')), None);
}

#[test]
fn prepare_gives_the_chain_top_first_and_remove_is_idempotent() {
    let (folder, snapshots) = store();
    add_layer(&snapshots, 'a', "file");
    add_layer(&snapshots, 'b', "file");
    let top = snapshots.layer(&chain_id('b')).unwrap();
    fs::set_permissions(&top, fs::Permissions::from_mode(0o1711)).unwrap();
    let chain = [chain_id('a'), chain_id('b')];
    let rootfs = snapshots.prepare("c1", &chain).unwrap();
    assert_eq!(
        rootfs.lower,
        [top, snapshots.layer(&chain_id('a')).unwrap()]
    );
    let mode = fs::metadata(&rootfs.upper).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o1711);
    assert_eq!(snapshots.prepare("c1", &chain).unwrap(), rootfs);
    assert_eq!(snapshots.containers().unwrap(), ["c1"]);
    snapshots.remove_writable("c1").unwrap();
    snapshots.remove_writable("c1").unwrap();
    assert!(snapshots.containers().unwrap().is_empty());
    wait_until(|| count(&folder.path().join("trash")) == 0);
    assert_eq!(
        snapshots
            .prepare("c1", &[chain_id('f')])
            .unwrap_err()
            .kind(),
        ErrorKind::Missing
    );
}

#[test]
fn names_that_lead_out_are_no_containers() {
    let (_folder, snapshots) = store();
    for name in ["", ".", "..", "../snapshots", "a/b", "a\0b"] {
        assert_eq!(
            snapshots.remove_writable(name).unwrap_err().kind(),
            ErrorKind::Invalid,
            "{name:?}"
        );
    }
}

#[test]
fn usage_agrees_with_du() {
    let (_folder, snapshots) = store();
    let rootfs = snapshots.prepare("c1", &[]).unwrap();
    let file = rootfs.upper.join("file");
    fs::copy("/proc/self/exe", &file).unwrap();
    fs::hard_link(&file, rootfs.upper.join("again")).unwrap();
    fs::create_dir(rootfs.upper.join("directory")).unwrap();
    File::create(rootfs.upper.join("sparse"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let du = |arguments: &[&str]| -> u64 {
        let output = Command::new("du")
            .args(arguments)
            .arg(&rootfs.upper)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
    };
    let usage = snapshots.writable_usage("c1").unwrap();
    assert_eq!(usage.bytes, du(&["-s", "-B1"]));
    assert_eq!(usage.inodes, du(&["-s", "--inodes"]));
    assert!(snapshots.containers_usage().unwrap().bytes >= usage.bytes);
}

/// Runs a command in its own mount namespace with the overlay of `rootfs` at `target`.
fn in_overlay(rootfs: &Rootfs, target: &Path, command: &str) -> String {
    let lower: Vec<_> = rootfs
        .lower
        .iter()
        .map(|path| path.to_string_lossy())
        .collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        rootfs.upper.display(),
        rootfs.work.display()
    );
    let script = r#"mount -t overlay overlay -o "$1" "$2" && cd "$2" && eval "$3""#;
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh", &options])
        .args([target, Path::new(command)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn root_ninety_layers_fit_into_one_mount_and_writes_go_to_the_container() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP not root");
        return;
    }
    // A name as long as that of a real root, so that the page of mount options is as full.
    let parent = tempfile::Builder::new()
        .prefix("c")
        .rand_bytes(6)
        .tempdir()
        .unwrap();
    let target = parent.path().join("merged");
    fs::create_dir(&target).unwrap();
    let snapshots = Snapshots::open(parent.path()).unwrap();
    let mut chain = Vec::new();
    for number in 0..90 {
        let chain_id: ChainId = format!("sha256:{number:064}").parse().unwrap();
        let staging = snapshots.stage(&chain_id).unwrap();
        File::create(staging.path().join(format!("file{number}"))).unwrap();
        staging.commit().unwrap();
        chain.push(chain_id);
    }
    let rootfs = snapshots.prepare("c1", &chain).unwrap();
    let output = in_overlay(
        &rootfs,
        &target,
        "touch new; rm file0; ls | wc -l; ls -d file89",
    );
    assert_eq!(output, "90\nfile89\n");
    assert!(rootfs.upper.join("new").exists());
    assert!(!rootfs.lower[0].join("new").exists());
    assert!(rootfs.lower[89].join("file0").exists());
    snapshots.remove_writable("c1").unwrap();
}

#[test]
fn directories_nested_without_end_are_removed() {
    let (folder, snapshots) = store();
    let rootfs = snapshots.prepare("c1", &[]).unwrap();
    let mut directory = rustix::fs::open(
        &rootfs.upper,
        rustix::fs::OFlags::RDONLY,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    for _ in 0..5000 {
        rustix::fs::mkdirat(&directory, "d", rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::RDONLY;
        directory = rustix::fs::openat(&directory, "d", flags, rustix::fs::Mode::empty()).unwrap();
    }
    assert!(snapshots.writable_usage("c1").unwrap().inodes > 1000);
    snapshots.remove_writable("c1").unwrap();
    wait_until(|| count(&folder.path().join("trash")) == 0);
}
