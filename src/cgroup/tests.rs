//! Real cgroups, on the cgroup2 that this host has: below `/carpel-test-<pid>-<n>`, removed afterwards.
//!
//! A test that needs a controller says `SKIP no <controller> controller in cgroup2`; all of them run in the cgroup v2
//! machine (`integration/uml`).

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use oci_spec::runtime::LinuxResources;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// A parent of its own for a test, removed with everything in it.
struct Ground {
    cgroups: Cgroups,
    parent: String,
}

impl Ground {
    /// Nothing if this host cannot run the test; then it has said why.
    fn open(controllers: &[&str], missing_controllers: MissingControllers) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            println!("SKIP not root");
            return None;
        }
        let config = CgroupConfig {
            missing_controllers,
            ..CgroupConfig::default()
        };
        let cgroups = match Cgroups::open(config) {
            Ok(cgroups) => cgroups,
            Err(error) => {
                println!("SKIP {error}");
                return None;
            }
        };
        if let Some(missing) = controllers.iter().find(|name| !cgroups.has(name)) {
            println!("SKIP no {missing} controller in cgroup2");
            return None;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let parent = format!("/carpel-test-{}-{number}", std::process::id());
        Some(Self { cgroups, parent })
    }

    fn pod(&self) -> PodCgroup {
        let pod = self.cgroups.pod(&self.parent, "p1").unwrap();
        pod.create().unwrap();
        pod
    }

    /// A leaf with limits in JSON.
    fn leaf(&self, limits: &str) -> Cgroup {
        let made = self
            .pod()
            .create_leaf("c1", &limits_of(limits), &DeviceAccess::All)
            .unwrap();
        assert_eq!(made.warnings, Vec::<String>::new());
        made.cgroup
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let Ok(parent) = self.cgroups.open_path(self.parent.clone()) else {
            return;
        };
        let removed = parent.kill().and_then(|()| parent.remove());
        if let Err(error) = removed {
            println!("left behind: {error}");
        }
    }
}

fn limits_of(json: &str) -> Vec<Write> {
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    writes(&resources).unwrap()
}

/// A shell that moves itself into the cgroup first.
fn shell(cgroup: &Cgroup, script: &str) -> Child {
    let procs = cgroup.host_path().join("cgroup.procs");
    Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("echo $$ > {} && {{ {script}; }}", procs.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait(mut child: Child) -> ExitStatus {
    child.wait().unwrap()
}

/// Waits for a condition, not for time.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::yield_now();
    }
}

fn content(cgroup: &Cgroup, file: &str) -> String {
    cgroup.read(file).unwrap().trim_end().to_owned()
}

#[test]
fn root_a_pod_has_the_paths_of_the_design() {
    let Some(ground) = Ground::open(&[], MissingControllers::Error) else {
        return;
    };
    let pod = ground.pod();
    assert_eq!(pod.path(), format!("{}/p1", ground.parent));
    let leaf = pod
        .create_leaf("c1", &[], &DeviceAccess::All)
        .unwrap()
        .cgroup;
    assert_eq!(leaf.path(), format!("{}/p1/c1", ground.parent));
    assert_eq!(leaf.host_path(), pod.leaf_host_path("c1").unwrap());
    assert!(leaf.host_path().is_dir());
    assert!(pod.open_infra().unwrap().host_path().is_dir());
    // Making it again takes it over.
    pod.create().unwrap();
    pod.create_leaf("c1", &[], &DeviceAccess::All).unwrap();
    pod.remove().unwrap();
    assert!(!leaf.host_path().exists());
    // Twice is fine.
    pod.remove().unwrap();
    leaf.remove().unwrap();
    let gone = pod.open_leaf("c1").unwrap_err();
    assert_eq!(gone.kind(), CgroupErrorKind::NotFound);
    // A leaf of a pod whose cgroup somebody removed is made all the same.
    let again = pod
        .create_leaf("c1", &[], &DeviceAccess::All)
        .unwrap()
        .cgroup;
    assert!(again.host_path().is_dir());
}

