//! Who manages the cgroup tree of this node, if the configuration leaves it open.

use std::path::Path;

use super::error::DaemonError;
use crate::cgroup::Driver;
use crate::config::{CgroupDriver, CgroupSection, ShimCgroup};
use crate::systemd;

/// The `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Where systemd has its tree.
const SYSTEMD_MOUNT: &str = "/sys/fs/cgroup";

/// The driver in force.
pub(super) fn choose(section: &CgroupSection) -> Result<Driver, DaemonError> {
    let driver = match section.driver {
        CgroupDriver::Cgroupfs => Driver::Cgroupfs,
        CgroupDriver::Systemd => Driver::Systemd,
        CgroupDriver::Auto if section.shim_cgroup == ShimCgroup::Own && is_systemds(section) => {
            Driver::Systemd
        }
        CgroupDriver::Auto => Driver::Cgroupfs,
    };
    if driver == Driver::Systemd && section.shim_cgroup == ShimCgroup::Pod {
        return Err(DaemonError::ShimInScope);
    }
    Ok(driver)
}

fn is_systemds(section: &CgroupSection) -> bool {
    let elsewhere = section.mount_point.as_deref();
    systemd::is_running()
        && elsewhere.is_none_or(|path| path == Path::new(SYSTEMD_MOUNT))
        && rustix::fs::statfs(SYSTEMD_MOUNT)
            .is_ok_and(|found| u64::try_from(found.f_type) == Ok(CGROUP2_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_holds() {
        let section = |driver, shim_cgroup| CgroupSection {
            driver,
            shim_cgroup,
            ..CgroupSection::default()
        };
        let cgroupfs = section(CgroupDriver::Cgroupfs, ShimCgroup::Pod);
        assert_eq!(choose(&cgroupfs).unwrap(), Driver::Cgroupfs);
        let systemd = section(CgroupDriver::Systemd, ShimCgroup::Own);
        assert_eq!(choose(&systemd).unwrap(), Driver::Systemd);
        let error = choose(&section(CgroupDriver::Systemd, ShimCgroup::Pod)).unwrap_err();
        assert!(error.to_string().contains("shim_cgroup"), "{error}");
        // A tree that is mounted elsewhere is not systemd's.
        let elsewhere = CgroupSection {
            mount_point: Some("/sys/fs/cgroup/unified".into()),
            ..CgroupSection::default()
        };
        assert_eq!(choose(&elsewhere).unwrap(), Driver::Cgroupfs);
    }
}
