//! The calls on images, one file each: request → domain → answer.

pub(super) mod filesystem;
pub(super) mod list;
pub(super) mod pull;
pub(super) mod remove;
pub(super) mod status;
