//! Network namespaces: leaving one's own for a new one, on a thread made for it.
//!
//! Not here: paths that keep a namespace alive (the daemon's `network` module binds them) and joining an
//! existing one, which `rustix::thread::move_into_link_name_space` does safely.

#![allow(
    unsafe_code,
    reason = "rustix marks unshare unsafe because of CLONE_FILES"
)]

use std::io;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves the calling thread, and no other, into a new network namespace: `unshare(CLONE_NEWNET)`.
///
/// Call it on a thread that ends with the work in that namespace: a thread that came back from here is in
/// the wrong network for everybody else, so it must never return to a pool.
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_ADMIN`, `ENOSPC` above `/proc/sys/user/max_net_namespaces`, `ENOMEM`.
pub fn unshare_network() -> io::Result<()> {
    // SAFETY: unshare's only memory-safety hazard is CLONE_FILES (a descriptor table that differs between
    // threads would let an OwnedFd name another file); the flag passed here is CLONE_NEWNET alone, which
    // touches no memory and no descriptor of this process.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}

/// Moves the calling thread, and no other, into a private copy of the mount namespace:
/// `unshare(CLONE_FS | CLONE_NEWNS)`. The same rule for the thread as in [`unshare_network`].
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_ADMIN`, `ENOSPC` above `/proc/sys/user/max_mnt_namespaces`, `ENOMEM`.
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: CLONE_FS gives this thread its own root, working directory and umask, and CLONE_NEWNS its own
    // mount table; neither flag is CLONE_FILES, so descriptors stay shared between all threads as before.
    unsafe { unshare_unsafe(UnshareFlags::FS | UnshareFlags::NEWNS) }.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    #[test]
    fn root_a_thread_leaves_its_network_namespace_alone() {
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let moved = thread::spawn(|| {
            super::unshare_network()?;
            fs::read_link("/proc/thread-self/ns/net")
        })
        .join()
        .unwrap();
        let Ok(moved) = moved else {
            println!("SKIP unshare(CLONE_NEWNET) needs CAP_SYS_ADMIN");
            return;
        };
        assert_ne!(own, moved);
        assert_eq!(own, fs::read_link("/proc/self/ns/net").unwrap());
    }
}
