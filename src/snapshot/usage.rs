//! Measuring directories as `du` does.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::ops::AddAssign;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a directory takes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Allocated bytes: blocks, not lengths.
    pub bytes: u64,
    /// Files, directories and other nodes; hard links count once.
    pub inodes: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.inodes += other.inodes;
    }
}

/// Measures everything below `path` and itself, without crossing into other file systems. What vanishes meanwhile
/// does not count, and neither does what lies too deep for a path (a container may do that to confuse us).
pub(super) fn measure(path: &Path) -> io::Result<Usage> {
    let top = fs::symlink_metadata(path)?;
    let mut usage = Usage {
        bytes: allocated(&top),
        inodes: 1,
    };
    let mut linked = HashSet::new();
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if is_passing(&error) => continue,
            entries => entries?,
        };
        for entry in entries {
            let metadata = match entry.and_then(|entry| Ok((entry.metadata()?, entry))) {
                Err(error) if is_passing(&error) => continue,
                found => found?,
            };
            let (metadata, entry) = metadata;
            if metadata.dev() != top.dev() {
                continue;
            }
            if metadata.is_dir() {
                directories.push(entry.path());
            } else if metadata.nlink() > 1 && !linked.insert(metadata.ino()) {
                continue;
            }
            usage += Usage {
                bytes: allocated(&metadata),
                inodes: 1,
            };
        }
    }
    Ok(usage)
}

/// stat(2): `st_blocks` counts units of 512 bytes, whatever the file system's block size.
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.blocks() * 512
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    )
}
