//! The calls about the runtime itself, one file each.

pub(super) mod config;
pub(super) mod status;
pub(super) mod version;
