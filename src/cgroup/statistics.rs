//! What a cgroup has used, and what happened to it: its figures, read through the held directory.

use std::collections::HashMap;

use super::directory::Cgroup;
use super::error::CgroupError;

/// `cpu.stat`: microseconds and counts. Without the cpu controller, only the times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cpu {
    /// Used in all.
    pub usage_microseconds: u64,
    /// In user code.
    pub user_microseconds: u64,
    /// In the kernel.
    pub system_microseconds: u64,
    /// Periods of cpu.max that have passed.
    pub periods: u64,
    /// In how many of them it was throttled.
    pub throttled_periods: u64,
    /// For how long.
    pub throttled_microseconds: u64,
}

/// The memory files: bytes and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// `memory.current`.
    pub current: u64,
    /// `memory.max`; `None` without a limit.
    pub limit: Option<u64>,
    /// `memory.swap.current`; `None` if swap is not accounted for.
    pub swap_current: Option<u64>,
    /// `memory.swap.max`; `None` without a limit.
    pub swap_limit: Option<u64>,
    /// `anon`.
    pub anonymous: u64,
    /// `file`: page cache, with `shmem`.
    pub file: u64,
    /// `shmem`: tmpfs and shared memory, which only swap can take.
    pub shmem: u64,
    /// `file_mapped`: what of `file` is mapped.
    pub file_mapped: u64,
    /// Memory of the kernel's own; before Linux 5.18 the sum of what it tells of it.
    pub kernel: u64,
    /// `inactive_file`: what goes first under pressure.
    pub inactive_file: u64,
    /// `pgfault`.
    pub page_faults: u64,
    /// `pgmajfault`.
    pub major_page_faults: u64,
}

impl Memory {
    /// What Kubernetes calls the working set: usage without inactive file pages.
    pub fn working_set(&self) -> u64 {
        self.current.saturating_sub(self.inactive_file)
    }
}

/// `memory.events`: how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEvents {
    /// The limit was reached.
    pub max: u64,
    /// Reclaiming did not help.
    pub oom: u64,
    /// Processes killed.
    pub oom_kill: u64,
    /// The whole cgroup killed at once.
    pub oom_group_kill: u64,
}

/// One line of a pressure file: shares of time in percent, and microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PressureLine {
    /// Over 10 seconds.
    pub average10: f64,
    /// Over 60 seconds.
    pub average60: f64,
    /// Over 300 seconds.
    pub average300: f64,
    /// In all.
    pub total_microseconds: u64,
}

/// A pressure file.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pressure {
    /// Some tasks were waiting.
    pub some: PressureLine,
    /// All tasks were waiting.
    pub full: PressureLine,
}

/// Pressure by resource; `None` where the kernel does not keep it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pressures {
    /// `cpu.pressure`.
    pub cpu: Option<Pressure>,
    /// `memory.pressure`.
    pub memory: Option<Pressure>,
    /// `io.pressure`.
    pub io: Option<Pressure>,
}

/// A line of `io.stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoDevice {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// The figures of a cgroup; `None` where its controller is missing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Statistics {
    /// Processor time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Option<Memory>,
    /// Processes and threads (`pids.current`); without the pids controller, the processes of this cgroup and below.
    pub pids: u64,
    /// I/O by device.
    pub io: Option<Vec<IoDevice>>,
}

impl Cgroup {
    /// Processor time, memory, processes and I/O. Files whose controllers the host does not have are not asked for.
    ///
    /// # Errors
    ///
    /// `NotFound` if the cgroup is gone, or a failed system call.
    pub fn statistics(&self) -> Result<Statistics, CgroupError> {
        Ok(Statistics {
            cpu: self.cpu()?,
            memory: self.memory()?,
            pids: self.process_count()?,
            io: self.io()?,
        })
    }

