//! systemd as the keeper of the cgroup tree: a scope for each pod, by D-Bus (org.freedesktop.systemd1(5)).
//!
//! A scope is delegated: below it the tree is Carpel's, and systemd does not look there. It is made of a process that exists
//! already, and goes when its last process has.

mod error;
mod manager;

pub use error::SystemdError;
pub use manager::{Manager, Property, PropertyValue, Scope};

/// Is process 1 systemd? As sd_booted(3).
pub fn is_running() -> bool {
    std::path::Path::new("/run/systemd/system").is_dir()
}
