//! The profile of RuntimeDefault, in the language of apparmor.d(5). Pure.
//!
//! It allows what the defaults of the field allow: all files, network and capabilities that the container has anyway; it
//! denies mounts, and writes to the parts of /proc and /sys that are the kernel's own and not the container's.

/// Its name.
pub const DEFAULT_NAME: &str = "carpel-default";

/// Who may send signals into a container besides processes that no profile confines: other runtimes, which some
/// distributions give profiles of these names.
const SENDERS: [&str; 2] = ["runc", "crun"];

/// What nobody may write below /proc. A process has its own files there (`/proc/<number>`), and those of its namespaces
/// in `/proc/sys`, which another rule is about.
const PROC: [&str; 3] = ["/proc/*", "/proc/[^1-9s]*/**", "/proc/{scsi,sysvipc}/**"];

/// What nobody may write below /proc/sys: all but the limits of shared memory, which are those of its ipc namespace.
const PROC_SYS: [&str; 3] = [
    "/proc/sys/[^k]**",
    "/proc/sys/k[^e]**",
    "/proc/sys/kernel/{[^s],s[^h],sh[^m]}**",
];

/// What nobody may even read.
const SECRETS: [&str; 7] = [
    "/proc/sysrq-trigger",
    "/proc/mem",
    "/proc/kmem",
    "/proc/kcore",
    "/sys/firmware/**",
    "/sys/devices/virtual/powercap/**",
    "/sys/kernel/security/**",
];

/// What nobody may write below /sys: all but the cgroups.
const SYS: [&str; 3] = [
    "/sys/[^f]*/**",
    "/sys/f[^s]*/**",
    "/sys/fs/{[^c],c[^g]}*/**",
];

/// Its text. `own` is the profile that confines the daemon itself, whose signals must reach containers.
#[must_use]
pub fn default_profile(own: Option<&str>) -> String {
    let mut lines = vec![
        format!("profile {DEFAULT_NAME} flags=(attach_disconnected,mediate_deleted) {{"),
        "  network,".to_owned(),
        "  unix,".to_owned(),
        "  capability,".to_owned(),
        "  file,".to_owned(),
        "  umount,".to_owned(),
        "  signal (receive) peer=unconfined,".to_owned(),
    ];
    let senders = SENDERS.into_iter().chain(own);
    lines.extend(senders.map(|sender| format!("  signal (receive) peer=\"{sender}\",")));
    lines.extend([
        format!("  signal (send,receive) peer={DEFAULT_NAME},"),
        format!("  ptrace (trace,read,tracedby,readby) peer={DEFAULT_NAME},"),
        "  deny mount,".to_owned(),
    ]);
    let mut deny = |paths: &[&str], rights: &str| {
        lines.extend(paths.iter().map(|path| format!("  deny {path} {rights},")));
    };
    deny(&PROC, "w");
    deny(&PROC_SYS, "w");
    deny(&SECRETS, "rwklx");
    deny(&SYS, "wklx");
    lines.push("}\n".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::default_profile;

    #[test]
    fn the_default_profile_denies_mounts_and_the_kernels_own_files() {
        let text = default_profile(None);
        assert!(text.starts_with("profile carpel-default flags=("), "{text}");
        for rule in [
            "deny mount,",
            "deny /proc/sysrq-trigger rwklx,",
            "deny /proc/* w,",
            "deny /sys/[^f]*/** wklx,",
        ] {
            assert!(text.contains(&format!("\n  {rule}\n")), "{rule}: {text}");
        }
        assert_eq!(text.matches("signal (receive)").count(), 3);
    }

    #[test]
    fn a_confined_daemon_may_signal_its_containers() {
        let text = default_profile(Some("/usr/bin/carpel"));
        assert!(
            text.contains("\n  signal (receive) peer=\"/usr/bin/carpel\",\n"),
            "{text}"
        );
    }
}
