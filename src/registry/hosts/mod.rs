//! Which hosts serve a registry, and how to talk to them: containerd's `hosts.toml` layout, as node images ship it.
//!
//! ```text
//! <certs.d>/<host>_<port>_/hosts.toml     then <host>:<port>, <host>; `_default` is for every other registry
//! <certs.d>/<host>/*.crt, *.cert, *.key   Docker's layout, where there is no hosts.toml
//! ```
//!
//! Files are read at each pull, so that a change needs no restart.

mod file;
mod folder;
mod host;
mod list;
#[cfg(test)]
mod tests;

pub(super) use host::{ClientCertificate, Host, Verification};
pub(super) use list::rules;
