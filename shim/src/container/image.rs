//! Volumes made of images. Runs in the child: in its own mount namespace, before the root changes.
//!
//! The layers become an overlay without an upper directory: whatever a container may do to its mounts, this one cannot be
//! made writable, and the layers are those of every other container of the image.

use crate::container::entry::Entry;
use crate::container::filesystem;
use crate::container::mapped_overlay;
use crate::container::plan;
use crate::container::plan::ImageVolume;
use crate::container::plan::Step;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::of_image_volume;
use carpel_linux::mount;
use carpel_linux::mount::Attributes;
use carpel_linux::mount::Depth;
use carpel_linux::mount::Propagation;
use carpel_linux::path;
use carpel_linux::path::Links;
use rustix::fs::OFlags;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// Mounts the volume below `root`. The image is assembled at `place`, over what is mounted there, and taken from there.
pub(crate) fn mount(root: BorrowedFd<'_>, volume: &ImageVolume, place: &str) -> Outcome<()> {
    assemble(root, volume, place).map_err(of_image_volume)
}

/// The volume as it will be mounted, its owners shown through a user namespace.
pub(crate) fn mapped_tree(
    volume: &ImageVolume,
    place: &str,
    entry: &Entry<OwnedFd>,
) -> Outcome<OwnedFd> {
    assemble_mapped(volume, place, entry).map_err(of_image_volume)
}

fn assemble_mapped(volume: &ImageVolume, place: &str, entry: &Entry<OwnedFd>) -> Outcome<OwnedFd> {
    let step = || plan::describe(&Step::Image(volume.clone()));
    let tree = mapped_overlay::take(&volume.layers, place, entry, |image| {
        match volume.sub_path.as_str() {
            "" => mount::copy_tree_of(image, Depth::Single).step(step),
            path => part_of(image, path).step(step),
        }
    })?;
    mount::set_attributes(tree.as_fd(), private(volume), Depth::Single).step(step)?;
    Ok(tree)
}

fn private(volume: &ImageVolume) -> Attributes {
    Attributes {
        propagation: Some(Propagation::Private),
        ..volume.attributes
    }
}

fn assemble(root: BorrowedFd<'_>, volume: &ImageVolume, place: &str) -> Outcome<()> {
    let step = || plan::describe(&Step::Image(volume.clone()));
    let image = filesystem::mount_overlay(&volume.layers, volume.options.as_ref(), place)?;
    let tree = match volume.sub_path.as_str() {
        "" => Ok(image),
        path => part_of(image.as_fd(), path),
    };
    // A part of it is a mount of its own by now. The whole of it is moved.
    if !volume.sub_path.is_empty() {
        mount::unmount(place).step(step)?;
    }
    let tree = tree.step(step)?;
    let target = filesystem::mount_point(root, &volume.destination, tree.as_fd()).step(step)?;
    mount::set_attributes(tree.as_fd(), private(volume), Depth::Single).step(step)?;
    mount::place(tree.as_fd(), target.as_fd()).step(step)
}

/// A copy of the mount that shows only what is at `path`, a directory or a file.
fn part_of(image: BorrowedFd<'_>, path: &str) -> carpel_linux::Result<OwnedFd> {
    let part = path::open_in_root(image, path, OFlags::PATH, Links::Follow)?;
    mount::copy_tree_of(part.as_fd(), Depth::Single)
}
