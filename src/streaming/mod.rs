//! Exec, attach and port-forward: an HTTP server whose URLs are good once, and what is spoken after the upgrade.
//!
//! `server` takes a connection, `tokens` says what its URL is for, `upgrade` which protocol follows. `spdy` and `websocket`
//! turn that into streams (`stream`), `remote_command` joins those with a process, `port_forward` with TCP connections.
//! What the domain must offer is `source`.

pub mod client;
mod idle;
mod port_forward;
mod remote_command;
mod resize;
mod server;
mod source;
mod spdy;
mod status;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod tokens;
mod upgrade;
mod websocket;

pub use server::{Bound, Settings, StreamingError};
pub use source::StreamSource;
pub use tls::TlsFiles;
pub use tokens::Tokens;
