//! Overlayfs, tried for real: on the file system of the image store, in a mount namespace of a thread of our own.

use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::finding::Finding;
use super::host::Host;
use super::storage::existing;

pub(super) fn finding(host: &Host, root: &Path) -> Finding {
    if !rustix::process::geteuid().is_root() {
        let known = host
            .proc_file("filesystems")
            .is_some_and(|text| text.lines().any(|line| line.ends_with("\toverlay")));
        let fact = if known { "in the kernel" } else { "not loaded" };
        return Finding::ok(
            "overlayfs",
            format!("{fact}; not tried, as that takes root"),
        );
    }
    match try_mount(existing(root)) {
        Ok(()) => Finding::ok(
            "overlayfs",
            format!("works on the file system of {}", root.display()),
        ),
        Err(error) => Finding::fail(
            "overlayfs",
            format!("a mount below {} failed: {error}", existing(root).display()),
            "containers have no root file system without it",
            "modprobe overlay, or set root to a directory on ext4, xfs, btrfs or tmpfs",
        ),
    }
}

/// Mounts an overlay in `directory`, writes a file through it, and leaves nothing behind.
fn try_mount(directory: &Path) -> io::Result<()> {
    let scratch = scratch_directory(directory)?;
    let inside = scratch.clone();
    // The mount namespace of a thread ends with the thread, and the mount with it.
    let result = std::thread::spawn(move || mount_in_own_namespace(&inside))
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the thread that tried it panicked")));
    std::fs::remove_dir_all(&scratch)?;
    result
}

fn scratch_directory(directory: &Path) -> io::Result<std::path::PathBuf> {
    let scratch = directory.join(format!(".carpel-doctor-{}", std::process::id()));
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir_all(scratch.join(name))?;
    }
    Ok(scratch)
}

fn mount_in_own_namespace(scratch: &Path) -> io::Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    let options = format!(
        "lowerdir={scratch}/lower,upperdir={scratch}/upper,workdir={scratch}/work",
        scratch = scratch.display()
    );
    let options = std::ffi::CString::new(options)?;
    mount(
        "overlay",
        scratch.join("merged"),
        "overlay",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )?;
    std::fs::File::create(scratch.join("merged/file"))?;
    if scratch.join("upper/file").exists() {
        Ok(())
    } else {
        Err(io::Error::other("a written file is not in the upper layer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_an_overlay_is_mounted_and_nothing_is_left() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP not root");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        try_mount(directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let mounts = Host::real().mounts();
        let left = mounts
            .iter()
            .any(|mount| mount.mount_point.starts_with(directory.path()));
        assert!(!left, "{mounts:?}");
    }
}
