//! The writes for each limit.
//!
//! `CARPEL_REGENERATE=1 cargo test -p carpel --lib cgroup::resources` writes the golden files anew.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use oci_spec::runtime::LinuxResources;
use proptest::prelude::{prop_assert, proptest};

use super::{Necessity, cpu_weight, writes};

fn parsed(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// `file = value`, with `?` behind what need not be in force.
fn lines(json: &str) -> String {
    let mut text = String::new();
    for write in writes(&parsed(json)).unwrap() {
        let mark = match write.necessity {
            Necessity::Limit => "",
            Necessity::Default => " ?",
        };
        writeln!(text, "{} = {}{mark}", write.file, write.value).unwrap();
    }
    text
}

fn refused(json: &str) -> String {
    writes(&parsed(json)).unwrap_err().to_string()
}

#[test]
fn resources_give_the_golden_writes() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cgroup");
    let regenerate = std::env::var_os("CARPEL_REGENERATE").is_some();
    let mut seen = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        seen += 1;
        let calculated = lines(&fs::read_to_string(&path).unwrap());
        let golden = path.with_extension("writes");
        if regenerate {
            let mut file = fs::File::create(&golden).unwrap();
            file.write_all(calculated.as_bytes()).unwrap();
        }
        assert_eq!(
            calculated,
            fs::read_to_string(&golden).unwrap(),
            "{}",
            golden.display()
        );
    }
    assert!(seen >= 3, "only {seen} files in {directory:?}");
}

#[test]
fn the_ends_and_the_defaults_of_shares_and_weights_meet() {
    // The pairs that runc's and the kubelet's own tests name.
    for (shares, weight) in [
        (0, 1),
        (2, 1),
        (102, 17),
        (512, 59),
        (1024, 100),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ] {
        assert_eq!(cpu_weight(shares), weight, "{shares} shares");
    }
}

proptest! {
    #[test]
    fn more_shares_never_weigh_less(shares in 0_u64..300_000) {
        prop_assert!(cpu_weight(shares) <= cpu_weight(shares + 1));
        prop_assert!((1..=10_000).contains(&cpu_weight(shares)));
    }
}

#[test]
fn what_is_sent_without_meaning_it_is_no_limit() {
    // A best-effort pod of the kubelet.
    assert_eq!(
        lines(r#"{"cpu": {"shares": 2, "period": 100000}}"#),
        "cpu.weight = 1 ?\ncpu.max = max 100000 ?\n"
    );
    assert_eq!(lines(r#"{"memory": {"limit": 0, "swap": 0}}"#), "");
    assert_eq!(
        lines(r#"{"cpu": {"shares": 0, "quota": 0, "cpus": ""}}"#),
        ""
    );
    assert_eq!(
        lines(r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}"#),
        "hugetlb.2MB.max = 0 ?\nhugetlb.2MB.rsvd.max = 0 ?\n"
    );
}

#[test]
fn cpu_limits() {
    assert_eq!(
        lines(r#"{"cpu": {"quota": 50000}}"#),
        "cpu.max = 50000 100000\n"
    );
    assert_eq!(
        lines(r#"{"cpu": {"quota": -1, "period": 20000}}"#),
        "cpu.max = max 20000 ?\n"
    );
    assert_eq!(
        lines(r#"{"cpu": {"cpus": "0-3,5", "mems": "0", "burst": 10, "idle": 1}}"#),
        "cpu.max.burst = 10\ncpu.idle = 1\ncpuset.cpus = 0-3,5\ncpuset.mems = 0\n"
    );
    assert_eq!(
        refused(r#"{"cpu": {"cpus": "0\n1"}}"#),
        "cpu.cpus = 0\n1: not a list like 0-3,5"
    );
}

#[test]
fn memory_limits() {
    assert_eq!(
        lines(r#"{"memory": {"limit": 4096, "swap": 4096}}"#),
        "memory.max = 4096\nmemory.swap.max = 0 ?\n"
    );
    assert_eq!(
        lines(r#"{"memory": {"limit": 4096, "swap": 12288, "reservation": 1024}}"#),
        "memory.max = 4096\nmemory.swap.max = 8192\nmemory.low = 1024\n"
    );
    assert_eq!(
        lines(r#"{"memory": {"limit": 4096, "swap": -1}}"#),
        "memory.max = 4096\nmemory.swap.max = max ?\n"
    );
    assert_eq!(
        lines(r#"{"memory": {"limit": -1, "swap": -1}}"#),
        "memory.max = max ?\nmemory.swap.max = max ?\n"
    );
    for wrong in [
        r#"{"memory": {"swap": 4096}}"#,
        r#"{"memory": {"limit": -1, "swap": 4096}}"#,
        r#"{"memory": {"limit": 4096, "swap": 4095}}"#,
    ] {
        assert!(refused(wrong).starts_with("memory.swap = "), "{wrong}");
    }
}

#[test]
fn pids_and_huge_pages() {
    assert_eq!(lines(r#"{"pids": {"limit": 5}}"#), "pids.max = 5\n");
    assert_eq!(lines(r#"{"pids": {"limit": 0}}"#), "pids.max = max ?\n");
    assert_eq!(
        lines(r#"{"hugepageLimits": [{"pageSize": "1GB", "limit": 1073741824}]}"#),
        "hugetlb.1GB.max = 1073741824\nhugetlb.1GB.rsvd.max = 1073741824\n"
    );
    for size in ["", "MB", "2mb", "2TB", "../x", "2MB/x"] {
        let json = format!(r#"{{"hugepageLimits": [{{"pageSize": "{size}", "limit": 1}}]}}"#);
        assert!(
            refused(&json).ends_with("not a size like 2MB or 1GB"),
            "{size}"
        );
    }
}

#[test]
fn unified_is_last_verbatim_and_only_for_controllers() {
    assert_eq!(
        lines(
            r#"{"memory": {"limit": 4096}, "unified": {"memory.max": "max", "io.max": "8:0 rbps=1", "cpu.max": "1 2"}}"#
        ),
        "memory.max = 4096\ncpu.max = 1 2\nio.max = 8:0 rbps=1\nmemory.max = max\n"
    );
    for file in [
        "cgroup.procs",
        "cgroup.kill",
        "../memory.max",
        "memory/max",
        "memory",
        "memory.",
        "memory.max\\u0000",
        "devices.allow",
        "",
    ] {
        let json = format!(r#"{{"unified": {{"{file}": "1"}}}}"#);
        assert!(
            refused(&json).ends_with("not the name of a controller's file"),
            "{file}"
        );
    }
    assert!(refused(r#"{"unified": {"memory.max": ""}}"#).contains("empty"));
}

#[test]
fn what_cgroup_v2_lacks_is_refused_by_name() {
    for (json, field) in [
        (r#"{"cpu": {"realtimeRuntime": 1}}"#, "cpu.realtimeRuntime"),
        (r#"{"memory": {"kernel": 1}}"#, "memory.kernel"),
        (r#"{"memory": {"swappiness": 1}}"#, "memory.swappiness"),
        (
            r#"{"memory": {"disableOOMKiller": true}}"#,
            "memory.disableOOMKiller",
        ),
        (r#"{"blockIO": {"weight": 10}}"#, "blockIO"),
        (r#"{"network": {"classID": 1}}"#, "network"),
    ] {
        assert!(
            refused(json).starts_with(&format!("{field} = set: ")),
            "{json}"
        );
    }
}
