//! An overlay whose layers show their owners through a user namespace. Runs in the child, with the host's privileges and
//! in a mount namespace of its own.
//!
//! overlayfs itself cannot be shown so, but its layers can (Linux 5.19). All of them are below one directory of the store, so
//! one mount of that directory is enough, however many layers there are. The writable directory is not mapped: overlayfs
//! works in it as the host's root, who has no id in the namespace. What the container makes has the node's ids on disk.

use crate::container::entry::Entry;
use crate::container::filesystem;
use crate::container::overlay;
use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::invalid;
use carpel_linux::mount;
use carpel_linux::mount::Depth;
use carpel_shim_protocol::message::Root;
use rustix::fs::AtFlags;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Uid;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

/// Assembles the overlay at `place` and lets `take` copy of it what is wanted; nothing stays mounted there.
pub(crate) fn take(
    root: &Root,
    place: &str,
    entry: &Entry<OwnedFd>,
    take: impl FnOnce(BorrowedFd<'_>) -> Outcome<OwnedFd>,
) -> Outcome<OwnedFd> {
    let step = || format!("map the owners of {} layers", root.lower.len());
    let directory = overlay::common_directory(&root.lower)
        .ok_or_else(|| invalid(step(), "the layers are not below one directory"))?;
    let store = mount::copy_tree(directory, Depth::Single).step(step)?;
    mount::set_owner_mapping(store.as_fd(), entry.user_namespace.as_fd())
        .step(|| format!("show the owners in {directory:?} through the user namespace"))?;
    mount::place(store.as_fd(), open(place)?.as_fd()).step(step)?;
    let inside = |path: &String| format!("{place}/{}", path.replacen(directory, "", 1));
    let mapped = Root {
        lower: root.lower.iter().map(inside).collect(),
        ..root.clone()
    };
    if !root.upper.is_empty() {
        give_to_root(&root.upper, entry)?;
    }
    let options = overlay::options(&mapped);
    let image = filesystem::mount_overlay(&mapped, options.as_ref(), place)?;
    let taken = take(image.as_fd());
    // The overlay, and the store below it, which the overlay goes on using.
    for _mount in 0..2 {
        mount::unmount(place).step(step)?;
    }
    taken
}

/// The root directory of the container belongs to its root.
fn give_to_root(upper: &str, entry: &Entry<OwnedFd>) -> Outcome<()> {
    let (user, group) = entry.root;
    let owner = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
    let given = rustix::fs::chownat(
        rustix::fs::CWD,
        upper,
        owner.0,
        owner.1,
        AtFlags::SYMLINK_NOFOLLOW,
    );
    given.step(|| format!("give {upper:?} to {user}:{group}"))
}

fn open(place: &str) -> Outcome<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(place, flags, Mode::empty()).step(|| format!("open {place:?}"))
}
