//! A small disk that can be filled: a tmpfs of its own, gone with the value.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A tmpfs at a folder.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts it; `None` if this process may not, and it has said so.
    pub(crate) fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        match mount(
            "carpel-test",
            path,
            "tmpfs",
            MountFlags::empty(),
            c"size=256k",
        ) {
            Ok(()) => Some(Self {
                path: path.to_owned(),
            }),
            Err(errno) => {
                println!("SKIP a tmpfs cannot be mounted: {errno}");
                None
            }
        }
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        let mut ballast = File::create(self.path.join("ballast")).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }

    /// Makes room again.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.path.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(errno) = unmount(&self.path, UnmountFlags::DETACH) {
            println!("left mounted: {}: {errno}", self.path.display());
        }
    }
}
