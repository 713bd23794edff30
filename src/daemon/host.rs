//! What the host tells once, when the daemon starts.

use std::collections::BTreeMap;
use std::fs;

use super::error::DaemonError;
use crate::apparmor::AppArmor;
use crate::cgroup::{self, Cgroups};
use crate::oci::DeviceRules;
use crate::selinux::Selinux;

/// Facts of the host and of the daemon's own rights.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// Identifies this boot.
    pub boot_id: String,
    /// The daemon's bounding set, one bit a capability.
    pub bounding_capabilities: u64,
    /// The lowest oom_score_adj that it may give.
    pub lowest_oom_score_adj: i32,
}

/// CAP_SYS_RESOURCE, capabilities(7): without it oom_score_adj cannot be lowered below its own.
const CAP_SYS_RESOURCE: u32 = 24;

/// Looks.
///
/// # Errors
/// `Host` if /proc does not tell.
pub(super) fn look() -> Result<Host, DaemonError> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(|source| {
        DaemonError::Host {
            what: "/proc/sys/kernel/random/boot_id",
            source,
        }
    })?;
    let bounding_capabilities =
        carpel_linux::credentials::bounding_set().map_err(|error| DaemonError::Host {
            what: "the bounding set of capabilities",
            source: std::io::Error::other(error),
        })?;
    let own_score = fs::read_to_string("/proc/self/oom_score_adj")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    let lowest_oom_score_adj = if bounding_capabilities & (1 << CAP_SYS_RESOURCE) != 0 {
        -1000
    } else {
        own_score
    };
    Ok(Host {
        boot_id: boot_id.trim().to_owned(),
        bounding_capabilities,
        lowest_oom_score_adj,
    })
}

/// Tries device rules, and says what follows if there are none.
pub(super) fn device_rules(cgroups: &Cgroups) -> DeviceRules {
    match cgroups.device_rules() {
        cgroup::DeviceRules::Enforced => DeviceRules::Enforced,
        cgroup::DeviceRules::Unavailable { reason } => {
            tracing::warn!(
                reason,
                "device rules are not enforced: containers get no CAP_MKNOD, and one that sees the host's /dev can use its devices"
            );
            DeviceRules::Unavailable
        }
    }
}

/// Can pods have user namespaces of their own: are there any, and does the kernel show the layers of an overlay through one
/// (Linux 5.19)?
pub(super) fn has_user_namespaces() -> bool {
    let most = fs::read_to_string("/proc/sys/user/max_user_namespaces");
    let allowed = most.is_ok_and(|most| most.trim().parse::<u64>().is_ok_and(|most| most > 0));
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    allowed && is_at_least(&release, (5, 19))
}

fn is_at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    let (major, minor) = (next().unwrap_or(0), next().unwrap_or(0));
    (major, minor) >= wanted
}

/// For the verbose Status.
pub(super) fn facts(host: &Host, cgroups: &Cgroups) -> BTreeMap<String, String> {
    let kernel = rustix::system::uname();
    let controllers: Vec<&str> = cgroups.controllers().collect();
    [
        ("kernel", kernel.release().to_string_lossy().into_owned()),
        ("cgroupMount", cgroups.mountpoint().display().to_string()),
        ("cgroupControllers", controllers.join(" ")),
        (
            "deviceRules",
            match cgroups.device_rules() {
                cgroup::DeviceRules::Enforced => "enforced".to_owned(),
                cgroup::DeviceRules::Unavailable { .. } => "unavailable".to_owned(),
            },
        ),
        ("lowestOomScoreAdj", host.lowest_oom_score_adj.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// Which security modules confine containers, for the verbose Status.
pub(super) fn confinement(apparmor: &AppArmor, selinux: &Selinux) -> BTreeMap<String, String> {
    let state = |is_on| if is_on { "on" } else { "off" };
    [
        ("apparmor", state(apparmor.is_on())),
        ("selinux", state(selinux.is_on())),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::is_at_least;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        for release in ["5.19.0", "5.19-rc1", "6.1.0-18-amd64", "10.0"] {
            assert!(is_at_least(release, (5, 19)), "{release}");
        }
        for release in ["5.18.19", "5.9", "4.19.0", "", "next"] {
            assert!(!is_at_least(release, (5, 19)), "{release}");
        }
    }
}
