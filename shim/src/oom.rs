//! Evidence of the kernel's out-of-memory killer: memory.events of a container's cgroup, and memory.events.local of those
//! above it (Documentation/admin-guide/cgroup-v2.rst), counted from the container's creation. Without a memory controller
//! there are no such files.

use crate::time;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// How many cgroups above the container's are looked at.
const LEVELS: usize = 8;

/// The counters that matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// How often a limit of this cgroup, or of one below, left no room.
    pub(crate) oom: u64,
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
    /// The container's cgroup and those above it, with the `oom` that each had itself at the creation.
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    cgroup: String,
    at_creation: u64,
}

/// The cgroup whose limit was hit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Limiting {
    /// Its host directory; empty: not known, as when the machine itself had no memory.
    pub(crate) cgroup: String,
    /// 0: the container's own or one below it; 1: its parent; and so on.
    pub(crate) levels_above: u32,
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
            levels: levels(cgroup),
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
            oom: self.seen.oom.saturating_sub(self.at_creation.oom),
            oom_kill: self.seen.oom_kill.saturating_sub(self.at_creation.oom_kill),
            oom_group_kill: self
                .seen
                .oom_group_kill
                .saturating_sub(self.at_creation.oom_group_kill),
        }
    }
}

impl MemoryWatch {
    /// The nearest cgroup whose limit was hit since the creation, as of the last `update`. One above the container counts
    /// for all that are in it, so it is named only if the container's own was not hit.
    pub(crate) fn limiting(&self) -> Limiting {
        let own = self.seen.oom > self.at_creation.oom;
        let hit = |(index, level): &(usize, &Level)| match index {
            0 => own,
            _ => own_ooms(&level.cgroup).is_some_and(|now| now > level.at_creation),
        };
        let mut levels = self.levels.iter().enumerate();
        let found = levels.find(hit);
        found.map_or_else(Limiting::default, |(index, level)| Limiting {
            cgroup: level.cgroup.clone(),
            levels_above: u32::try_from(index).unwrap_or(u32::MAX),
        })
    }
}

/// A cgroup and those above it that have a memory controller.
fn levels(cgroup: &str) -> Vec<Level> {
    let paths = std::path::Path::new(cgroup).ancestors();
    paths
        .take(LEVELS)
        .map_while(|path| {
            let cgroup = path.to_str()?.to_owned();
            let at_creation = own_ooms(&cgroup)?;
            Some(Level {
                cgroup,
                at_creation,
            })
        })
        .collect()
}

/// `oom` of a cgroup itself, without those below it.
fn own_ooms(cgroup: &str) -> Option<u64> {
    let path = format!("{cgroup}/memory.events.local");
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    Some(read(file.as_fd())?.oom)
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
        oom: value("oom"),
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
        let all = (counts.oom, counts.oom_kill, counts.oom_group_kill);
        assert_eq!(all, (2, 1, 3));
        assert_eq!(super::parse("oom_kill 7\n").oom_group_kill, 0);
    }

    #[test]
    fn the_nearest_cgroup_whose_counter_rose_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let pod = directory.path().join("pod");
        let leaf = pod.join("leaf");
        std::fs::create_dir_all(&leaf).unwrap();
        let write = |path: &std::path::Path, name: &str, oom: u64| {
            let file = std::fs::File::create(path.join(name)).unwrap();
            rustix::io::write(file, format!("max 9\noom {oom}\noom_kill 1\n").as_bytes()).unwrap();
        };
        // Of a node on which others have met their limits before.
        for (path, oom) in [(&leaf, 0), (&pod, 3)] {
            write(path, "memory.events", oom);
            write(path, "memory.events.local", oom);
        }
        let mut watch = super::MemoryWatch::new(leaf.to_str().unwrap()).unwrap();
        watch.update();
        assert_eq!(watch.limiting(), super::Limiting::default());
        write(&pod, "memory.events.local", 4);
        let limiting = watch.limiting();
        assert_eq!(limiting.cgroup, pod.to_str().unwrap());
        assert_eq!(limiting.levels_above, 1);
        write(&leaf, "memory.events", 1);
        watch.update();
        assert_eq!(watch.limiting().levels_above, 0);
        assert_eq!(watch.limiting().cgroup, leaf.to_str().unwrap());
    }
}
