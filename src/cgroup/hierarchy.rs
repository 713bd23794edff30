//! The cgroup2 file system of this host: where it is, what it can, and the cgroups that Carpel makes in it.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use rustix::fs::{Mode, OFlags};

use super::config::{CgroupConfig, Driver, MissingControllers};
use super::directory::{self, Cgroup};
use super::error::CgroupError;
use super::pod::{PodCgroup, Unit};
use super::programs::{DeviceRules, Programs};
use super::slice;

/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// The parent of pods whose request names none.
pub(super) const DEFAULT_PARENT: &str = "/carpel";

/// Where shims are, below [`DEFAULT_PARENT`].
const SHIMS: &str = "/carpel/shims";

/// Controllers that are handed down to every pod, where there are: those that limits and figures need. Others (hugetlb,
/// rdma, misc, dmem) are handed down when a limit asks for them, as each costs something in every cgroup.
pub(super) const USUAL: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// The hierarchy. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cgroups {
    pub(super) inner: Arc<Inner>,
}

/// What all cgroups of the hierarchy share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) mountpoint: PathBuf,
    /// The root of the hierarchy, which all paths count from.
    pub(super) root: OwnedFd,
    pub(super) controllers: BTreeSet<String>,
    /// `2MB` and the like, from the smallest.
    pub(super) huge_page_sizes: Vec<String>,
    pub(super) missing_controllers: MissingControllers,
    driver: Driver,
    /// What is known to be in the cgroup.subtree_control of a cgroup, by path.
    pub(super) prepared: Mutex<HashMap<String, BTreeSet<String>>>,
    /// Found out when it is first asked.
    pub(super) device_rules: OnceLock<DeviceRules>,
    pub(super) programs: Programs,
}

impl Cgroups {
    /// Finds cgroup2, at the configured place, at /sys/fs/cgroup, at /sys/fs/cgroup/unified, or else wherever it is
    /// mounted, and reads which controllers it has.
    ///
    /// # Errors
    ///
    /// No cgroup2, or one that cannot be read.
    pub fn open(config: CgroupConfig) -> Result<Self, CgroupError> {
        let mut candidates = match &config.mountpoint {
            Some(configured) => vec![configured.clone()],
            None => vec![
                PathBuf::from("/sys/fs/cgroup"),
                PathBuf::from("/sys/fs/cgroup/unified"),
            ],
        };
        if config.mountpoint.is_none() {
            let mounts = PathBuf::from("/proc/self/mountinfo");
            let text = std::fs::read_to_string(&mounts)
                .map_err(|source| CgroupError::system("read", mounts, source))?;
            candidates.extend(cgroup2_mounts(&text));
        }
        for candidate in &candidates {
            if is_cgroup2(candidate) {
                return Self::at(candidate, &config);
            }
        }
        let looked_at: Vec<_> = candidates
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        Err(CgroupError::NoHierarchy {
            looked_at: looked_at.join(", "),
        })
    }

    fn at(mountpoint: &Path, config: &CgroupConfig) -> Result<Self, CgroupError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(mountpoint, flags, Mode::empty())
            .map_err(|errno| CgroupError::system("open", mountpoint, errno))?;
        let path = mountpoint.join("cgroup.controllers");
        let controllers = directory::read_at(&root, "cgroup.controllers", &path)?
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        Ok(Self {
            inner: Arc::new(Inner {
                mountpoint: mountpoint.to_owned(),
                root,
                controllers,
                huge_page_sizes: huge_page_sizes(),
                missing_controllers: config.missing_controllers,
                driver: config.driver,
                prepared: Mutex::new(HashMap::new()),
                device_rules: OnceLock::new(),
                programs: Programs::default(),
            }),
        })
    }

    /// Where cgroup2 is mounted.
    pub fn mountpoint(&self) -> &Path {
        &self.inner.mountpoint
    }

    /// The controllers of cgroup2 on this host, sorted.
    pub fn controllers(&self) -> impl Iterator<Item = &str> {
        self.inner.controllers.iter().map(String::as_str)
    }

    /// Does cgroup2 have this controller on this host?
    pub fn has(&self, controller: &str) -> bool {
        self.inner.controllers.contains(controller)
    }

    /// The driver.
    pub fn driver(&self) -> Driver {
        self.inner.driver
    }

    /// Names the cgroup of a pod; nothing is made. An empty `parent` means `/carpel`, or `carpel.slice` with systemd.
    ///
    /// # Errors
    ///
    /// A parent that is relative, has `..`, or is a slice of systemd; one that is no slice, with systemd as the driver; an
    /// id that is not a name.
    pub fn pod(&self, parent: &str, sandbox_id: &str) -> Result<PodCgroup, CgroupError> {
        match self.inner.driver {
            Driver::Cgroupfs => {
                let parent = match parent {
                    "" => DEFAULT_PARENT,
                    parent => parent,
                };
                let path = child_path(&parent_path(parent)?, sandbox_id)?;
                Ok(PodCgroup::new(self.clone(), path, None))
            }
            Driver::Systemd => {
                let slice = slice::slice_name(parent)?;
                let scope = format!("carpel-{sandbox_id}.scope");
                let path = child_path(&slice::slice_path(&slice), &scope)?;
                Ok(PodCgroup::new(
                    self.clone(),
                    path,
                    Some(Unit { slice, scope }),
                ))
            }
        }
    }

    /// Makes (or finds) the cgroup of a pod's shim, `/carpel/shims/<sandbox id>`. It has no limits.
    ///
    /// # Errors
    ///
    /// An id that is not a name, or a failed system call.
    pub fn create_shim(&self, sandbox_id: &str) -> Result<Cgroup, CgroupError> {
        let path = child_path(SHIMS, sandbox_id)?;
        self.create_all(&path)?;
        self.open_path(path)
    }

    /// The cgroup of a pod's shim.
    ///
    /// # Errors
    ///
    /// `NotFound`, or a failed system call.
    pub fn open_shim(&self, sandbox_id: &str) -> Result<Cgroup, CgroupError> {
        self.open_path(child_path(SHIMS, sandbox_id)?)
    }

    /// Any cgroup, by its path below the mount point, as `/proc/<pid>/cgroup` shows it.
    ///
    /// # Errors
    ///
    /// `NotFound`, or a failed system call.
    pub fn open_path(&self, path: String) -> Result<Cgroup, CgroupError> {
        Cgroup::open(Arc::clone(&self.inner), path)
    }
}

