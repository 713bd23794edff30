//! Containers: from the request to steps (`plan`), cloned (`start`), applied in the child (`child`, `filesystem`,
//! `shared_proc`, `user`, `rights`, `program`), joined later (`exec`), ended (`exit`), and what the shim remembers of them (`state`).

pub(crate) mod attach;
pub(crate) mod child;
mod entry;
pub(crate) mod exec;
pub(crate) mod exit;
pub(crate) mod filesystem;
pub(crate) mod image;
pub(crate) mod lifecycle;
pub(crate) mod listener;
pub(crate) mod mapped_overlay;
pub(crate) mod mount_options;
pub(crate) mod overlay;
pub(crate) mod plan;
pub(crate) mod program;
mod rights;
mod shared_proc;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod user;
