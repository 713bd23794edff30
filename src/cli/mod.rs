//! The command line: arguments and printing only.
//!
//! `serve` becomes the daemon; `image`, `version` and all of `pods/` talk to one through `endpoint.rs`, all of `kubernetes/` to
//! the agent; `doctor` and `config` need none.

mod archive;
mod arguments;
mod configuration;
mod doctor;
mod endpoint;
mod error;
mod image;
mod kubectl_verbs;
mod kubernetes;
mod network;
mod open_files;
mod pods;
mod program;
mod serve;
mod shell_help;
mod table;
mod time;
mod version;
mod writer;
mod yaml;

pub use program::main;
