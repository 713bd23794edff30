//! What a `subPath` names, bound where no container can change what it leads to.
//!
//! A volume belongs to containers, which may put links into it while this runs; a path that was checked and then handed on as
//! text would be resolved again (CVE-2017-1002101, CVE-2021-25741). So the kernel resolves it once, refusing to leave the
//! volume (openat2(2), `RESOLVE_BENEATH`), and what it found is bound by descriptor.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2};
use rustix::io::Errno;

use super::{Reason, mounts};

/// How often a path is tried again that changes while it is resolved.
const TRIES_MAX: usize = 16;

/// Binds what `sub_path` names in `volume` on `target`; folders of it that are missing are made. `target` is made too.
///
/// # Errors
/// `Escape` and `Path` if it leads out of the volume; what the kernel refuses.
pub(super) fn bind(volume: &Path, sub_path: &str, target: &Path) -> Result<(), Reason> {
    let source = open(volume, sub_path)?;
    let stat = fstat(&source).map_err(|errno| Reason::at("stat", volume)(errno.into()))?;
    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    make_target(target, is_folder)?;
    mounts::bind(source.as_fd(), target)
}

/// A place to bind on, of the kind of what is bound. One that is there is from an earlier start of the container.
fn make_target(target: &Path, is_folder: bool) -> Result<(), Reason> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(Reason::at("create", parent))?;
    }
    mounts::unmount_at(target)?;
    match fs::symlink_metadata(target) {
        Ok(metadata) if metadata.is_dir() == is_folder => return Ok(()),
        Ok(metadata) if metadata.is_dir() => {
            fs::remove_dir(target).map_err(Reason::at("remove", target))?;
        }
        Ok(_) => fs::remove_file(target).map_err(Reason::at("remove", target))?,
        Err(_not_there) => {}
    }
    match is_folder {
        true => fs::create_dir(target),
        false => fs::File::create_new(target).map(drop),
    }
    .map_err(Reason::at("create", target))
}

/// Opens what `sub_path` names, below `volume`.
fn open(volume: &Path, sub_path: &str) -> Result<OwnedFd, Reason> {
    let parts = parts(sub_path)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, volume, flags, Mode::empty())
        .map_err(|errno| Reason::at("open", volume)(errno.into()))?;
    let stat = fstat(&root).map_err(|errno| Reason::at("stat", volume)(errno.into()))?;
    // As open as the volume is.
    let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
    let mut found = open_beneath(&root, Path::new("."), sub_path)?
        .ok_or_else(|| Reason::Path(sub_path.to_owned()))?;
    let mut path = PathBuf::new();
    for part in parts {
        path.push(part);
        // From the volume each time, so that a link may lead elsewhere in it.
        found = match open_beneath(&root, &path, sub_path)? {
            Some(next) => next,
            None => {
                match mkdirat(&found, part, mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => {
                        return Err(Reason::at("create", volume.join(&path))(errno.into()));
                    }
                }
                let made = open_beneath(&root, &path, sub_path)?;
                // A link to nowhere is there and names nothing.
                made.ok_or_else(|| Reason::Escape(sub_path.to_owned()))?
            }
        };
    }
    Ok(found)
}

fn open_beneath(root: &OwnedFd, path: &Path, sub_path: &str) -> Result<Option<OwnedFd>, Reason> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES_MAX {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Ok(descriptor) => return Ok(Some(descriptor)),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::XDEV | Errno::LOOP) => return Err(Reason::Escape(sub_path.to_owned())),
            // Something was renamed meanwhile.
            Err(Errno::AGAIN) => {}
            Err(errno) => return Err(Reason::at("open", path)(errno.into())),
        }
    }
    Err(Reason::Escape(sub_path.to_owned()))
}

/// The parts of a path that is relative and without `..`; none of `.`, as that is the volume itself.
fn parts(sub_path: &str) -> Result<Vec<&str>, Reason> {
    let refuse = || Reason::Path(sub_path.to_owned());
    let mut parts = Vec::new();
    for component in Path::new(sub_path).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str().ok_or_else(refuse)?),
            Component::CurDir => {}
            _ => return Err(refuse()),
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn volume() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn inode(descriptor: &OwnedFd) -> u64 {
        fstat(descriptor).unwrap().st_ino
    }

    #[test]
    fn folders_that_are_missing_are_made() {
        let volume = volume();
        let found = open(volume.path(), "a/b/c").unwrap();
        let made = fs::metadata(volume.path().join("a/b/c")).unwrap();
        assert_eq!(inode(&found), made.ino());
        assert_eq!(
            inode(&open(volume.path(), "./a").unwrap()),
            fs::metadata(volume.path().join("a")).unwrap().ino()
        );
    }

    #[test]
    fn a_link_may_lead_elsewhere_in_the_volume() {
        let volume = volume();
        fs::create_dir_all(volume.path().join("data/2")).unwrap();
        fs::File::create(volume.path().join("data/2/user")).unwrap();
        symlink("data/2", volume.path().join("current")).unwrap();
        symlink("../data/2/user", volume.path().join("data/back")).unwrap();
        let wanted = fs::metadata(volume.path().join("data/2/user"))
            .unwrap()
            .ino();
        for path in ["current/user", "data/back"] {
            assert_eq!(inode(&open(volume.path(), path).unwrap()), wanted, "{path}");
        }
    }

    #[test]
    fn no_link_leads_out_of_the_volume() {
        let (volume, outside) = (volume(), tempfile::tempdir().unwrap());
        symlink(outside.path(), volume.path().join("absolute")).unwrap();
        symlink("../../../../etc", volume.path().join("up")).unwrap();
        symlink("/proc/self/root", volume.path().join("magic")).unwrap();
        symlink("loop", volume.path().join("loop")).unwrap();
        symlink("nowhere", volume.path().join("dangling")).unwrap();
        for path in [
            "absolute",
            "absolute/made",
            "up",
            "up/passwd",
            "magic/etc",
            "loop",
            "dangling",
        ] {
            let refused = open(volume.path(), path);
            assert!(
                matches!(refused, Err(Reason::Escape(_))),
                "{path}: {refused:?}"
            );
        }
        assert!(fs::read_dir(outside.path()).unwrap().next().is_none());
    }

    #[test]
    fn no_path_names_what_is_above() {
        for path in ["/etc", "..", "a/../../b"] {
            assert!(matches!(parts(path), Err(Reason::Path(_))), "{path}");
        }
        assert_eq!(parts("a//b/./c/").unwrap(), ["a", "b", "c"]);
    }
}
