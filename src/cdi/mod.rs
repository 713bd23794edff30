//! The Container Device Interface (CNCF cdi specification 1.1): what a device plugin or a driver of the node wants done to
//! a container that gets a device. Files are read when a container asks, so a new one counts at once.
//!
//! Devices are taken apart here and put into a container by `oci/`; nothing is mounted or made.

mod directories;
mod error;
mod name;
mod specification;
#[cfg(test)]
mod tests;

pub use directories::resolve;
pub use error::CdiError;
pub use name::annotated_devices;
pub use specification::{CdiDeviceNode, CdiMount, Edits};
