//! Giving directories that a layer only passes through what the layers below say of them.
//!
//! A layer with `etc/motd` but no entry for `etc/` gets a directory `etc` from us, and overlayfs shows its owner and
//! mode in place of the real ones below. Layers are unpacked at the same time, so this is done when those below are
//! there. The peers do the same when they unpack.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::{Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use super::place::{self, Links};
use super::{LayerError, metadata};

/// The largest list of names and the largest value of extended attributes (xattr(7)).
const ATTRIBUTE_BYTES_MAX: usize = 64 * 1024;

/// How directories are opened: without O_DIRECTORY this would open whatever a layer has there, a device if an image
/// wants that.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW);

/// The directory of an unpacked layer, open, so that it may be renamed meanwhile. Clones share the descriptor.
#[derive(Debug, Clone)]
pub struct OpenLayer(Arc<OwnedFd>);

impl OpenLayer {
    /// Opens a layer.
    ///
    /// # Errors
    /// `Target` if the file system refuses.
    pub fn open(path: &Path) -> Result<Self, LayerError> {
        Ok(Self(Arc::new(open(path)?)))
    }
}

impl AsFd for OpenLayer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Copies mode, owner, times and extended attributes onto the `implied` directories of `target` from the first of
/// `lower` (top first) that has them.
///
/// # Errors
/// `Target` if a layer cannot be opened, `Entry` if a directory cannot be changed.
pub fn inherit(target: &Path, implied: &[PathBuf], lower: &[PathBuf]) -> Result<(), LayerError> {
    inherit_from(&OpenLayer::open(target)?, implied, &open_all(lower)?)
}

/// As [`inherit`], with layers that are open.
///
/// # Errors
/// `Entry` if a directory cannot be changed.
pub fn inherit_from(
    target: &OpenLayer,
    implied: &[PathBuf],
    lower: &[OpenLayer],
) -> Result<(), LayerError> {
    for path in implied {
        inherit_one(target, path, lower).map_err(|source| LayerError::Entry {
            step: "inherit",
            path: path.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Opens layers.
pub(super) fn open_all(layers: &[PathBuf]) -> Result<Vec<OpenLayer>, LayerError> {
    layers.iter().map(|path| OpenLayer::open(path)).collect()
}

fn open(path: &Path) -> Result<OwnedFd, LayerError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|source| LayerError::Target {
        path: path.to_owned(),
        source: source.into(),
    })
}

fn inherit_one(root: &OpenLayer, path: &Path, lower: &[OpenLayer]) -> io::Result<()> {
    let Some(found) = described_below(root, path, lower)? else {
        return Ok(());
    };
    let own = place::resolve(root.as_fd(), path, DIRECTORY, Links::Refuse)?;
    copy(&found, &own)
}

/// The directory at `path` in the first of `lower` that has one, unless something above that hides it.
pub(super) fn described_below(
    root: &impl AsFd,
    path: &Path,
    lower: &[OpenLayer],
) -> io::Result<Option<OwnedFd>> {
    if is_hidden_below(root, path) {
        return Ok(None);
    }
    for layer in lower {
        match place::resolve(layer.as_fd(), path, DIRECTORY, Links::Refuse) {
            Ok(found) => return Ok(Some(found)),
            Err(Errno::NOENT) if is_hidden_below(layer, path) => return Ok(None),
            Err(Errno::NOENT) => {}
            // A whiteout, a file or a link, here or on the way: nothing below counts any more.
            Err(Errno::LOOP | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Whether a layer hides what those below it have at `path`. At the root of a layer overlayfs looks for no attribute.
fn is_hidden_below(layer: &impl AsFd, path: &Path) -> bool {
    path.ancestors()
        .filter(|ancestor| !ancestor.as_os_str().is_empty())
        .filter_map(|ancestor| {
            place::resolve(layer.as_fd(), ancestor, DIRECTORY, Links::Refuse).ok()
        })
        .any(|directory| metadata::is_opaque(directory.as_fd()))
}

fn copy(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let status = rustix::fs::fstat(from)?;
    rustix::fs::fchown(
        to,
        Some(Uid::from_raw(status.st_uid)),
        Some(Gid::from_raw(status.st_gid)),
    )?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(status.st_mode & 0o7777))?;
    for (name, value) in attributes(from)? {
        let outcome = rustix::fs::fsetxattr(to, name.as_slice(), &value, XattrFlags::empty());
        metadata::tolerate(&name, outcome)?;
    }
    // When somebody last looked into the one below says nothing about this one.
    let mut times = metadata::times_of(from.as_fd())?;
    times.last_access = times.last_modification;
    rustix::fs::futimens(to, &times)?;
    Ok(())
}

fn attributes(directory: &OwnedFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = Vec::with_capacity(ATTRIBUTE_BYTES_MAX);
    match rustix::fs::flistxattr(directory, spare_capacity(&mut names)) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        outcome => outcome?,
    };
    let mut attributes = Vec::new();
    for name in names.split(|byte| *byte == 0) {
        if name.is_empty() || !metadata::is_wanted(name) {
            continue;
        }
        let mut value = Vec::with_capacity(ATTRIBUTE_BYTES_MAX);
        match rustix::fs::fgetxattr(directory, name, spare_capacity(&mut value)) {
            Ok(_) => attributes.push((name.to_vec(), value)),
            Err(error) => tracing::debug!(
                descriptor = directory.as_raw_fd(),
                %error,
                "an extended attribute cannot be read"
            ),
        }
    }
    Ok(attributes)
}
