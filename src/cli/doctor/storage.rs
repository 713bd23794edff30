//! Where images and live state are kept.

use std::path::Path;

use super::finding::Finding;
use super::host::Host;
use crate::config::Config;

/// Below this, kubelet's default eviction (imagefs.available < 15 %) or the next pull stops pods.
const LITTLE_SPACE_BYTES: u64 = 5 << 30;

/// File systems whose directories overlayfs does not take as an upper layer, or only with errors later.
const UNFIT: [&str; 8] = [
    "overlay", "nfs", "nfs4", "9p", "cifs", "vfat", "fuse", "hostfs",
];

pub(super) fn findings(host: &Host, config: &Config) -> Vec<Finding> {
    vec![
        filesystem(host, &config.root),
        space(&config.root),
        run_directory(host, &config.run_directory),
    ]
}

/// `path`, or the nearest directory above it that exists.
pub(super) fn existing(path: &Path) -> &Path {
    path.ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("/"))
}

fn filesystem(host: &Host, root: &Path) -> Finding {
    let Some(mount) = host.mount_of(existing(root)) else {
        return Finding::ok("image store", format!("{} on /", root.display()));
    };
    let fact = format!("{} on {}", root.display(), mount.filesystem);
    if mount.read_only {
        Finding::fail(
            "image store",
            format!("{fact}, read-only"),
            "nothing can be stored",
            "set root to a directory of a writable file system",
        )
    } else if UNFIT.contains(&mount.filesystem.as_str()) {
        Finding::warn(
            "image store",
            fact,
            "overlayfs may not take it as an upper layer: see the overlay line",
            "set root to a directory on ext4, xfs, btrfs or tmpfs",
        )
    } else if mount.filesystem == "tmpfs" {
        Finding::warn(
            "image store",
            fact,
            "images are kept in memory and are gone after a reboot",
            "set root to a directory on a disk",
        )
    } else {
        Finding::ok("image store", fact)
    }
}

fn space(root: &Path) -> Finding {
    let path = existing(root);
    let Ok(numbers) = rustix::fs::statvfs(path) else {
        return Finding::ok("disk space", "the file system does not tell");
    };
    let free = numbers.f_bavail.saturating_mul(numbers.f_frsize);
    let fact = format!("{} MiB free for images", free >> 20);
    if free < LITTLE_SPACE_BYTES {
        Finding::warn(
            "disk space",
            fact,
            "pulls and containers that write soon find the disk full",
            "make room, or set root to a bigger file system",
        )
    } else {
        Finding::ok("disk space", fact)
    }
}

fn run_directory(host: &Host, run_directory: &Path) -> Finding {
    let filesystem = host
        .mount_of(existing(run_directory))
        .map_or_else(|| "/".to_owned(), |mount| mount.filesystem);
    let fact = format!("{} on {filesystem}", run_directory.display());
    if filesystem == "tmpfs" {
        Finding::ok("live state", fact)
    } else {
        Finding::ok("live state", fact)
            .meaning("it outlives a reboot: Carpel notices by the boot id, but each record costs a disk write")
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::super::host::tests::host_with;
    use super::*;

    #[test]
    fn a_store_on_overlayfs_or_read_only_is_told() {
        let level = |line: &str| {
            let (_directory, host) = host_with(&[("proc/self/mountinfo", line)]);
            filesystem(&host, Path::new("/no-such-directory/carpel")).level
        };
        assert_eq!(level("1 0 0:1 / / rw - overlay overlay rw\n"), Level::Warn);
        assert_eq!(level("1 0 0:1 / / ro - ext4 /dev/vda rw\n"), Level::Fail);
        assert_eq!(level("1 0 0:1 / / rw - ext4 /dev/vda rw\n"), Level::Ok);
    }
}
