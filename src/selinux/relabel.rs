//! Another label for all files of a volume. Blocking.
//!
//! Files are reached below directory descriptors and links are never followed, so that whoever may write to the volume
//! cannot lead this out of it. What has the label already is not written.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::error::SelinuxError;

/// The attribute that holds a label.
const ATTRIBUTE: &str = "security.selinux";

/// How deep directories may be: each holds a descriptor while what is below it is labelled.
const DEPTH_MAX: usize = 256;

/// Directories of the node itself. What is below them may be a volume, but not they as a whole.
const OF_THE_NODE: [&str; 21] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt",
    "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib",
];

/// Gives a file, or a directory and all that is in it, a label. How many had another one. A file system that has no labels
/// is left as it is. `identity` is st_dev and st_ino of what was found at the path.
///
/// # Errors
///
/// `OfTheNode`, `Replaced` if the path leads elsewhere now, and what keeps a file from being labelled.
pub fn relabel(path: &Path, identity: (u64, u64), label: &str) -> Result<u64, SelinuxError> {
    if OF_THE_NODE.iter().any(|own| path == Path::new(own)) {
        let path = path.to_owned();
        return Err(SelinuxError::OfTheNode { path });
    }
    let mut walk = Walk {
        start: path,
        label,
        changed: 0,
    };
    let top = walk.open(CWD, path.as_os_str(), path)?;
    let found = rustix::fs::fstat(&top).map_err(|source| failed(path, source))?;
    if (found.st_dev, found.st_ino) != identity {
        let path = path.to_owned();
        return Err(SelinuxError::Replaced { path });
    }
    match walk.label_opened(&top, path) {
        Err(SelinuxError::File {
            source: Errno::NOTSUP,
            ..
        }) => return Ok(0),
        labelled => labelled?,
    }
    if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        walk.directory(top.as_fd(), path, 0)?;
    }
    Ok(walk.changed)
}

struct Walk<'a> {
    start: &'a Path,
    label: &'a str,
    changed: u64,
}

