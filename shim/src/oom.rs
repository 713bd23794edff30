//! Evidence of the kernel's out-of-memory killer: memory.events of a container's cgroup (Documentation/admin-guide/
//! cgroup-v2.rst), counted from the container's creation. Without a memory controller there is no such file.

use crate::time;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// The counters that matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) oom_kill: u64,
    pub(crate) oom_group_kill: u64,
}

/// An open memory.events. It becomes ready with EPOLLPRI when a counter changes.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    file: OwnedFd,
    at_creation: Counts,
    seen: Counts,
    /// Wall clock of the last rise of oom_kill; 0: never.
    pub(crate) last_at: u64,
}

impl MemoryWatch {
    /// Watches the cgroup at this host directory, if it has a memory controller.
    pub(crate) fn new(cgroup: &str) -> Option<Self> {
        let path = format!("{cgroup}/memory.events");
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let now = read(file.as_fd())?;
        Some(Self {
            file,
            at_creation: now,
            seen: now,
            last_at: 0,
        })
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Reads the file again and returns what happened since the creation.
    pub(crate) fn update(&mut self) -> Counts {
        if let Some(now) = read(self.file.as_fd()) {
            if now.oom_kill > self.seen.oom_kill {
                self.last_at = time::wall_nanoseconds();
            }
            self.seen = now;
        }
        Counts {
            oom_kill: self.seen.oom_kill.saturating_sub(self.at_creation.oom_kill),
            oom_group_kill: self
                .seen
                .oom_group_kill
                .saturating_sub(self.at_creation.oom_group_kill),
        }
    }
}

fn read(file: BorrowedFd<'_>) -> Option<Counts> {
    let mut buffer = [0_u8; 1024];
    let length = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut buffer, 0)).ok()?;
    Some(parse(std::str::from_utf8(buffer.get(..length)?).ok()?))
}

fn parse(text: &str) -> Counts {
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or(0)
    };
    Counts {
        oom_kill: value("oom_kill"),
        oom_group_kill: value("oom_group_kill"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn counters_are_read_by_name() {
        let text = "low 0\nhigh 0\nmax 4\noom 2\noom_kill 1\noom_group_kill 3\nsock_throttled 0\n";
        let counts = super::parse(text);
        assert_eq!((counts.oom_kill, counts.oom_group_kill), (1, 3));
        assert_eq!(super::parse("oom_kill 7\n").oom_group_kill, 0);
    }
}
