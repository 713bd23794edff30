//! Waiting for a descriptor in tokio.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the runtime. It must be called within one.
#[expect(
    deprecated,
    reason = "the successor is unsafe, for types that may give out another descriptor later: OwnedFd never does"
)]
pub(super) fn register(descriptor: OwnedFd, interest: Interest) -> Result<AsyncFd<OwnedFd>, Errno> {
    AsyncFd::with_interest(descriptor, interest)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
