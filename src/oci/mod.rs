//! The calculation from a request and an image to an OCI runtime specification: pure, no I/O.
//!
//! What a sandbox and a container are asked to be (`SandboxConfig`, `ContainerConfig`) is defined here,
//! free of wire types: `cri/from_cri.rs` makes them, `pod/` keeps and persists them.

mod container_config;
mod sandbox_config;

pub use container_config::*;
pub use sandbox_config::*;
