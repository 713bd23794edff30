//! Reads cgroups for statistics and metrics, through directories that are held open between two readings.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::processes;
use crate::cgroup::{Cgroup, CgroupError, CgroupErrorKind, Memory};
use crate::pod::{CgroupDetails, CgroupReading, DeviceIo, MemoryStatistics};

/// The cgroups that were read, by sandbox and container; of the sandbox itself under an empty name.
#[derive(Debug, Default)]
pub(super) struct HeldCgroups {
    held: Mutex<BTreeMap<(String, String), Arc<Cgroup>>>,
}

impl HeldCgroups {
    /// What `read` makes of the cgroup; it is opened if it is not held yet.
    ///
    /// # Errors
    /// Those of `open` and of `read`.
    pub(super) fn read<T>(
        &self,
        sandbox_id: &str,
        container_id: Option<&str>,
        open: impl Fn() -> Result<Cgroup, CgroupError>,
        read: impl Fn(&Cgroup) -> Result<T, CgroupError>,
    ) -> Result<T, CgroupError> {
        let key = (
            sandbox_id.to_owned(),
            container_id.unwrap_or_default().to_owned(),
        );
        let held = self.locked().get(&key).cloned();
        if let Some(cgroup) = held {
            match read(&cgroup) {
                // Another one of the same name may have been made.
                Err(error) if error.kind() == CgroupErrorKind::NotFound => {
                    self.locked().remove(&key);
                }
                result => return result,
            }
        }
        let cgroup = Arc::new(open()?);
        let result = read(&cgroup)?;
        self.locked().insert(key, cgroup);
        Ok(result)
    }

    /// Lets go of a container's cgroup: a held one that is removed keeps memory in the kernel.
    pub(super) fn forget_container(&self, sandbox_id: &str, container_id: &str) {
        self.locked()
            .remove(&(sandbox_id.to_owned(), container_id.to_owned()));
    }

    /// Lets go of all cgroups of a sandbox.
    pub(super) fn forget_sandbox(&self, sandbox_id: &str) {
        self.locked()
            .retain(|(sandbox, _), _| sandbox != sandbox_id);
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Arc<Cgroup>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The usual figures.
pub(super) fn reading(cgroup: &Cgroup) -> Result<CgroupReading, CgroupError> {
    let cpu = cgroup.cpu()?;
    let counted = cgroup.memory()?;
    let mut process_count = cgroup.counted_pids()?;
    let mut memory = counted.as_ref().map(memory);
    if memory.is_none() || process_count.is_none() {
        let pids = cgroup.all_pids()?;
        process_count = process_count.or(u64::try_from(pids.len()).ok());
        memory = memory.or_else(|| Some(resident_statistics(&pids)));
    }
    Ok(CgroupReading {
        cpu_usage_nanoseconds: cpu.usage_microseconds.saturating_mul(1000),
        memory,
        process_count,
        pressures: cgroup.pressures()?,
    })
}

/// Everything.
pub(super) fn details(cgroup: &Cgroup) -> Result<CgroupDetails, CgroupError> {
    let pids = cgroup.all_pids()?;
    let mut processes = processes::figures(&pids);
    if let Some(threads) = cgroup.counted_pids()? {
        processes.threads = threads;
    }
    let io = cgroup.io()?.unwrap_or_default();
    Ok(CgroupDetails {
        path: cgroup.path().to_owned(),
        cpu: cgroup.cpu()?,
        memory: match cgroup.memory()? {
            Some(memory) => memory,
            None => resident_memory(&pids),
        },
        memory_events: cgroup.memory_events()?.unwrap_or_default(),
        io: io
            .into_iter()
            .map(|counters| DeviceIo {
                device: device_name(counters.major, counters.minor),
                counters,
            })
            .collect(),
        pressures: cgroup.pressures()?,
        details: cgroup.details()?,
        processes,
    })
}

fn memory(memory: &Memory) -> MemoryStatistics {
    let working_set_bytes = memory.working_set();
    let without =
        |limit: Option<u64>, used| limit.map_or(0, |limit: u64| limit.saturating_sub(used));
    MemoryStatistics {
        timestamp: 0,
        usage_bytes: memory.current,
        working_set_bytes,
        rss_bytes: memory.anonymous,
        available_bytes: without(memory.limit, working_set_bytes),
        page_faults: memory.page_faults,
        major_page_faults: memory.major_page_faults,
        swap_usage_bytes: memory.swap_current,
        swap_available_bytes: without(memory.swap_limit, memory.swap_current.unwrap_or_default()),
    }
}

/// Without a memory controller: what the processes have in memory, shared pages counted for each.
fn resident_statistics(pids: &[i32]) -> MemoryStatistics {
    let bytes = processes::resident(pids).bytes;
    MemoryStatistics {
        usage_bytes: bytes,
        working_set_bytes: bytes,
        rss_bytes: bytes,
        ..MemoryStatistics::default()
    }
}

/// The same as the kernel's figures.
fn resident_memory(pids: &[i32]) -> Memory {
    let resident = processes::resident(pids);
    Memory {
        current: resident.bytes,
        anonymous: resident.bytes - resident.shared_bytes,
        file: resident.shared_bytes,
        file_mapped: resident.shared_bytes,
        ..Memory::default()
    }
}

/// `/dev/sda`; `7:1` for a device that has no name there.
pub(super) fn device_name(major: u32, minor: u32) -> String {
    let events = Path::new("/sys/dev/block")
        .join(format!("{major}:{minor}"))
        .join("uevent");
    let text = std::fs::read_to_string(events).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    match name {
        Some(name) => format!("/dev/{name}"),
        None => format!("{major}:{minor}"),
    }
}
