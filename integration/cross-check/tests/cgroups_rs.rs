//! What cgroups-rs makes of the same limits (docs/decisions/0001-own-cgroup-module.md).
#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

use carpel::cgroup::{Cgroup, CgroupConfig, Cgroups, DeviceAccess, writes};
use cgroups_rs::manager::{FsManager, Manager as _};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources};

/// cgroup2 with the memory and pids controllers at the place that cgroups-rs knows; else says why not.
fn cgroups() -> Option<Cgroups> {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP not root");
        return None;
    }
    let cgroups = match Cgroups::open(CgroupConfig::default()) {
        Ok(cgroups) => cgroups,
        Err(error) => {
            println!("SKIP {error}");
            return None;
        }
    };
    if cgroups.mountpoint() != std::path::Path::new("/sys/fs/cgroup") {
        println!("SKIP cgroups-rs knows cgroup2 at /sys/fs/cgroup only");
        return None;
    }
    if !cgroups.has("memory") || !cgroups.has("pids") {
        println!("SKIP no memory or no pids controller in cgroup2");
        return None;
    }
    Some(cgroups)
}

fn content(cgroup: &Cgroup, file: &str) -> String {
    cgroup.read(file).unwrap().trim_end().to_owned()
}

/// The same values. Not compared are cpu limits, which it refuses on a kernel without cpusets, and whose weights it
/// calculates by the old formula.
#[test]
fn root_cgroups_rs_writes_the_same_limits() {
    let Some(cgroups) = cgroups() else {
        return;
    };
    let parent = format!("/carpel-cross-check-{}", std::process::id());
    let pod = cgroups.pod(&parent, "p1").unwrap();
    pod.create().unwrap();
    let mut resources: LinuxResources = serde_json::from_str(
        r#"{"memory": {"limit": 67108864, "swap": 67108864}, "pids": {"limit": 7}}"#,
    )
    .unwrap();
    let ours = pod
        .create_leaf("ours", &writes(&resources).unwrap(), &DeviceAccess::All)
        .unwrap()
        .cgroup;
    let theirs = pod
        .create_leaf("theirs", &[], &DeviceAccess::All)
        .unwrap()
        .cgroup;
    let mut manager = FsManager::new(theirs.path().trim_start_matches('/')).unwrap();
    manager.set(&resources).unwrap();
    let compared =
        ["memory.max", "pids.max"].map(|file| (file, content(&ours, file), content(&theirs, file)));
    // What every OCI specification has: rules for devices.
    resources.set_devices(Some(vec![LinuxDeviceCgroup::default()]));
    let refused = manager.set(&resources).is_err();
    cgroups.open_path(parent).unwrap().remove().unwrap();
    for (file, ours, theirs) in compared {
        assert_eq!(ours, theirs, "{file}");
    }
    assert!(
        refused,
        "cgroups-rs has learned devices: see docs/decisions/0001"
    );
}