impl Walk<'_> {
    fn open(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
    ) -> Result<OwnedFd, SelinuxError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(parent, name, flags, Mode::empty())
            .map_err(|source| failed(path, source))
    }

    /// All entries of a directory.
    fn directory(
        &mut self,
        directory: BorrowedFd<'_>,
        path: &Path,
        depth: usize,
    ) -> Result<(), SelinuxError> {
        if depth == DEPTH_MAX {
            return Err(SelinuxError::TooDeep {
                path: self.start.to_owned(),
                depth,
            });
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(directory, ".", flags, Mode::empty());
        let opened = opened.map_err(|source| failed(path, source))?;
        let entries = Dir::read_from(&opened).map_err(|source| failed(path, source))?;
        for entry in entries {
            let entry = entry.map_err(|source| failed(path, source))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            match self.entry(directory, name, &path.join(name), depth) {
                // Gone meanwhile.
                Err(SelinuxError::File {
                    source: Errno::NOENT,
                    ..
                }) => {}
                labelled => labelled?,
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        depth: usize,
    ) -> Result<(), SelinuxError> {
        let opened = self.open(directory, name, path)?;
        let found = rustix::fs::fstat(&opened).map_err(|source| failed(path, source))?;
        match FileType::from_raw_mode(found.st_mode) {
            // /proc/self/fd of a link's own descriptor would be followed by nobody: its name is, by none either.
            FileType::Symlink => self.label_at(&below(directory, name), path, Follow::No),
            FileType::Directory => {
                self.label_opened(&opened, path)?;
                self.directory(opened.as_fd(), path, depth + 1)
            }
            _ => self.label_opened(&opened, path),
        }
    }

    fn label_opened(&mut self, opened: &OwnedFd, path: &Path) -> Result<(), SelinuxError> {
        let place = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
        self.label_at(&place, path, Follow::Yes)
    }

    fn label_at(&mut self, place: &Path, path: &Path, follow: Follow) -> Result<(), SelinuxError> {
        let mut buffer = [0_u8; 4096];
        let read = match follow {
            Follow::Yes => rustix::fs::getxattr(place, ATTRIBUTE, &mut buffer[..]),
            Follow::No => rustix::fs::lgetxattr(place, ATTRIBUTE, &mut buffer[..]),
        };
        match read {
            // The kernel writes labels with a NUL at their end.
            Ok(length) if trimmed(&buffer, length) == self.label.as_bytes() => return Ok(()),
            Ok(_) | Err(Errno::NODATA) => {}
            Err(source) => return Err(failed(path, source)),
        }
        let value = self.label.as_bytes();
        let written = match follow {
            Follow::Yes => rustix::fs::setxattr(place, ATTRIBUTE, value, XattrFlags::empty()),
            Follow::No => rustix::fs::lsetxattr(place, ATTRIBUTE, value, XattrFlags::empty()),
        };
        written.map_err(|source| failed(path, source))?;
        self.changed += 1;
        Ok(())
    }
}

/// Is the last part of a place followed if it is a link?
#[derive(Debug, Clone, Copy)]
enum Follow {
    /// One of /proc/self/fd: to the file that is open.
    Yes,
    /// A name in a volume.
    No,
}

fn below(directory: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name)
}

fn trimmed(buffer: &[u8], length: usize) -> &[u8] {
    let value = buffer.get(..length).unwrap_or_default();
    value.strip_suffix(&[0]).unwrap_or(value)
}

fn failed(path: &Path, source: Errno) -> SelinuxError {
    SelinuxError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    const LABEL: &str = "system_u:object_r:container_file_t:s0:c1,c2";

    fn relabelled(path: &Path) -> Result<u64, SelinuxError> {
        let found = fs::symlink_metadata(path).unwrap();
        relabel(path, (found.dev(), found.ino()), LABEL)
    }

    fn label_of(path: &Path) -> Option<String> {
        let mut buffer = [0_u8; 256];
        let length = rustix::fs::lgetxattr(path, ATTRIBUTE, &mut buffer[..]).ok()?;
        Some(String::from_utf8_lossy(trimmed(&buffer, length)).into_owned())
    }

    /// Is this one that may set labels, on a file system that has them?
    fn obstacle(folder: &Path) -> Option<String> {
        let tried = rustix::fs::lsetxattr(folder, ATTRIBUTE, b"a:b:c", XattrFlags::empty());
        tried.err().map(|errno| format!("no labels here: {errno}"))
    }

    #[test]
    fn root_all_files_of_a_volume_get_the_label_once() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("volume");
        fs::create_dir_all(volume.join("a/b")).unwrap();
        if let Some(reason) = obstacle(&volume) {
            println!("SKIP {reason}");
            return;
        }
        let outside = folder.path().join("outside");
        fs::File::create(&outside).unwrap();
        fs::File::create(volume.join("a/b/file")).unwrap();
        symlink(&outside, volume.join("a/link")).unwrap();
        assert_eq!(relabelled(&volume).unwrap(), 5);
        for path in ["", "a", "a/b", "a/b/file", "a/link"] {
            let found = label_of(&volume.join(path));
            assert_eq!(found.as_deref(), Some(LABEL), "{path:?}");
        }
        // Where the link leads is not the volume's.
        assert_ne!(label_of(&outside).as_deref(), Some(LABEL));
        assert_eq!(relabelled(&volume).unwrap(), 0);
        fs::File::create(volume.join("new")).unwrap();
        assert_eq!(relabelled(&volume).unwrap(), 1);
        // One file, as a volume.
        assert_eq!(relabelled(&outside).unwrap(), 1);
    }

    #[test]
    fn the_nodes_own_directories_keep_their_labels() {
        for path in ["/", "/etc", "/usr", "/home", "/var/lib"] {
            let error = relabelled(Path::new(path)).unwrap_err();
            assert!(matches!(error, SelinuxError::OfTheNode { .. }), "{error}");
        }
        let error = relabel(Path::new("/etc/no-such-file"), (0, 0), LABEL).unwrap_err();
        assert!(error.to_string().contains("/etc/no-such-file"), "{error}");
    }

    #[test]
    fn what_was_replaced_keeps_its_label() {
        let folder = tempfile::tempdir().unwrap();
        let found = fs::metadata(folder.path()).unwrap();
        let other = tempfile::tempdir().unwrap();
        let error = relabel(other.path(), (found.dev(), found.ino()), LABEL).unwrap_err();
        assert!(matches!(error, SelinuxError::Replaced { .. }), "{error}");
        assert_eq!(label_of(other.path()).filter(|label| label == LABEL), None);
    }

    #[test]
    fn what_is_too_deep_is_told() {
        let folder = tempfile::tempdir().unwrap();
        if let Some(reason) = obstacle(folder.path()) {
            println!("SKIP {reason}");
            return;
        }
        let mut deep = folder.path().to_owned();
        for _ in 0..=DEPTH_MAX {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        let error = relabelled(folder.path()).unwrap_err();
        assert!(matches!(error, SelinuxError::TooDeep { .. }), "{error}");
    }
}
