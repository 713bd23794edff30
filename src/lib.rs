//! Carpel's daemon as a library: `main.rs` and the tests are its users.
//!
//! The layers and who may name whom are in `docs/architecture.md`; `tests/architecture.rs` holds them.

pub mod apparmor;
pub mod cdi;
pub mod cgroup;
pub mod cli;
pub mod config;
pub mod content;
pub mod cri;
pub mod daemon;
pub mod image;
pub mod layer;
pub mod logging;
pub mod metrics;
pub mod network;
pub mod oci;
pub mod persist;
pub mod pod;
pub mod registry;
pub mod seccomp;
pub mod selinux;
pub mod shim_client;
pub mod snapshot;
pub mod streaming;
pub mod systemd;
