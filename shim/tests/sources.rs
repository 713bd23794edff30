//! Sources of binds: what their options take away from a program, and that they are what was checked.
#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]
#![allow(clippy::panic, reason = "as above")]

mod support;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use carpel_shim_protocol::message::{FailureKind, Mount};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};
use support::{Pod, bind};

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
fn root_mount_options_hold_for_programs_and_devices() {
    needs_a_node!();
    let mut pod = Pod::new();
    let host = pod.directory.path().join("host");
    std::fs::create_dir(&host).unwrap();
    support::write_file(&host.join("program"), "#!/bin/sh\necho ran\n").unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(host.join("program"), mode).unwrap();
    // May be refused here: then there is no device to try.
    let null = makedev(1, 3);
    let has_device = mknodat(
        CWD,
        host.join("null"),
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        null,
    )
    .is_ok();
    let source = host.to_str().unwrap();
    let mut check = "set -e
        [ $(/plain/program) = ran ]
        ! /noexec/program
        grep -q ' /nosuid [^-]*nosuid' /proc/self/mountinfo
        ! grep -q ' /plain [^-]*nosuid' /proc/self/mountinfo
        [ $(/nosuid/program) = ran ]"
        .to_owned();
    if has_device {
        check.push_str(
            "
        echo x > /plain/null
        ! echo x > /nodev/null",
        );
    }
    let mut create = pod.container("a", &check);
    create.mounts.push(bind(source, "/plain", &["rbind"]));
    for option in ["noexec", "nodev", "nosuid"] {
        let mount = bind(source, &format!("/{option}"), &["rbind", "rw", option]);
        create.mounts.push(mount);
    }
    assert_eq!(pod.run_to_end(create).exit_code, 0);
}

/// A bind of what is at `source` now.
fn checked(source: &Path, destination: &str) -> Mount {
    let found = std::fs::symlink_metadata(source).unwrap();
    Mount {
        source_device: found.dev(),
        source_inode: found.ino(),
        ..bind(source.to_str().unwrap(), destination, &["rbind"])
    }
}

#[test]
fn root_a_source_that_was_replaced_is_not_mounted() {
    needs_a_node!();
    let mut pod = Pod::new();
    let (good, bad) = (
        pod.directory.path().join("good"),
        pod.directory.path().join("bad"),
    );
    for folder in [&good, &bad] {
        std::fs::create_dir(folder).unwrap();
    }
    support::write_file(&good.join("good"), "").unwrap();
    let check = "[ -e /mnt/good ]";
    let mut create = pod.container("a", check);
    create.mounts.push(checked(&good, "/mnt"));
    assert_eq!(pod.run_to_end(create).exit_code, 0);
    let mount = checked(&good, "/mnt");
    std::fs::rename(&good, pod.directory.path().join("moved")).unwrap();
    // Another directory, and a link to one.
    for replacement in ["directory", "link"] {
        match replacement {
            "directory" => std::fs::rename(&bad, &good).unwrap(),
            _ => {
                std::fs::rename(&good, &bad).unwrap();
                std::os::unix::fs::symlink(&bad, &good).unwrap();
            }
        }
        for options in [&["rbind"][..], &["rbind", "rshared"]] {
            let id = format!("{replacement}-{}", options.len());
            let mut create = pod.container(&id, check);
            let mut mount = mount.clone();
            mount.options = options.iter().map(|&option| option.to_owned()).collect();
            create.mounts.push(mount);
            let failure = pod.create(create).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::FailureInvalid, "{failure:?}");
            assert!(failure.detail.contains("was replaced"), "{id}: {failure:?}");
        }
    }
}

/// A directory and a link to another one change places all the time: a container is made with the directory, or not at all.
#[test]
fn root_a_source_that_is_swapped_is_the_checked_one_or_none() {
    needs_a_node!();
    let mut pod = Pod::new();
    let folder = pod.directory.path().join("swapped");
    let target = pod.directory.path().join("target");
    for folder in [&folder, &target, &folder.join("a")] {
        std::fs::create_dir(folder).unwrap();
    }
    support::write_file(&target.join("secret"), "").unwrap();
    std::os::unix::fs::symlink(&target, folder.join("b")).unwrap();
    let mount = checked(&folder.join("a"), "/mnt");
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let (a, b) = (folder.join("a"), folder.join("b"));
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
            }
        }
    });
    let (mut made, mut refused) = (0, 0);
    for number in 0..200 {
        let mut create = pod.container(&format!("c{number}"), "[ ! -e /mnt/secret ]");
        create.mounts.push(mount.clone());
        match pod.create(create) {
            Ok(_created) => {
                pod.start(&format!("c{number}")).unwrap();
                assert_eq!(pod.exit_of(&format!("c{number}")).exit_code, 0);
                made += 1;
            }
            Err(failure) => {
                assert!(failure.detail.contains("was replaced"), "{failure:?}");
                refused += 1;
            }
        }
        if made > 5 && refused > 5 {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(made > 0 && refused > 0, "{made} made, {refused} refused");
}
