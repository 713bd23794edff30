//! The loaded programs of device rules, and whether this kernel takes them.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::devices::{DeviceAccess, DeviceRule, program};
use super::directory::Cgroup;
use super::error::CgroupError;
use super::hierarchy::{Cgroups, DEFAULT_PARENT, child_path};
use super::prepare::described;

/// Most containers of a node have the default rules; each other set of devices needs a program of its own.
const MOST: usize = 16;

/// Can this host keep containers from devices?
#[derive(Debug)]
pub enum DeviceRules {
    /// Every leaf with rules has a program.
    Enforced,
    /// The kernel, or what the daemon may do there, does not allow it. Leaves are made without.
    Unavailable {
        /// The error with its causes.
        reason: String,
    },
}

/// Programs by their rules, the last used first. A program that falls out stays with the cgroups that have it.
#[derive(Debug, Default)]
pub(super) struct Programs(Mutex<VecDeque<(Vec<DeviceRule>, Arc<OwnedFd>)>>);

impl Programs {
    fn get(&self, rules: &[DeviceRule]) -> Result<Arc<OwnedFd>, carpel_linux::Error> {
        // A cache: what another thread left half-way is still true. The lock is held while loading, so that the same
        // rules are loaded once.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = known.iter().position(|(others, _)| others == rules);
        let entry = match at.and_then(|at| known.remove(at)) {
            Some(entry) => entry,
            None => {
                let loaded = carpel_linux::bpf::load_device_program(&program(rules))?;
                (rules.to_vec(), Arc::new(loaded))
            }
        };
        let found = Arc::clone(&entry.1);
        known.push_front(entry);
        known.truncate(MOST);
        Ok(found)
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Cgroups {
    /// Tries once, with a cgroup of its own that is removed again; then answers from memory.
    pub fn device_rules(&self) -> &DeviceRules {
        self.inner
            .device_rules
            .get_or_init(|| match self.try_device_rules() {
                Ok(()) => DeviceRules::Enforced,
                Err(error) => DeviceRules::Unavailable {
                    reason: described(&error),
                },
            })
    }

    fn try_device_rules(&self) -> Result<(), CgroupError> {
        // Two of one name would remove each other's.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("probe-{}-{number}", std::process::id());
        let path = child_path(DEFAULT_PARENT, &name)?;
        self.create_all(&path)?;
        let cgroup = self.open_path(path)?;
        let attached = self.attach_program(&cgroup, &[]);
        let removed = cgroup.remove();
        attached.and(removed)
    }

    /// Lets the processes of a new cgroup use these devices only. Nothing is done where it cannot be.
    pub(super) fn limit_devices(
        &self,
        cgroup: &Cgroup,
        access: &DeviceAccess,
    ) -> Result<(), CgroupError> {
        match (access, self.device_rules()) {
            (DeviceAccess::All, _) | (_, DeviceRules::Unavailable { .. }) => Ok(()),
            (DeviceAccess::Rules(rules), DeviceRules::Enforced) => {
                self.attach_program(cgroup, rules)
            }
        }
    }

    /// Sees to it that the rules hold which the cgroup was made with, after another runtime has had it: runc puts its own
    /// program in the place of the one that it finds.
    pub(super) fn keep_devices(
        &self,
        cgroup: &Cgroup,
        access: &DeviceAccess,
    ) -> Result<(), CgroupError> {
        match self.limit_devices(cgroup, access) {
            // The kernel attaches no program twice.
            Err(CgroupError::Devices { source, .. }) if source.errno() == Errno::INVAL => Ok(()),
            result => result,
        }
    }

    fn attach_program(&self, cgroup: &Cgroup, rules: &[DeviceRule]) -> Result<(), CgroupError> {
        let failed = |source| CgroupError::Devices {
            path: cgroup.host_path(),
            source,
        };
        let program = self.inner.programs.get(rules).map_err(failed)?;
        carpel_linux::bpf::attach_device_program(cgroup.directory().as_fd(), program.as_fd())
            .map_err(failed)
    }
}
