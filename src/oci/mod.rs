//! The calculation from a request and an image to an OCI runtime specification: pure, no I/O.
//!
//! What a sandbox and a container are asked to be (`SandboxConfig`, `ContainerConfig`) is defined here,
//! free of wire types: `cri/from_cri.rs` makes them, `pod/` keeps and persists them. What must be looked up first
//! (files of the pod, device nodes, symbolic links, the daemon's own rights) comes in by [`Input`], and what the
//! specification cannot hold (bytes that are not UTF-8, names that only the container's own user database
//! resolves) leaves by [`Calculated`].

mod annotations;
mod capabilities;
mod container_config;
mod devices;
mod error;
mod input;
mod mounts;
mod namespaces;
mod other_runtime;
mod paths;
mod pod_resources;
mod process;
mod resources;
mod sandbox_config;
mod signal;
mod specification;
#[cfg(test)]
mod tests;
mod user;
mod user_namespace;

pub use capabilities::capability_bits;
pub use container_config::*;
pub use error::{OciError, OciErrorKind};
pub use input::*;
pub use mounts::{IMAGE, ImageVolume, SUB_PATH};
pub use namespaces::{ContainerNamespaces, NamespaceOrigin};
pub use other_runtime::{
    OtherConfiguration, other_configuration, refuse_for_other_runtime,
    refuse_sandbox_for_other_runtime,
};
pub use pod_resources::PodResources;
pub use resources::linux_resources;
pub use sandbox_config::*;
pub use specification::{Calculated, specification};
pub use user::UserRequest;
pub use user_namespace::{IDMAP, check_user_namespace};
