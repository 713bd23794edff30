//! The calls about the runtime itself, one file each.

pub(super) mod config;
pub(super) mod status;
pub(super) mod version;

/// The runtime handlers, sorted. The default one is listed under the empty name too (critest looks for it there).
pub(super) const RUNTIME_HANDLERS: [&str; 2] = ["", "carpel"];
