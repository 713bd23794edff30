//! What the integration tests share: a node in a box (`node`), crictl in it
//! (`crictl`), the agent of manifests (`agent`), the requests they send (`request`), an image of their own (`image`), the
//! daemon's system calls (`trace`), a real kubelet (`kubelet`, `kubelet_process`, `kubelet_errors`), a cluster (`cluster`), a reboot (`reboot`) and what a node holds (`inventory`). The
//! tests are in `tests/` and run against Carpel, or against
//! containerd with `RUNTIME=containerd`, which proves the tests.
//!
//! Not for: tests of Carpel as a library, and anything that needs no daemon.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what went wrong by panicking, and what it skips by printing"
)]

pub mod agent;
pub mod cluster;
pub mod crictl;
pub mod image;
pub mod inventory;
pub mod kubelet;
pub mod kubelet_errors;
pub mod kubelet_process;
pub mod node;
pub mod reboot;
pub mod registry;
pub mod request;
pub mod table;
pub mod terminal;
pub mod trace;
pub mod wait;
