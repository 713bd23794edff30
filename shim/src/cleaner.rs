//! Taking a container's mounts down without making anybody wait.
//!
//! The last reference to a mount namespace unmounts all that is in it, and to unmount an overlay whose upper directory is
//! on a disk is to write that disk (10 to 60 ms, once 645 ms seen). If the container's last process held it, its exit
//! would be known only afterwards. So the shim holds one, and when the exit has been told, it passes it to a process that
//! does nothing but let it go.

use crate::container::start;
use crate::failure::ignore;
use carpel_linux::clone::CloneRequest;
use carpel_linux::clone::Cloned;
use carpel_linux::clone::clone_process;
use carpel_linux::process;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::process::Pid;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

/// The mount namespace of a process; none when it has ended, or may not be looked at.
pub(crate) fn mount_namespace_of(pid: Pid) -> Option<OwnedFd> {
    let path = format!("/proc/{}/ns/mnt", pid.as_raw_nonzero());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// Lets a mount namespace go in a process of its own, which the reaper will see end.
pub(crate) fn release(namespace: OwnedFd) -> Option<Pid> {
    // Without a process of its own it is let go here, when it is dropped: slower, but right.
    let (released, hold) = start::pipe().ok()?;
    let null = start::open_null().ok()?;
    match clone_process(&CloneRequest::default()).ok()? {
        Cloned::Child(child) => {
            let null = null.as_fd();
            let kept = child.keep_only(&[null, null, null, released.as_fd(), namespace.as_fd()]);
            if let Ok([released, _namespace]) = kept.as_deref() {
                ignore(
                    process::set_name(c"carpel-unmount"),
                    "the name is for people only",
                );
                // Until the shim has let go of its reference.
                let ended =
                    rustix::io::retry_on_intr(|| rustix::io::read(released, &mut [0_u8; 1]));
                ignore(ended, "the end of the pipe is all that is waited for");
            }
            process::exit_now(0)
        }
        Cloned::Parent { pid, .. } => {
            drop(namespace);
            drop(hold);
            Some(pid)
        }
    }
}
