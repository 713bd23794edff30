//! The kernel: its version, the system calls, namespaces and security modules that it has.

use super::finding::Finding;
use super::host::Host;
use crate::apparmor::AppArmor;
use crate::selinux::Selinux;

/// `cgroup.kill` came with it: docs/kernel-features.md.
const OLDEST: (u32, u32) = (5, 14);

pub(super) fn findings(host: &Host) -> Vec<Finding> {
    let mut findings = vec![
        version(host),
        system_calls(),
        namespaces(host),
        user_namespaces(host),
        seccomp(host),
    ];
    findings.extend(security_modules(host));
    findings
}

fn version(host: &Host) -> Finding {
    let release = host.proc_file("sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(['.', '-', '+'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= OLDEST {
        Finding::ok("kernel", format!("Linux {release}"))
    } else {
        Finding::fail(
            "kernel",
            format!("Linux {release}"),
            "Carpel needs Linux 5.14: without cgroup.kill a pod cannot be stopped for certain",
            "boot a newer kernel; distributions of 2022 and later have one",
        )
    }
}

fn system_calls() -> Finding {
    let pidfd = rustix::process::pidfd_open(
        rustix::process::getpid(),
        rustix::process::PidfdFlags::empty(),
    )
    .is_ok();
    let missing: Vec<&str> = [
        ("clone3", carpel_linux::probe::has_clone3()),
        ("pidfd_open", pidfd),
        ("openat2", carpel_linux::probe::has_openat2()),
        ("mount_setattr", carpel_linux::probe::has_mount_setattr()),
    ]
    .into_iter()
    .filter_map(|(name, exists)| (!exists).then_some(name))
    .collect();
    if missing.is_empty() {
        Finding::ok(
            "system calls",
            "clone3, pidfd_open, openat2 and mount_setattr answer",
        )
    } else {
        Finding::fail(
            "system calls",
            format!("{} not available", missing.join(", ")),
            "containers are made with these calls",
            "if this runs inside a container, its seccomp profile hides them: run it privileged",
        )
    }
}

fn namespaces(host: &Host) -> Finding {
    let missing: Vec<&str> = ["mnt", "net", "pid", "ipc", "uts", "cgroup"]
        .into_iter()
        .filter(|name| !host.has_proc(&format!("self/ns/{name}")))
        .collect();
    if missing.is_empty() {
        Finding::ok("namespaces", "mount, network, pid, ipc, uts and cgroup")
    } else {
        Finding::fail(
            "namespaces",
            format!("this kernel has no {} namespaces", missing.join(", ")),
            "a pod is made of namespaces",
            "use a kernel built with CONFIG_NAMESPACES and all of its kinds",
        )
    }
}

fn user_namespaces(host: &Host) -> Finding {
    let most = host.sysctl("user/max_user_namespaces").unwrap_or(0);
    if host.has_proc("self/ns/user") && most > 0 {
        Finding::ok("user namespaces", format!("up to {most}"))
    } else {
        Finding::warn(
            "user namespaces",
            "not available",
            "pods with hostUsers: false are refused",
            "sysctl user.max_user_namespaces=15000",
        )
    }
}

fn seccomp(host: &Host) -> Finding {
    let actions = host.proc_file("sys/kernel/seccomp/actions_avail");
    if actions.is_some_and(|actions| actions.split(' ').any(|action| action == "errno")) {
        Finding::ok("seccomp", "filters are available")
    } else {
        Finding::warn(
            "seccomp",
            "not in this kernel",
            "pods that ask for a seccomp profile, as RuntimeDefault, are refused",
            "use a kernel built with CONFIG_SECCOMP_FILTER",
        )
    }
}

fn security_modules(host: &Host) -> Vec<Finding> {
    let selinux = selinux(host, &Selinux::of_this_node());
    vec![apparmor(host, &AppArmor::of_this_node()), selinux]
}

fn selinux(host: &Host, selinux: &Selinux) -> Finding {
    match (host.has_sys("fs/selinux/enforce"), selinux.is_on()) {
        (false, _) => {
            Finding::ok("SELinux", "not active").meaning("SELinux labels of pods have no effect")
        }
        (true, true) => Finding::ok("SELinux", "active"),
        (true, false) => Finding::warn(
            "SELinux",
            "active, without labels for containers",
            "containers run with the daemon's own label, and labels of pods have no effect",
            "install the policy for containers (container-selinux), with its contexts/lxc_contexts",
        ),
    }
}

fn apparmor(host: &Host, apparmor: &AppArmor) -> Finding {
    let is_on = host
        .sys_file("module/apparmor/parameters/enabled")
        .is_some_and(|enabled| enabled == "Y");
    if !is_on {
        return Finding::ok("AppArmor", "not active")
            .meaning("no profile confines a pod, and pods that name one are refused");
    }
    if apparmor.has_parser() {
        return Finding::ok("AppArmor", "active");
    }
    Finding::warn(
        "AppArmor",
        "active, without apparmor_parser",
        "the default profile cannot be loaded: pods that ask for it are refused, those that ask for nothing run without",
        "install the package apparmor",
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::super::host::tests::host_with;
    use super::*;

    #[test]
    fn kernels_before_cgroup_kill_are_refused() {
        for (release, level) in [
            ("5.13.19-generic\n", Level::Fail),
            ("5.14.0-70.el9.x86_64\n", Level::Ok),
            ("6.1.0-18-amd64\n", Level::Ok),
            ("4.19\n", Level::Fail),
            ("7.0-rc1\n", Level::Ok),
            ("\n", Level::Fail),
        ] {
            let (_directory, host) = host_with(&[("proc/sys/kernel/osrelease", release)]);
            assert_eq!(version(&host).level, level, "{release:?}");
        }
    }

    #[test]
    fn a_limit_of_no_user_namespaces_is_told() {
        let (_directory, host) = host_with(&[
            ("proc/self/ns/user", ""),
            ("proc/sys/user/max_user_namespaces", "0\n"),
        ]);
        assert_eq!(user_namespaces(&host).level, Level::Warn);
    }

    #[test]
    fn selinux_without_contexts_for_containers_is_told() {
        let none = Selinux::default();
        for (file, level) in [
            ("sys/fs/selinux/enforce", Level::Warn),
            ("sys/fs/other", Level::Ok),
        ] {
            let (_directory, host) = host_with(&[(file, "1")]);
            assert_eq!(selinux(&host, &none).level, level, "{file}");
        }
    }

    #[test]
    fn apparmor_without_its_parser_is_told() {
        let none = AppArmor::default();
        for (enabled, level, fact) in [
            ("N\n", Level::Ok, "not active"),
            ("Y\n", Level::Warn, "active, without apparmor_parser"),
        ] {
            let (_directory, host) =
                host_with(&[("sys/module/apparmor/parameters/enabled", enabled)]);
            let finding = apparmor(&host, &none);
            assert_eq!((finding.level, finding.fact.as_str()), (level, fact));
        }
    }
}
