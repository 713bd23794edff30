//! Numbers of the kernel that many pods run against.

use rustix::process::{Resource, getrlimit};

use super::finding::Finding;
use super::host::Host;

pub(super) fn findings(host: &Host) -> Vec<Finding> {
    vec![
        at_least(
            host,
            "inotify instances",
            "fs/inotify/max_user_instances",
            512,
            "programs of many pods fail with \"too many open files\"",
            "sysctl fs.inotify.max_user_instances=8192",
        ),
        at_least(
            host,
            "inotify watches",
            "fs/inotify/max_user_watches",
            65_536,
            "programs of many pods fail with \"no space left on device\"",
            "sysctl fs.inotify.max_user_watches=524288",
        ),
        at_least(
            host,
            "process ids",
            "kernel/pid_max",
            65_536,
            "many containers run out of process ids",
            "sysctl kernel.pid_max=4194304",
        ),
        open_files(getrlimit(Resource::Nofile).maximum),
        swap(host),
    ]
}

#[expect(
    clippy::too_many_arguments,
    reason = "one row of a table, written in one place"
)]
fn at_least(
    host: &Host,
    subject: &'static str,
    sysctl: &str,
    enough: u64,
    consequence: &'static str,
    remedy: &'static str,
) -> Finding {
    match host.sysctl(sysctl) {
        Some(value) if value >= enough => Finding::ok(subject, value.to_string()),
        Some(value) => Finding::warn(subject, value.to_string(), consequence, remedy),
        None => Finding::ok(subject, "this kernel does not tell"),
    }
}

fn open_files(hard_limit: Option<u64>) -> Finding {
    match hard_limit {
        Some(limit) if limit < 16_384 => Finding::warn(
            "open files",
            format!("at most {limit}"),
            "the daemon keeps several open for each pod; at the limit new pods are refused",
            "LimitNOFILE=1048576 in the daemon's unit, or ulimit -Hn",
        ),
        Some(limit) => Finding::ok("open files", format!("at most {limit}")),
        None => Finding::ok("open files", "without limit"),
    }
}

fn swap(host: &Host) -> Finding {
    let areas = host
        .proc_file("swaps")
        .map_or(0, |text| text.lines().skip(1).count());
    if areas == 0 {
        Finding::ok("swap", "none")
    } else {
        Finding::ok("swap", format!("{areas} in use"))
            .meaning("kubelet needs failSwapOn: false; containers use it only within their limits")
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::super::host::tests::host_with;
    use super::*;

    #[test]
    fn too_small_a_number_is_told_with_the_number() {
        let (_directory, host) = host_with(&[("proc/sys/fs/inotify/max_user_instances", "128\n")]);
        let finding = &findings(&host)[0];
        assert_eq!((finding.level, finding.fact.as_str()), (Level::Warn, "128"));
    }

    #[test]
    fn a_low_limit_of_open_files_is_told() {
        assert_eq!(open_files(Some(1024)).level, Level::Warn);
        assert_eq!(open_files(Some(20_000)).level, Level::Ok);
        assert_eq!(open_files(None).level, Level::Ok);
    }
}
