//! The unified cgroup hierarchy and its controllers. Version 1 is neither used nor touched.

use std::path::Path;

use super::finding::Finding;
use super::host::Host;
use crate::config::CgroupSection;

/// Controllers that limits of pods need, and what is lost without each.
const CONTROLLERS: [(&str, &str); 6] = [
    (
        "memory",
        "memory limits are refused and memory is not counted: no OOMKilled, no memory statistics",
    ),
    ("cpu", "CPU limits and weights are refused"),
    (
        "pids",
        "limits of processes are refused: a fork bomb reaches the host",
    ),
    ("cpuset", "containers cannot be pinned to processors"),
    ("io", "disk traffic is not counted"),
    ("hugetlb", "limits of huge pages are refused"),
];

/// Without these, kubelet's ordinary pods are refused.
const NEEDED: [&str; 3] = ["memory", "cpu", "pids"];

pub(super) fn findings(host: &Host, section: &CgroupSection) -> Vec<Finding> {
    let mount_point = section.mount_point.clone().or_else(|| {
        host.mounts()
            .into_iter()
            .find(|mount| mount.filesystem == "cgroup2")
            .map(|mount| mount.mount_point)
    });
    let Some(mount_point) = mount_point else {
        return vec![Finding::fail(
            "cgroup v2",
            "not mounted",
            "every container runs in a cgroup of the unified hierarchy",
            "mount -t cgroup2 none /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1",
        )];
    };
    let mut findings = vec![hierarchy(host, &mount_point)];
    findings.extend(controllers(&mount_point));
    findings.push(device_rules(carpel_linux::probe::load_device_program()));
    findings
}

/// cgroup v2 has no controller for devices: BPF programs decide.
fn device_rules(loaded: carpel_linux::Result<()>) -> Finding {
    match loaded {
        Ok(()) => Finding::ok("device rules", "enforced by BPF programs"),
        Err(error) => Finding::warn(
            "device rules",
            format!("not enforced: {error}: {}", error.errno()),
            "containers get no CAP_MKNOD, and one that sees the host's /dev can use its devices",
            "use a kernel built with CONFIG_CGROUP_BPF, and run with CAP_BPF outside of user namespaces",
        ),
    }
}

fn hierarchy(host: &Host, mount_point: &Path) -> Finding {
    let fact = format!("mounted at {}", mount_point.display());
    let writable = rustix::fs::access(mount_point, rustix::fs::Access::WRITE_OK).is_ok();
    if !writable {
        return Finding::fail(
            "cgroup v2",
            format!("{fact}, read-only"),
            "no cgroup can be made for a pod",
            "run as root, and with a writable cgroup tree if inside a container",
        );
    }
    let hybrid = host
        .mounts()
        .iter()
        .any(|mount| mount.filesystem == "cgroup");
    if hybrid {
        Finding::warn(
            "cgroup v2",
            format!("{fact}; version 1 is mounted too"),
            "controllers that version 1 holds cannot be used; kubelet wants version 2 alone",
            "boot with cgroup_no_v1=all (or systemd.unified_cgroup_hierarchy=1)",
        )
    } else {
        Finding::ok("cgroup v2", fact)
    }
}

fn controllers(mount_point: &Path) -> Vec<Finding> {
    let text = std::fs::read_to_string(mount_point.join("cgroup.controllers")).unwrap_or_default();
    let there: Vec<&str> = text.split_whitespace().collect();
    let fact = if there.is_empty() {
        "none".to_owned()
    } else {
        there.join(", ")
    };
    let mut findings = vec![Finding::ok("controllers", fact)];
    for (name, consequence) in CONTROLLERS {
        if there.contains(&name) {
            continue;
        }
        let fact = format!("no {name}");
        findings.push(if NEEDED.contains(&name) {
            Finding::warn(
                "controllers",
                fact,
                consequence,
                "free it from version 1; on a developer's machine cgroup.missing_controllers = \"warn\"",
            )
        } else {
            Finding::ok("controllers", fact).meaning(consequence)
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::super::host::tests::host_with;
    use super::*;

    #[test]
    fn a_host_without_the_unified_hierarchy_cannot_run_pods() {
        let (_directory, host) = host_with(&[(
            "proc/self/mountinfo",
            "1 0 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        )]);
        let findings = findings(&host, &CgroupSection::default());
        assert_eq!(findings[0].level, Level::Fail);
        assert_eq!(findings[0].fact, "not mounted");
    }

    #[test]
    fn a_kernel_without_device_programs_is_told_with_the_capability_that_it_costs() {
        let refused = carpel_linux::Error::new("bpf(BPF_PROG_LOAD)", rustix::io::Errno::NOSYS);
        let finding = device_rules(Err(refused));
        assert_eq!(finding.level, Level::Warn);
        assert!(
            finding
                .fact
                .starts_with("not enforced: bpf(BPF_PROG_LOAD): "),
            "{}",
            finding.fact
        );
        assert!(finding.consequence.unwrap().contains("no CAP_MKNOD"));
        assert_eq!(device_rules(Ok(())).level, Level::Ok);
    }

    #[test]
    fn each_missing_controller_is_told_with_what_it_costs() {
        let (directory, _host) = host_with(&[("cgroup/cgroup.controllers", "cpu io memory\n")]);
        let findings = controllers(&directory.path().join("cgroup"));
        let told: Vec<(Level, &str)> = findings
            .iter()
            .map(|finding| (finding.level, finding.fact.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (Level::Ok, "cpu, io, memory"),
                (Level::Warn, "no pids"),
                (Level::Ok, "no cpuset"),
                (Level::Ok, "no hugetlb"),
            ]
        );
    }
}
