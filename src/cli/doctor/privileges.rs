//! What this process may do: its user and the capabilities that it can ever have.

use super::finding::Finding;
use super::host::Host;

/// Capabilities without which no pod can be made.
const NEEDED: [caps::Capability; 6] = [
    caps::Capability::CAP_SYS_ADMIN,
    caps::Capability::CAP_SYS_CHROOT,
    caps::Capability::CAP_SETUID,
    caps::Capability::CAP_SETGID,
    caps::Capability::CAP_SETPCAP,
    caps::Capability::CAP_CHOWN,
];

pub(super) fn findings(host: &Host) -> Vec<Finding> {
    vec![user(), capabilities(host), oom_score(host)]
}

fn user() -> Finding {
    if rustix::process::geteuid().is_root() {
        Finding::ok("user", "root")
    } else {
        Finding::fail(
            "user",
            format!("uid {}", rustix::process::geteuid()),
            "the daemon must be root; some of these findings may be wrong without",
            "run it with sudo",
        )
    }
}

/// The capabilities that the bounding set lacks, by name.
fn missing(host: &Host) -> Vec<caps::Capability> {
    let set = host
        .status_field("CapBnd")
        .and_then(|mask| u64::from_str_radix(&mask, 16).ok())
        .unwrap_or(0);
    let last = host.sysctl("kernel/cap_last_cap").unwrap_or(40);
    let mut missing: Vec<caps::Capability> = caps::all()
        .into_iter()
        .filter(|capability| u64::from(capability.index()) <= last)
        .filter(|capability| set & capability.bitmask() == 0)
        .collect();
    missing.sort_by_key(caps::Capability::index);
    missing
}

fn capabilities(host: &Host) -> Finding {
    let missing = missing(host);
    if missing.is_empty() {
        return Finding::ok("capabilities", "all in the bounding set");
    }
    let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let fact = format!("{} not in the bounding set", names.join(", "));
    if NEEDED.iter().any(|needed| missing.contains(needed)) {
        Finding::fail(
            "capabilities",
            fact,
            "containers cannot be made without them",
            "give the daemon the full set: run it on the host, or in a privileged container",
        )
    } else {
        Finding::warn(
            "capabilities",
            fact,
            "privileged containers and those that add them run without; the log says so",
            "give the daemon the full set: CapabilityBoundingSet= in its unit, --cap-add=ALL in a container",
        )
    }
}

fn oom_score(host: &Host) -> Finding {
    if !missing(host).contains(&caps::Capability::CAP_SYS_RESOURCE) {
        return Finding::ok("OOM scores", "can be lowered");
    }
    let own = host.proc_file("self/oom_score_adj").unwrap_or_default();
    Finding::warn(
        "OOM scores",
        format!("cannot be lowered below {own} without CAP_SYS_RESOURCE"),
        "the score of guaranteed pods (-997) and of the node's own pods (-998) is raised to it; limits of resources cannot be raised either",
        "give the daemon CAP_SYS_RESOURCE",
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::super::host::tests::host_with;
    use super::*;

    fn with_bounding_set(mask: &str) -> (tempfile::TempDir, Host) {
        host_with(&[
            ("proc/self/status", &format!("CapBnd:\t{mask}\n")),
            ("proc/sys/kernel/cap_last_cap", "40\n"),
            ("proc/self/oom_score_adj", "-100\n"),
        ])
    }

    #[test]
    fn missing_capabilities_are_named() {
        let (_directory, host) = with_bounding_set("000001fffeffffff");
        let finding = capabilities(&host);
        assert_eq!(finding.level, Level::Warn);
        assert_eq!(finding.fact, "CAP_SYS_RESOURCE not in the bounding set");
        assert_eq!(
            oom_score(&host).fact,
            "cannot be lowered below -100 without CAP_SYS_RESOURCE"
        );
    }

    #[test]
    fn no_pod_runs_without_cap_sys_admin() {
        let (_directory, host) = with_bounding_set("000001ffffdfffff");
        assert_eq!(capabilities(&host).level, Level::Fail);
        let (_directory, host) = with_bounding_set("000001ffffffffff");
        assert_eq!(capabilities(&host).level, Level::Ok);
    }
}