    /// The memory files; `None` without the controller.
    ///
    /// # Errors
    ///
    /// A failed system call.
    pub fn memory(&self) -> Result<Option<Memory>, CgroupError> {
        if !self.inner.controllers.contains("memory") {
            return Ok(None);
        }
        let Some(current) = self.read_if_present("memory.current")? else {
            return Ok(None);
        };
        let stat = self.read("memory.stat")?;
        let stat = keyed(&stat);
        let value = |key| stat.get(key).copied().unwrap_or(0);
        let swap_current = self.read_if_present("memory.swap.current")?;
        let swap_limit = match swap_current {
            Some(_) => self.read_if_present("memory.swap.max")?,
            None => None,
        };
        Ok(Some(Memory {
            current: number(&current).unwrap_or(0),
            limit: self
                .read_if_present("memory.max")?
                .as_deref()
                .and_then(number),
            swap_current: swap_current.as_deref().and_then(number),
            swap_limit: swap_limit.as_deref().and_then(number),
            anonymous: value("anon"),
            file: value("file"),
            shmem: value("shmem"),
            file_mapped: value("file_mapped"),
            kernel: stat.get("kernel").copied().unwrap_or_else(|| {
                let parts = ["kernel_stack", "pagetables", "percpu", "sock", "slab"];
                parts.map(value).iter().sum()
            }),
            inactive_file: value("inactive_file"),
            page_faults: value("pgfault"),
            major_page_faults: value("pgmajfault"),
        }))
    }

    /// `memory.events`, the counters here and below; `None` without the memory controller.
    ///
    /// # Errors
    ///
    /// A failed system call.
    pub fn memory_events(&self) -> Result<Option<MemoryEvents>, CgroupError> {
        if !self.inner.controllers.contains("memory") {
            return Ok(None);
        }
        let text = self.read_if_present("memory.events")?;
        Ok(text.map(|text| memory_events(&text)))
    }

    /// The pressure files (PSI).
    ///
    /// # Errors
    ///
    /// A failed system call.
    pub fn pressures(&self) -> Result<Pressures, CgroupError> {
        let pressure = |file| -> Result<Option<Pressure>, CgroupError> {
            match self.read_if_present(file) {
                // Switched off by cgroup.pressure or psi=0.
                Err(CgroupError::System { source, .. })
                    if source.raw_os_error() == Some(libc::EOPNOTSUPP) =>
                {
                    Ok(None)
                }
                text => Ok(text?.as_deref().map(pressure)),
            }
        };
        Ok(Pressures {
            cpu: pressure("cpu.pressure")?,
            memory: pressure("memory.pressure")?,
            io: pressure("io.pressure")?,
        })
    }

    fn process_count(&self) -> Result<u64, CgroupError> {
        match self.counted_pids()? {
            Some(count) => Ok(count),
            None => Ok(u64::try_from(self.all_pids()?.len()).unwrap_or(u64::MAX)),
        }
    }

    /// `pids.current`: processes and threads; `None` without the controller.
    ///
    /// # Errors
    ///
    /// A failed system call.
    pub fn counted_pids(&self) -> Result<Option<u64>, CgroupError> {
        if !self.inner.controllers.contains("pids") {
            return Ok(None);
        }
        let text = self.read_if_present("pids.current")?;
        Ok(text.map(|text| number(&text).unwrap_or(0)))
    }

    /// `cpu.stat`.
    ///
    /// # Errors
    ///
    /// `NotFound` if the cgroup is gone, or a failed system call.
    pub fn cpu(&self) -> Result<Cpu, CgroupError> {
        Ok(cpu(&self.read("cpu.stat")?))
    }

    /// `io.stat`; `None` without the controller.
    ///
    /// # Errors
    ///
    /// A failed system call.
    pub fn io(&self) -> Result<Option<Vec<IoDevice>>, CgroupError> {
        if !self.inner.controllers.contains("io") {
            return Ok(None);
        }
        Ok(self.read_if_present("io.stat")?.map(|text| io(&text)))
    }
}

/// A lone number; `max` is none.
pub(super) fn number(text: &str) -> Option<u64> {
    text.trim_end().parse().ok()
}

/// Lines `key number`.
fn keyed(text: &str) -> HashMap<&str, u64> {
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((key, value.parse().ok()?))
        })
        .collect()
}