#[test]
fn root_shims_have_a_place_of_their_own() {
    let Some(ground) = Ground::open(&[], MissingControllers::Error) else {
        return;
    };
    let id = format!("test-{}", std::process::id());
    let shim = ground.cgroups.create_shim(&id).unwrap();
    assert_eq!(shim.path(), format!("/carpel/shims/{id}"));
    assert_eq!(ground.cgroups.open_shim(&id).unwrap().path(), shim.path());
    shim.remove().unwrap();
    assert!(!shim.host_path().exists());
}

#[test]
fn root_kill_takes_everything_below_and_remove_waits_for_it() {
    let Some(ground) = Ground::open(&[], MissingControllers::Error) else {
        return;
    };
    let leaf = ground.leaf("{}");
    let inner = leaf.host_path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let child = shell(&leaf, "sleep 1000 & exec sleep 1000");
    wait_until("two processes", || leaf.pids().unwrap().len() == 2);
    let below = ground
        .cgroups
        .open_path(format!("{}/inner", leaf.path()))
        .unwrap();
    let deep = shell(&below, "exec sleep 1000");
    wait_until("a process below", || below.pids().unwrap().len() == 1);
    assert!(leaf.is_populated().unwrap());
    assert_eq!(leaf.all_pids().unwrap().len(), 3);
    assert_eq!(leaf.statistics().unwrap().pids, 3);

    let busy = leaf.remove().unwrap_err();
    assert_eq!(busy.kind(), CgroupErrorKind::Busy);
    assert!(busy.to_string().contains(&deep.id().to_string()), "{busy}");

    leaf.kill().unwrap();
    assert_eq!(wait(child).signal(), Some(9));
    assert_eq!(wait(deep).signal(), Some(9));
    leaf.wait_until_empty(PATIENCE).unwrap();
    leaf.remove().unwrap();
    assert!(!inner.exists());
}

#[tokio::test]
async fn root_kill_and_wait_returns_when_all_are_gone() {
    let Some(ground) = Ground::open(&[], MissingControllers::Error) else {
        return;
    };
    let leaf = ground.leaf("{}");
    let child = shell(&leaf, "trap '' TERM; sleep 1000 & sleep 1000; true");
    wait_until("processes", || leaf.pids().unwrap().len() == 3);
    let start = Instant::now();
    leaf.kill_and_wait(PATIENCE).await.unwrap();
    assert!(!leaf.is_populated().unwrap());
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(wait(child).signal(), Some(9));
    leaf.remove().unwrap();
    // Gone is gone.
    leaf.kill_and_wait(PATIENCE).await.unwrap();
    leaf.wait_until_empty(PATIENCE).unwrap();
    assert!(!leaf.is_populated().unwrap());
}

#[tokio::test]
async fn root_a_wait_has_a_deadline_and_names_the_processes() {
    let Some(ground) = Ground::open(&[], MissingControllers::Error) else {
        return;
    };
    let leaf = ground.leaf("{}");
    let mut child = shell(&leaf, "exec sleep 1000");
    wait_until("a process", || leaf.pids().unwrap().len() == 1);
    let late = leaf
        .wait_until_empty(Duration::from_millis(30))
        .unwrap_err();
    let expected = format!("not empty after 30ms (pids [{}])", child.id());
    assert!(late.to_string().ends_with(&expected), "{late}");
    child.kill().unwrap();
    wait(child);
}

