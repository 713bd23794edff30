//! `carpel doctor`: what this host can and cannot do, what follows from that, and what helps.
//!
//! Each file asks about one subject and returns findings. Files of the kernel are read through `Host`, so that tests
//! can show a host that is not this one.

mod cgroups;
mod finding;
mod firewall;
mod host;
mod kernel;
mod limits;
mod network;
mod overlay;
mod privileges;
mod report;
mod storage;

pub(super) use report::run;