fn cpu(text: &str) -> Cpu {
    let stat = keyed(text);
    let value = |key| stat.get(key).copied().unwrap_or(0);
    Cpu {
        usage_microseconds: value("usage_usec"),
        user_microseconds: value("user_usec"),
        system_microseconds: value("system_usec"),
        periods: value("nr_periods"),
        throttled_periods: value("nr_throttled"),
        throttled_microseconds: value("throttled_usec"),
    }
}

fn memory_events(text: &str) -> MemoryEvents {
    let events = keyed(text);
    let value = |key| events.get(key).copied().unwrap_or(0);
    MemoryEvents {
        max: value("max"),
        oom: value("oom"),
        oom_kill: value("oom_kill"),
        oom_group_kill: value("oom_group_kill"),
    }
}

fn pressure(text: &str) -> Pressure {
    let line = |name: &str| {
        let mut parsed = PressureLine::default();
        let Some(line) = text.lines().find_map(|line| line.strip_prefix(name)) else {
            return parsed;
        };
        for (key, value) in line
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='))
        {
            match key {
                "avg10" => parsed.average10 = value.parse().unwrap_or(0.0),
                "avg60" => parsed.average60 = value.parse().unwrap_or(0.0),
                "avg300" => parsed.average300 = value.parse().unwrap_or(0.0),
                "total" => parsed.total_microseconds = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        parsed
    };
    Pressure {
        some: line("some "),
        full: line("full "),
    }
}

fn io(text: &str) -> Vec<IoDevice> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (major, minor) = words.next()?.split_once(':')?;
            let mut device = IoDevice {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
                ..IoDevice::default()
            };
            for (key, value) in words.filter_map(|pair| pair.split_once('=')) {
                let value = value.parse().unwrap_or(0);
                match key {
                    "rbytes" => device.read_bytes = value,
                    "wbytes" => device.written_bytes = value,
                    "rios" => device.reads = value,
                    "wios" => device.writes = value,
                    _ => {}
                }
            }
            Some(device)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Cpu, IoDevice, MemoryEvents, PressureLine, cpu, io, memory_events, pressure};

    #[test]
    fn cpu_stat_is_read_with_and_without_the_controller() {
        let times = "usage_usec 7\nuser_usec 4\nsystem_usec 3\n";
        let read = Cpu {
            usage_microseconds: 7,
            user_microseconds: 4,
            system_microseconds: 3,
            ..Cpu::default()
        };
        assert_eq!(cpu(times), read);
        let more = format!("{times}nice_usec 0\nnr_periods 5\nnr_throttled 2\nthrottled_usec 90\n");
        assert_eq!(
            cpu(&more),
            Cpu {
                periods: 5,
                throttled_periods: 2,
                throttled_microseconds: 90,
                ..read
            }
        );
    }

    #[test]
    fn memory_events_of_an_old_kernel_lack_the_group_kill() {
        let text = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\n";
        let events = MemoryEvents {
            max: 12,
            oom: 3,
            oom_kill: 2,
            oom_group_kill: 0,
        };
        assert_eq!(memory_events(text), events);
        assert_eq!(
            memory_events(&format!("{text}oom_group_kill 1\n")),
            MemoryEvents {
                oom_group_kill: 1,
                ..events
            }
        );
    }

    #[test]
    fn pressure_without_a_full_line_is_zero_there() {
        let read = pressure("some avg10=1.50 avg60=0.20 avg300=0.00 total=123\n");
        assert_eq!(
            read.some,
            PressureLine {
                average10: 1.5,
                average60: 0.2,
                average300: 0.0,
                total_microseconds: 123
            }
        );
        assert_eq!(read.full, PressureLine::default());
    }

    #[test]
    fn io_stat_is_read_by_device() {
        let text = "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n7:1 \n";
        assert_eq!(
            io(text),
            [
                IoDevice {
                    major: 8,
                    minor: 0,
                    read_bytes: 10,
                    written_bytes: 20,
                    reads: 1,
                    writes: 2
                },
                IoDevice {
                    major: 7,
                    minor: 1,
                    ..IoDevice::default()
                }
            ]
        );
    }
}