#[test]
fn root_freeze_stops_and_thaw_goes_on() {
    let Some(ground) = Ground::open(&[], MissingControllers::Error) else {
        return;
    };
    let leaf = ground.leaf("{}");
    let child = shell(&leaf, "while :; do :; done");
    wait_until("it runs", || {
        leaf.statistics().unwrap().cpu.usage_microseconds > 0
    });
    leaf.freeze(PATIENCE).unwrap();
    assert!(content(&leaf, "cgroup.events").contains("frozen 1"));
    leaf.thaw(PATIENCE).unwrap();
    assert!(content(&leaf, "cgroup.events").contains("frozen 0"));
    // A frozen cgroup can be killed.
    leaf.freeze(PATIENCE).unwrap();
    leaf.kill().unwrap();
    assert_eq!(wait(child).signal(), Some(9));
    leaf.wait_until_empty(PATIENCE).unwrap();
}

#[test]
fn root_a_limit_without_its_controller_is_an_error_or_a_warning() {
    let Some(ground) = Ground::open(&[], MissingControllers::Error) else {
        return;
    };
    // Nobody has a controller of this name but in the list of known ones.
    let Some(absent) = ["dmem", "rdma", "misc", "cpuset", "memory"]
        .into_iter()
        .find(|name| !ground.cgroups.has(name))
    else {
        println!("SKIP all controllers are in cgroup2");
        return;
    };
    let limits = limits_of(&format!(r#"{{"unified": {{"{absent}.max": "7"}}}}"#));
    let pod = ground.pod();
    let error = pod
        .create_leaf("c1", &limits, &DeviceAccess::All)
        .unwrap_err();
    assert_eq!(error.kind(), CgroupErrorKind::MissingController);
    let start =
        format!("unified[\"{absent}.max\"] = 7 needs the cgroup v2 controller \"{absent}\"");
    assert!(error.to_string().starts_with(&start), "{error}");
    assert!(
        !pod.leaf_host_path("c1").unwrap().exists(),
        "the leaf is undone"
    );

    let Some(lenient) = Ground::open(&[], MissingControllers::Warn) else {
        return;
    };
    let made = lenient
        .pod()
        .create_leaf("c1", &limits, &DeviceAccess::All)
        .unwrap();
    assert_eq!(made.warnings.len(), 1);
    assert!(made.warnings[0].starts_with(&start), "{:?}", made.warnings);
}

#[test]
fn root_what_clients_send_without_meaning_it_needs_no_controller() {
    let Some(ground) = Ground::open(&[], MissingControllers::Error) else {
        return;
    };
    ground.leaf(
        r#"{"cpu": {"shares": 2, "period": 100000}, "memory": {"limit": -1, "swap": -1},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}"#,
    );
}

#[test]
fn root_huge_page_limits_are_written_and_controllers_handed_down() {
    let Some(ground) = Ground::open(&["hugetlb"], MissingControllers::Error) else {
        return;
    };
    let leaf = ground.leaf(r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}"#);
    assert_eq!(content(&leaf, "hugetlb.2MB.max"), "4194304");
    assert_eq!(content(&leaf, "hugetlb.2MB.rsvd.max"), "4194304");
}

/// A file of a controller that this host has, to write limits to.
fn some_limit(ground: &Ground) -> Option<&'static str> {
    let files = ["pids.max", "hugetlb.2MB.max", "memory.high"];
    let file = files.into_iter().find(|file| {
        ground
            .cgroups
            .has(file.split('.').next().unwrap_or_default())
    });
    if file.is_none() {
        println!("SKIP no pids, hugetlb or memory controller in cgroup2");
    }
    file
}

#[test]
fn root_an_update_is_all_or_nothing() {
    let Some(ground) = Ground::open(&[], MissingControllers::Error) else {
        return;
    };
    let Some(file) = some_limit(&ground) else {
        return;
    };
    let unified = |value: &str| Write {
        file: file.to_owned(),
        value: value.to_owned(),
        field: "unified".to_owned(),
        necessity: Necessity::Limit,
    };
    let pod = ground.pod();
    let leaf = pod
        .create_leaf("c1", &[unified("4194304")], &DeviceAccess::All)
        .unwrap()
        .cgroup;
    assert_eq!(content(&leaf, file), "4194304");
    // The first is right, the second is refused by the kernel.
    let wrong = [unified("2097152"), unified("nonsense")];
    let error = pod.update_leaf("c1", &wrong).unwrap_err();
    assert_eq!(error.kind(), CgroupErrorKind::Invalid, "{error}");
    assert_eq!(content(&leaf, file), "4194304");
    pod.update_leaf("c1", &[unified("max")]).unwrap();
    assert_eq!(content(&leaf, file), "max");
}

#[test]
fn root_a_parent_with_processes_is_explained() {
    let Some(ground) = Ground::open(&[], MissingControllers::Error) else {
        return;
    };
    let Some(controller) = ["memory", "io", "hugetlb"]
        .into_iter()
        .find(|name| ground.cgroups.has(name))
    else {
        println!("SKIP no memory, io or hugetlb controller in cgroup2");
        return;
    };
    ground.cgroups.create_all(&ground.parent).unwrap();
    let parent = ground.cgroups.open_path(ground.parent.clone()).unwrap();
    let mut child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    parent.attach(i32::try_from(child.id()).unwrap()).unwrap();
    let limits = [Write {
        file: format!("{controller}.max"),
        value: "max".to_owned(),
        field: "unified".to_owned(),
        necessity: Necessity::Limit,
    }];
    let pod = ground.cgroups.pod(&ground.parent, "p1").unwrap();
    let made = pod
        .create()
        .and_then(|_| pod.create_leaf("c1", &limits, &DeviceAccess::All));
    child.kill().unwrap();
    wait(child);
    let error = made.unwrap_err();
    assert!(
        matches!(error, CgroupError::InternalProcesses { ref pids, .. } if pids.len() == 1),
        "{error}"
    );
    assert!(error.to_string().contains("leaves only"), "{error}");
}

#[test]
fn root_the_memory_limit_kills_and_is_counted() {
    let Some(ground) = Ground::open(&["memory"], MissingControllers::Error) else {
        return;
    };
    let leaf = ground.leaf(r#"{"memory": {"limit": 16777216, "swap": 16777216}}"#);
    assert_eq!(content(&leaf, "memory.max"), "16777216");
    // tail keeps what has no line end in memory.
    let child = shell(&leaf, "exec tail /dev/zero");
    assert_eq!(wait(child).signal(), Some(9));
    let events = leaf.memory_events().unwrap().unwrap();
    assert_eq!(events.oom_kill, 1, "{events:?}");
    let memory = leaf.statistics().unwrap().memory.unwrap();
    assert_eq!(memory.limit, Some(16_777_216));
}

#[test]
fn root_a_memory_limit_below_what_is_used_is_refused() {
    let Some(ground) = Ground::open(&["memory"], MissingControllers::Error) else {
        return;
    };
    let leaf = ground.leaf(r#"{"memory": {"limit": 67108864}}"#);
    let pod = ground.cgroups.pod(&ground.parent, "p1").unwrap();
    let child = shell(
        &leaf,
        "head -c 20000000 /dev/zero | tail -c 20000000 | sleep 1000",
    );
    wait_until("20 MB used", || {
        leaf.memory().unwrap().unwrap().anonymous > 18_000_000
    });
    let lower = |bytes: u64| {
        let limits = limits_of(&format!(r#"{{"memory": {{"limit": {bytes}}}}}"#));
        pod.update_leaf("c1", &limits)
    };
    let error = lower(4_194_304).unwrap_err();
    assert!(
        matches!(
            error,
            CgroupError::BelowUsage {
                limit: 4_194_304,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(content(&leaf, "memory.max"), "67108864");
    lower(33_554_432).unwrap();
    assert_eq!(content(&leaf, "memory.max"), "33554432");
    leaf.kill().unwrap();
    wait(child);
}

#[test]
fn root_the_pids_limit_stops_forks() {
    let Some(ground) = Ground::open(&["pids"], MissingControllers::Error) else {
        return;
    };
    let leaf = ground.leaf(r#"{"pids": {"limit": 3}}"#);
    let child = shell(&leaf, "for i in 1 2 3 4 5 6; do sleep 1000 & done; wait");
    wait_until("a fork is refused", || {
        content(&leaf, "pids.events").split(' ').nth(1) != Some("0")
    });
    assert!(leaf.statistics().unwrap().pids <= 3);
    leaf.kill().unwrap();
    wait(child);
}

#[test]
fn root_the_cpu_limit_throttles() {
    let Some(ground) = Ground::open(&["cpu"], MissingControllers::Error) else {
        return;
    };
    let leaf = ground.leaf(r#"{"cpu": {"quota": 5000, "period": 20000, "shares": 512}}"#);
    assert_eq!(content(&leaf, "cpu.max"), "5000 20000");
    assert_eq!(content(&leaf, "cpu.weight"), "59");
    let child = shell(&leaf, "while :; do :; done");
    wait_until("it is throttled", || {
        leaf.statistics().unwrap().cpu.throttled_periods >= 3
    });
    leaf.kill().unwrap();
    wait(child);
}

#[test]
fn root_usual_controllers_are_handed_down_to_leaves() {
    let Some(ground) = Ground::open(&["cpu", "memory", "pids"], MissingControllers::Error) else {
        return;
    };
    let leaf = ground.leaf("{}");
    let controllers = content(&leaf, "cgroup.controllers");
    for controller in ["cpu", "memory", "pids"] {
        assert!(
            controllers.split(' ').any(|one| one == controller),
            "{controllers}"
        );
    }
    let statistics = leaf.statistics().unwrap();
    assert!(statistics.memory.is_some());
    assert_eq!(statistics.pids, 0);
}

/// The cost of what stands on the way of a pod that becomes ready. Printed, not judged: machines differ.
#[test]
fn root_the_cost_of_a_leaf_is_printed() {
    let Some(ground) = Ground::open(&[], MissingControllers::Warn) else {
        return;
    };
    let limits = limits_of(
        r#"{"cpu": {"shares": 512, "quota": 50000}, "memory": {"limit": 67108864, "swap": 67108864}, "pids": {"limit": 100}}"#,
    );
    let rounds = 200;
    let mut pods = Duration::ZERO;
    let mut leaves = Duration::ZERO;
    let mut removals = Duration::ZERO;
    let mut readings = Duration::ZERO;
    for number in 0..rounds {
        let pod = ground
            .cgroups
            .pod(&ground.parent, &format!("p{number}"))
            .unwrap();
        let start = Instant::now();
        pod.create().unwrap();
        pods += start.elapsed();
        let start = Instant::now();
        let leaf = pod
            .create_leaf("c1", &limits, &DeviceAccess::All)
            .unwrap()
            .cgroup;
        leaves += start.elapsed();
        let start = Instant::now();
        leaf.statistics().unwrap();
        readings += start.elapsed();
        let start = Instant::now();
        pod.remove().unwrap();
        removals += start.elapsed();
    }
    println!(
        "FIGURE pod and infra leaf {:?}, container leaf with limits {:?}, statistics {:?}, remove {:?}; controllers {:?}",
        pods / rounds,
        leaves / rounds,
        readings / rounds,
        removals / rounds,
        ground.cgroups.controllers().collect::<Vec<_>>(),
    );
}

/// A leaf with these rules; nothing if this host does not enforce any.
fn leaf_with_devices(ground: &Ground, id: &str, json: &str) -> Option<Cgroup> {
    if let DeviceRules::Unavailable { reason } = ground.cgroups.device_rules() {
        println!("SKIP {reason}");
        return None;
    }
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    let devices = device_access(&resources).unwrap();
    Some(ground.pod().create_leaf(id, &[], &devices).unwrap().cgroup)
}

/// All may be made, /dev/null may be used.
const NULL_ONLY: &str = r#"{"devices": [{"allow": false, "access": "rwm"},
    {"allow": true, "type": "b", "access": "m"}, {"allow": true, "type": "c", "access": "m"},
    {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"}]}"#;

#[test]
fn root_a_leaf_with_rules_opens_dev_null_and_no_block_device() {
    let Some(ground) = Ground::open(&[], MissingControllers::Error) else {
        return;
    };
    let Some(leaf) = leaf_with_devices(&ground, "c1", NULL_ONLY) else {
        return;
    };
    // A number without a driver: whoever may open it gets ENXIO or ENODEV, whoever may not, EPERM.
    let folder = tempfile::tempdir().unwrap();
    let node = folder.path().join("disk");
    let kind = rustix::fs::FileType::BlockDevice;
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let number = rustix::fs::makedev(240, 77);
    if let Err(error) = rustix::fs::mknodat(rustix::fs::CWD, &node, kind, mode, number) {
        println!("SKIP mknod: {error}");
        return;
    }
    let other = folder.path().join("other");
    let script = format!(
        "export LC_ALL=C; : > /dev/null || exit 11; (: < {node}) 2> {told}; [ $? -ne 0 ] || exit 12; \
         (: < /dev/zero) 2> {told}.zero && exit 13; mknod {other} b 240 78 || exit 14; exit 0",
        node = node.display(),
        told = folder.path().join("told").display(),
        other = other.display(),
    );
    // Opened before the shell moves: its own standard streams.
    let status = wait(shell(&leaf, &script));
    assert_eq!(status.code(), Some(0));
    for file in ["told", "told.zero"] {
        let told = std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(told.contains("Operation not permitted"), "{file}: {told}");
    }
    // Outside, it is another error.
    let errno = std::fs::File::open(&node).unwrap_err().raw_os_error();
    assert!(
        matches!(errno, Some(libc::ENXIO | libc::ENODEV)),
        "{errno:?}"
    );
}

#[test]
fn root_leaves_with_the_same_rules_share_a_program() {
    let Some(ground) = Ground::open(&[], MissingControllers::Error) else {
        return;
    };
    let programs = &ground.cgroups.inner.programs;
    if leaf_with_devices(&ground, "c1", NULL_ONLY).is_none() {
        return;
    }
    let after_first = programs.count();
    leaf_with_devices(&ground, "c2", NULL_ONLY).unwrap();
    assert_eq!(programs.count(), after_first);
    leaf_with_devices(&ground, "c3", r#"{"devices": []}"#).unwrap();
    // The empty rules are those of the trial.
    assert_eq!(programs.count(), after_first);
    for number in 0..40 {
        let rules = format!(
            r#"{{"devices": [{{"allow": true, "type": "c", "major": {number}, "access": "r"}}]}}"#
        );
        leaf_with_devices(&ground, &format!("d{number}"), &rules).unwrap();
    }
    assert_eq!(programs.count(), 16);
}

/// `cargo test -p carpel --lib cgroup::tests::root_what_attaching -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
fn root_what_attaching_a_known_program_costs() {
    let Some(ground) = Ground::open(&[], MissingControllers::Error) else {
        return;
    };
    let access = device_access(&serde_json::from_str(NULL_ONLY).unwrap()).unwrap();
    if leaf_with_devices(&ground, "first", NULL_ONLY).is_none() {
        return;
    }
    let pod = ground.pod();
    let mut costs: Vec<Duration> = (0..200)
        .map(|number| {
            let leaf = pod
                .create_leaf(&format!("m{number}"), &[], &DeviceAccess::All)
                .unwrap()
                .cgroup;
            let start = Instant::now();
            ground.cgroups.limit_devices(&leaf, &access).unwrap();
            start.elapsed()
        })
        .collect();
    costs.sort();
    println!(
        "attach: median {:?}, p90 {:?}, most {:?}",
        costs[100], costs[180], costs[199]
    );
}
