//! cgroup v2: a cgroup for each pod, a leaf for each container, their limits, figures and end.
//!
//! Limits are written by a pure function ([`writes`]) from an OCI specification's `linux.resources` to file names and
//! values; [`Cgroups`] finds the hierarchy and enables controllers; [`Cgroup`] is one directory, held open.
//! cgroup v1 is not touched: on a hybrid host the unified hierarchy is used with the controllers that it has.
//! Devices are not limited here: on cgroup v2 that is a BPF program.

mod apply;
mod config;
mod directory;
mod error;
mod events;
mod hierarchy;
mod pod;
mod prepare;
mod resources;
mod statistics;
#[cfg(test)]
mod tests;

pub use config::{CgroupConfig, Driver, MissingControllers};
pub use directory::Cgroup;
pub use error::{CgroupError, CgroupErrorKind};
pub use hierarchy::Cgroups;
pub use pod::{Created, PodCgroup};
pub use resources::{Necessity, Write, cpu_weight, writes};
pub use statistics::{
    Cpu, IoDevice, Memory, MemoryEvents, Pressure, PressureLine, Pressures, Statistics,
};
