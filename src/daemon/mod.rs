//! The composition root: constructs, wires, recovers, starts and stops the parts.
//!
//! `run` is the sequence; the other files fit a leaf each to what the domain asks for (`pod::parts`).

mod agent;
mod calls;
mod cgroup_driver;
mod cgroups;
mod error;
mod host;
mod images;
mod lock;
mod network_reset;
mod networks;
mod processes;
mod readings;
mod run;
mod runtimes;
mod settle;
mod shims;
mod streams;
mod unit_limits;

pub use agent::agent_settings;
pub use error::DaemonError;
pub use network_reset::{NodeNetwork, RunningPods, inspect_network, reset_network};
pub use run::{Inherited, network_config, run};
