//! Typed system calls for the daemon and the shim: the only package with unsafe code.
//!
//! What `rustix` already offers safely is called there directly; here are the calls that it lacks (clone3,
//! mount_setattr, close_range, seccomp filters, signals), and those where an error should name its arguments.
//! Descriptors are close-on-exec, `EINTR` is retried where the manual allows it, and a fallback is taken only on the
//! errno that means "not here".

pub mod allocator;
pub mod bpf;
pub mod clone;
pub mod credentials;
mod error;
pub mod file;
pub mod idle;
pub mod memfd;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod netns;
pub mod path;
pub mod probe;
pub mod proc_mount;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod terminal;

pub use error::Error;
pub use error::Result;
