//! The directories behind an image's VOLUMEs: each begins as a copy of what the image has at that place, as with the
//! peers, and is removed with the container.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::parts::RootDirectories;
use crate::oci::ImageVolume;

/// Makes the directories. The image is mounted read-only at `mount_point` meanwhile.
///
/// # Errors
/// The first step that failed; the mount is gone all the same.
pub(super) fn make(
    volumes: &[ImageVolume],
    root: &RootDirectories,
    mount_point: &Path,
) -> io::Result<()> {
    let image = Mounted::new(root, mount_point)?;
    for volume in volumes {
        let target = Path::new(&volume.source);
        fs::create_dir_all(target)?;
        match image.open(&volume.destination) {
            Ok(directory) => copy_directory(&proc_path(&directory), target)?,
            // The image has nothing there, or no directory: the volume begins empty.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                fs::set_permissions(target, fs::Permissions::from_mode(0o755))?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

struct Mounted<'a> {
    point: &'a Path,
    root: OwnedFd,
}

impl<'a> Mounted<'a> {
    fn new(root: &RootDirectories, point: &'a Path) -> io::Result<Self> {
        fs::create_dir_all(point)?;
        match root.lower.as_slice() {
            // A single layer needs no overlay, and overlayfs refuses one without an upper directory.
            [only] => {
                mount_bind(only, point)?;
            }
            several => {
                let mut options = b"lowerdir=".to_vec();
                for (number, layer) in several.iter().enumerate() {
                    if number > 0 {
                        options.push(b':');
                    }
                    options.extend_from_slice(layer.as_os_str().as_bytes());
                }
                let options = CString::new(options)?;
                mount(
                    "overlay",
                    point,
                    "overlay",
                    MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID,
                    options.as_c_str(),
                )?;
            }
        }
        let opened = rustix::fs::open(
            point,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        match opened {
            Ok(root) => Ok(Self { point, root }),
            Err(errno) => {
                unmount(point, UnmountFlags::DETACH)?;
                Err(errno.into())
            }
        }
    }

    /// A directory of the image, its symbolic links followed inside the image.
    fn open(&self, path: &str) -> io::Result<OwnedFd> {
        let opened = openat2(
            self.root.as_fd(),
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )?;
        Ok(opened)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let result = unmount(self.point, UnmountFlags::DETACH);
        if let Err(error) = result {
            tracing::warn!(path = %self.point.display(), %error, "the image stays mounted");
        }
    }
}

fn mount_bind(source: &Path, point: &Path) -> io::Result<()> {
    rustix::mount::mount_bind(source, point)?;
    Ok(())
}

/// A path that reaches what a descriptor holds, whatever happens to its name.
fn proc_path(descriptor: &OwnedFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

/// Copies what is in a directory, and its owner and mode. Symbolic links are copied, not followed.
fn copy_directory(source: &Path, target: &Path) -> io::Result<()> {
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let to = target.join(entry.file_name());
        let metadata = entry.metadata()?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            fs::create_dir(&to)?;
            copy_directory(&entry.path(), &to)?;
            continue;
        }
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &to)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &to)?;
        } else if !kind.is_socket() {
            tracing::debug!(path = %entry.path().display(), "a special file of an image's volume is left out");
            continue;
        } else {
            continue;
        }
        std::os::unix::fs::lchown(&to, Some(metadata.uid()), Some(metadata.gid()))?;
        if kind.is_file() {
            fs::set_permissions(&to, metadata.permissions())?;
        }
    }
    let metadata = fs::metadata(source)?;
    std::os::unix::fs::chown(target, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(target, metadata.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_copied_with_modes_and_links() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir_all(source.join("deep")).unwrap();
        fs::create_dir(&target).unwrap();
        fs::copy("/proc/self/comm", source.join("deep/file")).unwrap();
        fs::set_permissions(source.join("deep"), fs::Permissions::from_mode(0o1777)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", source.join("link")).unwrap();
        copy_directory(&source, &target).unwrap();
        assert!(target.join("deep/file").is_file());
        assert_eq!(
            fs::metadata(target.join("deep")).unwrap().mode() & 0o7777,
            0o1777
        );
        assert_eq!(
            fs::read_link(target.join("link")).unwrap(),
            Path::new("/etc/passwd")
        );
    }

    /// CVE-2022-23648: a volume that the image declares at a link is not copied from the host.
    #[test]
    fn root_an_image_volume_is_copied_from_the_image_alone() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIP needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        let layer = folder.path().join("layer");
        for directory in [outside.as_path(), &layer, &layer.join("inside")] {
            fs::create_dir(directory).unwrap();
        }
        fs::copy("/proc/self/comm", outside.join("secret")).unwrap();
        fs::copy("/proc/self/comm", layer.join("inside/file")).unwrap();
        let link = |target: &Path, name: &str| {
            std::os::unix::fs::symlink(target, layer.join(name)).unwrap();
        };
        link(&outside, "absolute");
        link(Path::new("../../../../../../../../.."), "up");
        link(Path::new("/proc/self/root"), "magic");
        link(Path::new("/inside"), "fine");
        let mount_point = folder.path().join("mounted");
        let root = RootDirectories {
            lower: vec![layer.clone()],
            ..RootDirectories::default()
        };
        let outside_path = outside.to_str().unwrap();
        for (number, path) in [
            "/absolute".to_owned(),
            format!("/up{outside_path}"),
            format!("/magic{outside_path}"),
            format!("/../../../..{outside_path}"),
        ]
        .into_iter()
        .enumerate()
        {
            let source = folder.path().join(format!("volume-{number}"));
            let volume = ImageVolume {
                source: source.to_str().unwrap().to_owned(),
                destination: path,
            };
            make(&[volume], &root, &mount_point).unwrap();
            assert_eq!(fs::read_dir(&source).unwrap().count(), 0);
        }
        let source = folder.path().join("fine");
        let volume = ImageVolume {
            source: source.to_str().unwrap().to_owned(),
            destination: "/fine".into(),
        };
        make(&[volume], &root, &mount_point).unwrap();
        assert!(source.join("file").exists());
    }
}
