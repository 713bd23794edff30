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
    let usage = snapshots.usage().unwrap();
    let again = Snapshots::open(folder.path()).unwrap();
    assert_eq!(again.layer(&chain_id('a')), Some(path));
    assert_eq!(again.usage().unwrap(), usage);
    assert_eq!(again.chain_ids(), [chain_id('a')]);
    // Numbers are never given twice.
    add_layer(&again, 'b', "file");
    assert_ne!(again.layer(&chain_id('a')), again.layer(&chain_id('b')));
}

/// CVE-2021-41103, CVE-2024-25621: setuid programs of images are for no user of the host.
#[test]
fn nobody_but_the_owner_enters_the_store() {
    let (folder, snapshots) = store();
    let staging = snapshots.stage(&chain_id('a')).unwrap();
    let is_closed = |path: &Path| {
        let mut above = path.ancestors().skip(1);
        above.any(|directory| {
            directory.starts_with(folder.path())
                && directory != folder.path()
                && fs::metadata(directory).unwrap().permissions().mode() & 0o077 == 0
        })
    };
    assert!(is_closed(staging.path()), "{}", staging.path().display());
    staging.commit().unwrap();
    let rootfs = snapshots.prepare("c1", &[chain_id('a')]).unwrap();
    for path in rootfs.lower.iter().chain([&rootfs.upper, &rootfs.work]) {
        assert!(is_closed(path), "{}", path.display());
    }
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
    drop(second);
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

/// What `du` and `find` say of some directories together.
pub(crate) fn du_and_find(paths: &[&Path]) -> Usage {
    let number = |command: &mut Command| -> u64 {
        let output = command.args(paths).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
    };
    let script = r#"find "$@" -xdev -printf '%i\n' | sort -u | wc -l"#;
    let total = r#"du -c -s --block-size=1 "$@" | tail -n 1"#;
    Usage {
        bytes: number(Command::new("sh").args(["-c", total, "sh"])),
        inodes: number(Command::new("sh").args(["-c", script, "sh"])),
    }
}

/// A writable layer with what makes counting hard.
fn fill(upper: &Path) {
    let file = upper.join("file");
    fs::copy("/proc/self/exe", &file).unwrap();
    // A file system may need another block for what it has only promised until then.
    File::open(&file).unwrap().sync_all().unwrap();
    fs::hard_link(&file, upper.join("again")).unwrap();
    let sparse = File::create(upper.join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    std::os::unix::fs::symlink("/", upper.join("link")).unwrap();
    let mut deep = upper.to_owned();
    for number in 0..60 {
        deep.push(format!("{number}-{}", "directory".repeat(8)));
        fs::create_dir(&deep).unwrap();
        fs::hard_link(&file, deep.join("linked")).unwrap_or_default();
        if deep.as_os_str().len() > 3900 {
            break;
        }
    }
}

#[test]
fn usage_agrees_with_du() {
    let (folder, snapshots) = store();
    let rootfs = snapshots.prepare("c1", &[]).unwrap();
    fill(&rootfs.upper);
    let measured = snapshots.measure_usage("c1").unwrap();
    assert_eq!(measured.written, du_and_find(&[&rootfs.upper]));
    snapshots.prepare("c2", &[]).unwrap();
    let all = snapshots.containers_usage().unwrap();
    assert_eq!(all, du_and_find(&[snapshots.containers_folder()]));
    // Layers, one of them unfinished, and the trash.
    add_layer(&snapshots, 'a', "file");
    let staging = snapshots.stage(&chain_id('b')).unwrap();
    fill(staging.path());
    let folders = ["snapshots", "empty", "trash"].map(|name| folder.path().join(name));
    let folders = folders.each_ref().map(std::path::PathBuf::as_path);
    assert_eq!(snapshots.usage().unwrap(), du_and_find(&folders));
}

#[test]
fn a_known_usage_is_told_at_once_and_measured_again_when_it_is_not_fresh() {
    let (_folder, snapshots) = store();
    let rootfs = snapshots.prepare("c1", &[]).unwrap();
    assert_eq!(snapshots.known_usage("c1"), None);
    let first = snapshots.measure_usage("c1").unwrap();
    File::create(rootfs.upper.join("new")).unwrap();
    assert_eq!(snapshots.known_usage("c1"), Some(first));

    snapshots.measurements().age("c1", Duration::from_secs(11));
    let known = snapshots.known_usage("c1").unwrap();
    assert_eq!(known.written, first.written);
    wait_until(|| snapshots.known_usage("c1").unwrap().written == du_and_find(&[&rootfs.upper]));

    snapshots.measurements().age("c1", Duration::from_secs(61));
    assert_eq!(snapshots.known_usage("c1"), None);
    snapshots.measure_usage("c1").unwrap();
    snapshots.remove_writable("c1").unwrap();
    assert_eq!(snapshots.known_usage("c1"), None);
    assert!(snapshots.measure_usage("c1").is_err());
}

#[test]
fn files_that_vanish_while_they_are_counted_are_no_error() {
    let (_folder, snapshots) = store();
    let rootfs = snapshots.prepare("c1", &[]).unwrap();
    let busy = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while busy.load(std::sync::atomic::Ordering::Relaxed) {
                let directory = rootfs.upper.join("directory");
                fs::create_dir_all(directory.join("inner")).unwrap();
                fs::remove_dir_all(&directory).unwrap();
            }
        });
        for _ in 0..500 {
            snapshots.measure_usage("c1").unwrap();
        }
        busy.store(false, std::sync::atomic::Ordering::Relaxed);
    });
    let measured = snapshots.measure_usage("c1").unwrap();
    assert_eq!(measured.written, du_and_find(&[&rootfs.upper]));
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
    assert_eq!(snapshots.measure_usage("c1").unwrap().written.inodes, 5001);
    snapshots.remove_writable("c1").unwrap();
    wait_until(|| count(&folder.path().join("trash")) == 0);
}