impl Inner {
    /// The host's path of a cgroup.
    pub(super) fn host_path(&self, path: &str) -> PathBuf {
        self.mountpoint.join(path.trim_start_matches('/'))
    }
}

/// A machine without huge pages has no such folder.
fn huge_page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages");
    let names = entries.into_iter().flatten().flatten();
    super::details::huge_page_sizes(names.filter_map(|entry| entry.file_name().into_string().ok()))
}

fn is_cgroup2(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| u64::try_from(found.f_type) == Ok(CGROUP2_MAGIC))
}

/// Mount points of cgroup2 in the text of /proc/self/mountinfo (proc(5)).
fn cgroup2_mounts(mountinfo: &str) -> Vec<PathBuf> {
    mountinfo
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .filter(|(_, after)| after.split(' ').next() == Some("cgroup2"))
        .filter_map(|(before, _)| before.split(' ').nth(4))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .collect()
}

/// A `cgroup_parent` as a clean path.
fn parent_path(parent: &str) -> Result<String, CgroupError> {
    let refuse = |reason| {
        Err(CgroupError::Parent {
            parent: parent.to_owned(),
            reason,
        })
    };
    if parent.contains('\0') || parent.split('/').any(|part| part == "..") {
        return refuse("has \"..\" or a NUL byte");
    }
    if parent.ends_with(".slice") {
        return refuse("is a slice of systemd, but the cgroup driver is cgroupfs");
    }
    if !parent.starts_with('/') {
        return refuse("not an absolute path");
    }
    let parts: Vec<_> = parent
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    Ok(format!("/{}", parts.join("/")))
}

/// The path of `name` below `parent`.
pub(super) fn child_path(parent: &str, name: &str) -> Result<String, CgroupError> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0', '\n']) {
        return Err(CgroupError::Parent {
            parent: format!("{parent}/{name}"),
            reason: "not a name of a cgroup",
        });
    }
    Ok(format!("{}/{name}", parent.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{cgroup2_mounts, child_path, parent_path};

    #[test]
    fn parents_are_absolute_and_no_slices() {
        assert_eq!(parent_path("/kubepods//pod1/").unwrap(), "/kubepods/pod1");
        assert_eq!(parent_path("/").unwrap(), "/");
        for (parent, reason) in [
            (
                "kubepods",
                "cgroup parent \"kubepods\": not an absolute path",
            ),
            (
                "/a/../b",
                "cgroup parent \"/a/../b\": has \"..\" or a NUL byte",
            ),
            (
                "kubepods-burstable.slice",
                "cgroup parent \"kubepods-burstable.slice\": is a slice of systemd, but the cgroup driver is cgroupfs",
            ),
            (
                "/kubepods.slice",
                "cgroup parent \"/kubepods.slice\": is a slice of systemd, but the cgroup driver is cgroupfs",
            ),
        ] {
            assert_eq!(parent_path(parent).unwrap_err().to_string(), reason);
        }
        assert_eq!(child_path("/", "a").unwrap(), "/a");
        assert!(child_path("/carpel", "../x").is_err());
        assert!(child_path("/carpel", "").is_err());
    }

    #[test]
    fn cgroup2_is_found_in_mountinfo() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
            41 31 0:38 / /mnt/with\\040space rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_mounts(text), [PathBuf::from("/mnt/with space")]);
    }
}
