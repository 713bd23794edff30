//! The configuration file: one TOML document, every key optional.
//!
//! The sections are plain values: no part of Carpel reads them. `daemon.rs` turns them into the parts' own
//! configurations. What each key means is said once, in `keys.rs`; `docs/configuration.md` is held to it by a test.

mod agent;
mod error;
mod keys;
mod paths;
mod read;
mod runtime;
mod sections;
#[cfg(test)]
mod tests;

pub use agent::{AgentSection, NodeLabel};
pub use error::{ConfigError, Place};
pub use keys::{DefaultValue, KEYS, Key, commented_default};
pub use runtime::{Handler, HandlerName, HandlerNameError, RuntimeSection};
pub use sections::*;
