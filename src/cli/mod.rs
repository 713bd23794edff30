//! The command line: arguments and printing only.
//!
//! `serve` becomes the daemon; `image` and `version` talk to one through `endpoint.rs`; `doctor` and `config` need none.

mod archive;
mod arguments;
mod configuration;
mod doctor;
mod endpoint;
mod error;
mod image;
mod network;
mod open_files;
mod program;
mod serve;
mod table;
mod version;
mod writer;

pub use program::main;
