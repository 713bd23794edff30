//! What runs on this node: `carpel pods`, `ps`, `inspect` and their kin. One file per command; `target` and `find` turn
//! what somebody has written into the container or pod that is meant.

pub(super) mod attach;
pub(super) mod copy;
pub(super) mod events;
pub(super) mod exec;
pub(super) mod find;
pub(super) mod inspect;
pub(super) mod list;
pub(super) mod logs;
pub(super) mod port_forward;
pub(super) mod ps;
mod session;
pub(super) mod stats;
pub(super) mod style;
mod target;
