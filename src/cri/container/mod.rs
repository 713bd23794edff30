//! The calls on containers, one file each: request → domain → answer.

pub(super) mod create;
pub(super) mod exec_sync;
pub(super) mod list;
pub(super) mod remove;
pub(super) mod reopen_log;
pub(super) mod start;
pub(super) mod statistics;
pub(super) mod status;
pub(super) mod stop;
pub(super) mod update_resources;
