//! The environment of a container, as the kubelet makes it: `env` and `envFrom` with what they refer to, and the
//! expansion of `$(VARIABLE)` in them and in command lines. No I/O: objects come from the store's memory, and files of
//! variables from whoever has the volumes.

mod container;
mod error;
mod expand;
mod field;
mod resource;
#[cfg(test)]
mod tests;

pub use container::{FileValue, command_line, of_container};
pub use error::EnvironmentError;
pub use expand::expand;
pub(crate) use field::{field, is_env_field, is_volume_field};
pub(crate) use resource::{RESOURCES, resource};
