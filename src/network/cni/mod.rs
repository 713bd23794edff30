//! CNI as its specification has it, 0.1.0 to 1.1.0: the configuration directory, chains of plugins, and what became of
//! each attachment.
//!
//! [`Cni`] is the door. Whatever a pod's ADD was given is recorded before the first plugin runs, and its DEL is given
//! the same, also after the configuration changed, the mode changed, or the daemon died.
//!
//! ```text
//! attachments ─┬─ record             what was given to whom, durable
//!   (Cni)      ├─ leftover           plugins that a dead daemon left running
//!              ├─ upkeep             GC and CHECK at a start; what a status tells
//!              ├─ readiness ─┐       can pods be attached, and why not
//!              └─────────────┴─ chain ── plugin      verbs over a list; one process
//! write ── template                  a file from a template
//! directory ── list ── version       the files
//! capabilities, outcome              what a chain is given, what it gives back
//! ```
//!
//! Not here: which pods are attached by CNI at all (`service`), namespaces, the built-in bridge.

mod attachments;
mod capabilities;
mod chain;
mod config;
mod directory;
mod error;
mod leftover;
mod list;
mod outcome;
mod plugin;
mod readiness;
mod record;
mod template;
mod upkeep;
mod version;
mod write;

pub(in crate::network) use attachments::Cni;
pub use config::CniConfig;
pub(in crate::network) use directory::{Scan, scan};
pub(in crate::network) use error::chain;
pub use error::{CniError, PluginError};
pub(in crate::network) use list::NetworkList;
pub use template::TemplateError;
pub(in crate::network) use write::write_filled;
