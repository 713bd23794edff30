//! The host's /proc and /sys, or a test's folders in their place.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel's files are.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) proc_directory: PathBuf,
    pub(super) sys_directory: PathBuf,
}

/// One line of /proc/self/mountinfo, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) mount_point: PathBuf,
    pub(super) filesystem: String,
    pub(super) read_only: bool,
}

impl Host {
    /// This host.
    pub(super) fn real() -> Self {
        Self {
            proc_directory: "/proc".into(),
            sys_directory: "/sys".into(),
        }
    }

    /// A file below /proc without its last newline; `None` if it is not there or cannot be read.
    pub(super) fn proc_file(&self, path: &str) -> Option<String> {
        read(&self.proc_directory.join(path))
    }

    /// The same below /sys.
    pub(super) fn sys_file(&self, path: &str) -> Option<String> {
        read(&self.sys_directory.join(path))
    }

    /// A number below /proc/sys.
    pub(super) fn sysctl(&self, path: &str) -> Option<u64> {
        self.proc_file(&format!("sys/{path}"))?.parse().ok()
    }

    /// Does a path below /proc exist?
    pub(super) fn has_proc(&self, path: &str) -> bool {
        self.proc_directory.join(path).exists()
    }

    /// Does a path below /sys exist?
    pub(super) fn has_sys(&self, path: &str) -> bool {
        self.sys_directory.join(path).exists()
    }

    /// The value of a field of /proc/self/status.
    pub(super) fn status_field(&self, name: &str) -> Option<String> {
        let status = self.proc_file("self/status")?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    /// The mounts of this process, in the order of the kernel.
    pub(super) fn mounts(&self) -> Vec<Mount> {
        let text = self.proc_file("self/mountinfo").unwrap_or_default();
        text.lines().filter_map(parse_mount).collect()
    }

    /// The mount that holds `path`: the last one with the longest mount point above it.
    pub(super) fn mount_of(&self, path: &Path) -> Option<Mount> {
        let mut best: Option<Mount> = None;
        for mount in self.mounts() {
            let depth = |mount: &Mount| mount.mount_point.components().count();
            if path.starts_with(&mount.mount_point)
                && best
                    .as_ref()
                    .is_none_or(|best| depth(&mount) >= depth(best))
            {
                best = Some(mount);
            }
        }
        best
    }
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim_end_matches(['\n', '\0']).to_owned())
}

/// proc_pid_mountinfo(5): `id parent major:minor root mount_point options optional… - filesystem source options`.
fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(4);
    let mount_point = unescape(left.next()?);
    let options = left.next()?;
    Some(Mount {
        mount_point: mount_point.into(),
        filesystem: right.split(' ').next()?.to_owned(),
        read_only: options.split(',').any(|option| option == "ro"),
    })
}

/// Space, tab, newline and backslash are octal there.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A host with these files, and nothing else.
    pub(in crate::cli::doctor) fn host_with(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut file = fs::File::create(path).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        }
        let host = Host {
            proc_directory: directory.path().join("proc"),
            sys_directory: directory.path().join("sys"),
        };
        (directory, host)
    }

    #[test]
    fn the_mount_of_a_path_is_the_innermost_and_last() {
        let (_directory, host) = host_with(&[(
            "proc/self/mountinfo",
            "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
             2 1 0:2 / /var/lib rw - xfs /dev/vdb rw\n\
             3 1 0:3 / /a\\040b ro,nosuid - tmpfs none rw\n\
             4 2 0:4 / /var/lib rw - btrfs /dev/vdc rw\n",
        )]);
        let filesystem = |path: &str| host.mount_of(Path::new(path)).unwrap().filesystem;
        assert_eq!(filesystem("/var/lib/carpel"), "btrfs");
        assert_eq!(filesystem("/var/library"), "ext4");
        assert!(host.mount_of(Path::new("/a b/c")).unwrap().read_only);
    }

    #[test]
    fn a_status_field_is_found_by_its_whole_name() {
        let (_directory, host) = host_with(&[("proc/self/status", "CapBnd:\t00ff\nCapBn:\t1\n")]);
        assert_eq!(host.status_field("CapBn").as_deref(), Some("1"));
        assert_eq!(host.status_field("CapBnd").as_deref(), Some("00ff"));
        assert_eq!(host.status_field("Cap"), None);
    }
}
