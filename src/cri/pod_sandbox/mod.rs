//! The calls on sandboxes, one file each: request → domain → answer.

pub(super) mod list;
pub(super) mod port_forward;
pub(super) mod remove;
pub(super) mod run;
pub(super) mod statistics;
pub(super) mod status;
pub(super) mod stop;
pub(super) mod update_resources;
