//! The first things that the shim does with itself.

use crate::failure::InStep;
use crate::failure::Outcome;
use crate::failure::ignore;
use carpel_linux::process;
use carpel_linux::signal;
use std::os::fd::OwnedFd;

/// Makes this process the shim it should be and returns the first connection, which it was started with.
///
/// It runs as the daemon started it: with the daemon's privileges, in the host's namespaces.
pub(crate) fn take_over() -> Outcome<OwnedFd> {
    let connection = process::take_inherited(0).step(|| "take the first connection".into())?;
    // The copy is the only one now: a dropped connection is closed for the daemon too.
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty())
        .step(|| "open /dev/null".into())?;
    rustix::stdio::dup2_stdin(&null).step(|| "give up standard input".into())?;
    for number in 1..=signal::LARGEST {
        signal::reset_to_default(number);
    }
    // SIGCHLD is read from a descriptor. SIGPIPE is blocked, not ignored, so that children need only unblock.
    signal::block_only(&[signal::CHILD, signal::PIPE]);
    process::set_not_dumpable().step(|| "become not dumpable".into())?;
    process::become_subreaper().step(|| "become subreaper".into())?;
    process::set_name(c"carpel-shim").step(|| "set the name".into())?;
    process::set_umask(0o077);
    ignore(
        process::new_session(),
        "it leads a group already: the daemon has made its session",
    );
    Ok(connection)
}
